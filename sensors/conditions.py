"""When an asset is materialized again: four policies, chosen per asset by the tag ``gem/refresh``.

``content``
    A snapshot-wise asset. It runs when its partition is missing, when something it read changed *content* (not merely
    ran again), when its own code changed, or when the landed bytes are newer than the version it was made from.
``fan_in``
    An asset over all snapshots that exist. A missing or failed snapshot never holds it back, and one that was removed
    (``gem remove``) makes it run without it.
``fitted``
    A fitted thing (embedding space, teacher, student, taxonomy). It runs once, and again when its code changed or
    when a fitted thing before it changed; a new snapshot alone never refits it.

``by_hand``
    Nothing runs by itself, but for a training order or audit that still holds a document which was taken down.

``eager()`` would fire on any rerun and loses changes that land while a run is under way; the level-triggered
conditions of :mod:`sensors.levels` close that hole by comparing data versions instead of events.
"""

from typing import Any

import dagster as dg

from sensors.levels import CountedOtherwise, KeeperLetGo, MadeFromRemoved, RemovedFromStore, SourceMismatch
from sensors.takedown import OrderHeld, SeedTakenDown, TakenDown, TokensTakenDown

# dagster types conditions on assets and conditions on checks as unrelated, so mixing them needs Any
AC: Any = dg.AutomationCondition

REFRESH_TAG = "gem/refresh"
SNAPSHOT_ASSETS = dg.AssetSelection.assets(
    "landing", "raw_shards", "embeddings", "student_labels", "cluster_counts", "drift_statistics"
)
# a request concerns a few snapshots; which ones is a level of its own, see sensors/takedown.py
BLOCKLIST = dg.AssetSelection.assets("blocklist")
# the history grows with every snapshot, and prepared tokens lose what is taken down; a level says whom that concerns
HISTORY = dg.AssetSelection.assets("page_history")
TOKENS = dg.AssetSelection.assets("proxy_tokens")


def _changed(ignored: dg.AssetSelection = BLOCKLIST) -> dg.AutomationCondition:
    moved = (AC.data_version_changed() & ~AC.executed_with_root_target()) | AC.will_be_requested()
    return AC.any_deps_match(moved).ignore(ignored)


def _idle() -> dg.AutomationCondition:
    return ~AC.any_deps_in_progress() & ~AC.in_progress()


def _first_time() -> dg.AutomationCondition:
    return AC.missing() & ~AC.execution_failed()


def content(root: str) -> dg.AutomationCondition:
    """Policy of a snapshot-wise asset."""
    edges = _first_time() | (_changed() | AC.code_version_changed()).since_last_handled()
    return _content(edges | (RemovedFromStore(root) & ~AC.execution_failed()))


def landed_content(root: str) -> dg.AutomationCondition:
    """Policy of ``raw_shards``: that of any snapshot-wise asset, and levels that no event has to announce."""
    edges = _first_time() | (_changed() | AC.code_version_changed()).since_last_handled()
    levels = SourceMismatch("landing") | KeeperLetGo(root) | RemovedFromStore(root) | TakenDown(root)
    return _content(edges | (levels & ~AC.execution_failed()))


def counted_content(root: str) -> dg.AutomationCondition:
    """Policy of ``cluster_counts``: what it takes of tokens and page history is compared, not when they were made."""
    edges = _first_time() | (_changed(HISTORY | TOKENS) | AC.code_version_changed()).since_last_handled()
    return _content(edges | ((RemovedFromStore(root) | CountedOtherwise(root)) & ~AC.execution_failed()))


def _content(wanted: dg.AutomationCondition) -> dg.AutomationCondition:
    ready = ~AC.any_deps_missing().ignore(BLOCKLIST) & _idle() & AC.all_deps_blocking_checks_passed()
    return (wanted & ready).with_label("new content in this snapshot")


def fan_in(root: str, over_snapshots: bool = True) -> dg.AutomationCondition:
    """Policy of an asset over every snapshot that exists, or over assets that are."""
    wanted = _first_time() | (_changed() | AC.code_version_changed()).since_last_handled()
    if over_snapshots:
        wanted = wanted | (MadeFromRemoved(root) & ~AC.execution_failed())
    return (wanted & _inputs(over_snapshots) & _idle()).with_label("content changed in any snapshot")


def fitted(over_snapshots: bool = True, level: dg.AutomationCondition | None = None) -> dg.AutomationCondition:
    """Policy of a fitted thing: once, then only when code or another fitted thing changed, or while ``level`` holds."""
    refitted = AC.any_deps_match(AC.data_version_changed()).ignore(SNAPSHOT_ASSETS | BLOCKLIST | HISTORY)
    wanted = _first_time() | (refitted | AC.code_version_changed()).since_last_handled()
    if level is not None:
        wanted |= level & ~AC.execution_failed()
    return (wanted & _inputs(over_snapshots) & _idle()).with_label("not fitted yet, or its inputs were refitted")


def _inputs(over_snapshots: bool) -> dg.AutomationCondition:
    """Every unpartitioned input is there, and at least one snapshot of the partitioned ones.

    A dependency that is requested in the same tick does not count as there: it runs in another run.
    """
    whole = ~AC.any_deps_missing().ignore(SNAPSHOT_ASSETS | BLOCKLIST)
    if not over_snapshots:
        return whole
    return whole & AC.any_deps_match(~AC.missing()).allow(SNAPSHOT_ASSETS)


def with_policy(spec: dg.AssetSpec, root: str) -> dg.AssetSpec:
    """Give an asset spec the automation condition that its ``gem/refresh`` tag names.

    Parameters
    ----------
    spec
        Specification of an asset of the graph.
    root
        Data root that its conditions look at.

    Raises
    ------
    ValueError
        When the tag names no known policy.
    """
    policy = spec.tags.get(REFRESH_TAG)
    over_snapshots = any(dep.partition_mapping is not None for dep in spec.deps)
    match policy:
        case None:
            return spec
        case "by_hand":
            if spec.key.path[0] not in ("training_order", "mixture_audit"):
                return spec
            condition = OrderHeld(root) & _idle() & ~AC.execution_failed()
        case "content":
            special = {"raw_shards": landed_content, "cluster_counts": counted_content}
            condition = special.get(spec.key.to_user_string(), content)(root)
        case "fan_in":
            condition = fan_in(root, over_snapshots)
        case "fitted":
            levels = {"gis_taxonomy": SeedTakenDown, "proxy_tokens": TokensTakenDown}
            level = levels.get(spec.key.to_user_string())
            condition = fitted(over_snapshots, level(root) if level is not None else None)
        case _:
            raise ValueError(f"{spec.key.to_user_string()}: unknown {REFRESH_TAG} {policy!r}")
    return spec.replace_attributes(automation_condition=condition)


automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(include_sources=True),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    use_user_code_server=True,
    description="Requests what is missing or was made from older content.",
)
