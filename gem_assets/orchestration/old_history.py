"""Move Dagster's history from the old keys, when each strategy was an asset of its own, to the strategies' partitions.

The store did not change, so nothing is made again: the last materialization and the last check of each such asset are
reported once more, under the node and partition that show it now, and the old key leaves the catalog. Without a trace
of such keys this is four queries.
"""

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from gem_assets.orchestration.places import BY_STRATEGY, shown
from gem_assets.stages import RECIPES

VERSION_TAG = "dagster/data_version"
CHECKS = {RECIPES: ("mixture_is_feasible",)}
"""What checked the assets of before, by the folder of the store."""


def move_old_history(instance: dg.DagsterInstance) -> int:
    """Report the results of before under the nodes of now; returns how many there were."""
    moved: list[dg.AssetKey] = []
    for folder in (RECIPES, *sorted(BY_STRATEGY)):
        for old in instance.get_asset_keys(prefix=[folder]):
            new, strategy = shown((old.to_user_string(), None))
            if len(old.path) == 2 and new != old:
                _move(instance, old, new, strategy)
                moved.append(old)
    if moved:
        instance.wipe_assets(moved)
    return len(moved)


def _move(instance: dg.DagsterInstance, old: dg.AssetKey, new: dg.AssetKey, strategy: str | None) -> None:
    before = instance.fetch_materializations(old, limit=1).records
    made = before[0].asset_materialization if before else None
    if made is None:
        return
    tags = {name: value for name, value in (made.tags or {}).items() if name == VERSION_TAG}
    event = dg.AssetMaterialization(new, made.description, made.metadata, partition=strategy, tags=tags)
    instance.report_runless_asset_event(event)
    wanted = dg.AssetRecordsFilter(new, asset_partitions=None if strategy is None else [strategy])
    told = instance.fetch_materializations(wanted, limit=1).records[0]
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=told.storage_id, run_id=told.run_id, timestamp=told.timestamp
    )
    for name in CHECKS.get(old.path[0], ()):
        said = _said(instance, dg.AssetCheckKey(old, name))
        of = said.target_materialization_data if said is not None else None
        if said is not None and of is not None and of.storage_id == before[0].storage_id:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=new,
                    check_name=name,
                    passed=said.passed,
                    metadata=said.metadata,
                    target_materialization_data=target,
                    severity=said.severity,
                    description=said.description,
                    blocking=said.blocking,
                    partition=strategy,
                )
            )


def _said(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).get(check)
    event = found.event.dagster_event if found is not None and found.event is not None else None
    if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    return event.asset_check_evaluation_data
