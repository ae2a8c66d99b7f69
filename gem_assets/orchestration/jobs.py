"""What a person asks for by a verb: jobs of the graph, for the launchpad. What a job holds is made on purpose."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from gem_assets.stages import (
    AUDITS,
    CONFIRMATIONS,
    GIS_TAXONOMY,
    ORDERS,
    PROXY_SWARM,
    SNAPSHOT_WISE,
    STUDENT_MODEL,
    TEACHER_CLUSTERS,
)


def _job(name: str, assets: list[str], description: str) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(name, selection=dg.AssetSelection.assets(*assets), description=description)


JOBS = [
    _job(
        "new_snapshot",
        list(SNAPSHOT_WISE),
        "Read, embed, label and count one landed snapshot. The automation does this by itself.",
    ),
    _job(
        "refit",
        [TEACHER_CLUSTERS, STUDENT_MODEL, GIS_TAXONOMY],
        "Expensive: fit the teacher again on all snapshots, anchored on the last one, with its student and its names.",
    ),
    _job(
        "learn_a_mixture",
        [PROXY_SWARM, "recipe_learned"],
        "Expensive: train the swarm of proxies where it is not trained yet, and learn the mixture of the partition.",
    ),
    _job(
        "confirm_a_mixture",
        [CONFIRMATIONS],
        "Expensive: train the mixture of the partition against proportional and uniform at the next model size.",
    ),
    _job(
        "audit_a_mixture",
        [ORDERS, AUDITS],
        "Draw the training order of the mixture of the partition, and account for every document in it.",
    ),
]
