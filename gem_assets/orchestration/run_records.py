"""How long past runs took, from Dagster's own records: manifests hold no times, and need none.

Only materializations that computed something count (metadata ``computed``); one that found its result standing says
nothing about the cost of making it.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.plan import Observation, work_of
from gem_assets.orchestration.timing import RunTime, StageTime
from gem_assets.stages import LANDING
from gem_assets.storage.artifacts import ArtifactStore

RUNS_PER_ASSET = 20
MOST_RUNS = 500


def observations(instance: dg.DagsterInstance, artifacts: ArtifactStore, asset: str) -> Iterator[Observation]:
    """Yield what the last computed runs of an asset took, newest first."""
    key, strategy = shown((asset, None))
    wanted = dg.AssetRecordsFilter(key, asset_partitions=None if strategy is None else [strategy])
    records = instance.fetch_materializations(wanted, limit=5 * RUNS_PER_ASSET).records
    found = 0
    for record in records:
        made = record.asset_materialization
        if made is None or found >= RUNS_PER_ASSET:
            continue
        identity, computed = made.metadata.get("identity"), made.metadata.get("computed")
        if identity is None or computed is None or not computed.value:
            continue
        artifact = artifacts.get(asset, str(identity.value), place_of(key, made.partition)[1])
        _opened(instance, record.run_id)
        steps = instance.get_run_step_stats(record.run_id, ["__".join(key.path)])
        if artifact is None or not steps or steps[0].start_time is None or steps[0].end_time is None:
            continue
        found += 1
        yield Observation(work_of(artifact.manifest), steps[0].end_time - steps[0].start_time)


def _opened(instance: dg.DagsterInstance, run_id: str) -> None:
    """Spare the first look into the file of a run: Dagster reads all its migrations then, to see that there are tables.

    That takes 40 ms per file, and the file of a run that has ended has its tables.
    """
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage) and Path(storage.path_for_shard(run_id)).is_file():
        storage._initialized_dbs.add(run_id)  # pyright: ignore[reportPrivateUsage]


def last_landing(instance: dg.DagsterInstance) -> float | None:
    """Return when the newest snapshot was first seen, in seconds since the epoch; None when none was."""
    records = instance.fetch_materializations(dg.AssetKey(LANDING), limit=1).records
    return records[0].timestamp if records else None


def run_times(instance: dg.DagsterInstance, since: float, owners: Mapping[str, dg.AssetKey]) -> list[RunTime]:
    """Return when the runs since a moment, and the stages in them, began and ended; runs under way are left out.

    Parameters
    ----------
    since
        Seconds since the epoch.
    owners
        Node of each step, by the step's key.
    """
    after = datetime.fromtimestamp(since, UTC)
    records = instance.get_run_records(filters=dg.RunsFilter(created_after=after), limit=MOST_RUNS)
    found: list[RunTime] = []
    for record in records:
        run, created = record.dagster_run, record.create_timestamp.timestamp()
        if record.end_time is None or not run.is_finished:
            continue
        _opened(instance, run.run_id)
        stats = instance.get_run_stats(run.run_id)
        launched = getattr(stats, "launch_time", None) or record.start_time or created
        partition = run.tags.get("dagster/partition")
        stages: list[StageTime] = []
        for step in instance.get_run_step_stats(run.run_id):
            if step.start_time is not None and step.end_time is not None:
                asset, snapshot = place_of(owners.get(step.step_key, dg.AssetKey(step.step_key)), partition)
                stages.append(StageTime(asset=asset, snapshot=snapshot, start=step.start_time, end=step.end_time))
        found.append(
            RunTime(
                run_id=run.run_id,
                created=created,
                launched=max(launched, created),
                end=record.end_time,
                stages=tuple(sorted(stages, key=lambda stage: stage.start)),
            )
        )
    return found
