"""How long past runs took, from Dagster's own records: manifests hold no times, and need none.

Only materializations that computed something count (metadata ``computed``); one that found its result standing says
nothing about the cost of making it.
"""

from collections.abc import Iterator

import dagster as dg

from gem_assets.lineage.artifacts import ArtifactStore
from gem_assets.plan import Observation, work_of

RUNS_PER_ASSET = 20


def observations(instance: dg.DagsterInstance, artifacts: ArtifactStore, asset: str) -> Iterator[Observation]:
    """Yield what the last computed runs of an asset took, newest first."""
    key = dg.AssetKey(asset.split("/"))
    records = instance.fetch_materializations(key, limit=5 * RUNS_PER_ASSET).records
    found = 0
    for record in records:
        made = record.asset_materialization
        if made is None or found >= RUNS_PER_ASSET:
            continue
        identity, computed = made.metadata.get("identity"), made.metadata.get("computed")
        if identity is None or computed is None or not computed.value:
            continue
        artifact = artifacts.get(asset, str(identity.value), made.partition)
        steps = instance.get_run_step_stats(record.run_id, ["__".join(key.path)])
        if artifact is None or not steps or steps[0].start_time is None or steps[0].end_time is None:
            continue
        found += 1
        yield Observation(work_of(artifact.manifest), steps[0].end_time - steps[0].start_time)
