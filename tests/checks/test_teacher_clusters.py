import math

import dagster as dg
import pytest

from gem_assets.checks.teacher_clusters import fit_is_certified
from resources import StoreResource

SOUND = {"monotone": True, "gap": 0.0, "converged": True, "n_eff_over_k": 0.98, "max_over_min": 2.0, "objective": -1.0}


def looked_at(root, **changes) -> dg.AssetCheckResult:
    store = StoreResource(root=str(root))
    with store.artifacts.write("teacher_clusters", "a" * 64) as draft:
        draft.metrics = {**SOUND, **changes}
    found = fit_is_certified(store)
    assert isinstance(found, dg.AssetCheckResult)
    return found


def test_a_sound_fit_passes(tmp_path):
    assert looked_at(tmp_path).passed


def test_an_empty_cluster_warns_says_why_and_holds_nothing_up(tmp_path):
    found = looked_at(tmp_path, max_over_min=math.inf, n_eff_over_k=0.6)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "lower teacher.k" in found.description


@pytest.mark.parametrize("changes", [{"monotone": False}, {"gap": 1.0}])
def test_a_fit_that_is_not_certified_is_an_error(tmp_path, changes):
    assert looked_at(tmp_path, **changes).severity == dg.AssetCheckSeverity.ERROR
