"""Great Expectations suites as asset checks, one file per stage."""

from gem_assets.checks.drift import drift_is_small
from gem_assets.checks.embeddings import space_is_spread, vectors_are_unit
from gem_assets.checks.gis_taxonomy import names_are_usable
from gem_assets.checks.mixtures import inventory_adds_up, recipe_checks
from gem_assets.checks.raw_shards import documents_are_sound, quarantine_is_small
from gem_assets.checks.student import labels_are_sound, student_agrees
from gem_assets.checks.teacher_clusters import fit_is_certified

ALL_CHECKS = [
    documents_are_sound,
    quarantine_is_small,
    space_is_spread,
    vectors_are_unit,
    fit_is_certified,
    student_agrees,
    labels_are_sound,
    drift_is_small,
    names_are_usable,
    inventory_adds_up,
    *recipe_checks,
]
