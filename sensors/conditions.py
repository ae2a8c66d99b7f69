"""When an asset is materialized again: four policies, chosen per asset by the tag ``gem/refresh``.

``content``
    A snapshot-wise asset. It runs when its partition is missing, when something it read changed *content* (not merely
    ran again), when its own code changed, or when the landed bytes are newer than the version it was made from.
``fan_in``
    An asset over all snapshots that exist. A missing or failed snapshot never holds it back.
``fitted``
    A fitted thing (embedding space, teacher, student, taxonomy). It runs once, and again when its code changed or
    when a fitted thing before it changed; a new snapshot alone never refits it.

``by_hand``
    Nothing runs by itself.

``eager()`` would fire on any rerun and loses changes that land while a run is under way; the level-triggered
:class:`SourceMismatch` closes that hole by comparing data versions instead of events.
"""

from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.events import AssetKeyPartitionKey

# dagster types conditions on assets and conditions on checks as unrelated, so mixing them needs Any
AC: Any = dg.AutomationCondition

REFRESH_TAG = "gem/refresh"
SNAPSHOT_ASSETS = dg.AssetSelection.assets("landing", "raw_shards", "embeddings", "student_labels")


class SourceMismatch(dg.AutomationCondition):
    """True for partitions whose data version was not made from the parent's present data version.

    The child's data version must begin with ``<parent version>:``. This is a level, not an edge: a change that lands
    while the child is running is seen on the first tick after that run, however long it took.
    """

    _parent: dg.AssetKey

    def __init__(self, parent: str):
        object.__setattr__(self, "_parent", dg.AssetKey(parent))

    @property
    def name(self) -> str:
        """Label in the UI."""
        return "source_mismatch"

    @property
    def description(self) -> str:
        """What the UI says of this condition."""
        return f"{self._parent.to_user_string()} has content that this partition was not made from"

    def get_node_unique_id(self, *, parent_unique_id: Any, index: Any, target_key: Any) -> str:
        """Identify this node across ticks by what it compares with."""
        return f"source_mismatch/{self._parent.to_user_string()}/{parent_unique_id}/{index}/{target_key}"

    def evaluate(self, context: Any) -> Any:
        """Compare the latest data versions of parent and child, partition by partition."""
        storage = context.asset_graph_view.instance.event_log_storage

        def versions(key: dg.AssetKey) -> dict[str, str]:
            tags = storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
            )
            return {partition: found["dagster/data_version"] for partition, found in tags.items()}

        landed, made = versions(self._parent), versions(context.key)
        stale = {
            AssetKeyPartitionKey(context.key, partition)
            for partition, version in landed.items()
            if partition in made and not made[partition].startswith(f"{version}:")
        }
        subset = context.asset_graph_view.get_asset_subset_from_asset_partitions(context.key, stale)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


class KeeperLetGo(dg.AutomationCondition):
    """True for snapshots that left a text to another snapshot which no longer keeps it.

    A level as well: it compares what the snapshot's manifest says it borrowed with the keepers' present documents. The
    comparison reads two narrow columns, and only once for each pair of versions.
    """

    _root: str

    def __init__(self, root: str):
        object.__setattr__(self, "_root", root)

    @property
    def name(self) -> str:
        """Label in the UI."""
        return "keeper_let_go"

    @property
    def description(self) -> str:
        """What the UI says of this condition."""
        return "another snapshot kept a text for this one and does not any more"

    def get_node_unique_id(self, *, parent_unique_id: Any, index: Any, target_key: Any) -> str:
        """Identify this node across ticks."""
        return f"keeper_let_go/{parent_unique_id}/{index}/{target_key}"

    def evaluate(self, context: Any) -> Any:
        """Look at the manifests of all ingested snapshots."""
        stale = {AssetKeyPartitionKey(context.key, snapshot) for snapshot in dangling_snapshots(self._root)}
        subset = context.asset_graph_view.get_asset_subset_from_asset_partitions(context.key, stale)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


def dangling_snapshots(root: str) -> list[str]:
    """Return the ingested snapshots of a data root that miss a text which they left to others."""
    from gem_assets.lineage.artifacts import ArtifactStore

    artifacts = ArtifactStore(root)
    current = {name: artifacts.current("raw_shards", name) for name in artifacts.partitions("raw_shards")}
    identities = {name: found.identity for name, found in current.items() if found is not None}
    dangling: list[str] = []
    for name, found in current.items():
        if found is None:
            continue
        keepers = sorted({str(ref.partition) for ref in found.manifest.inputs if ref.asset == "raw_shards"})
        if keepers and _dangles(root, name, found.identity, tuple((k, identities.get(k, "")) for k in keepers)):
            dangling.append(name)
    return dangling


@lru_cache(maxsize=4096)
def _dangles(root: str, snapshot: str, identity: str, keepers: tuple[tuple[str, str], ...]) -> bool:
    from gem_assets.corpus.ownership import dangling_texts
    from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
    from gem_assets.lineage.artifacts import ArtifactStore

    artifacts = ArtifactStore(root)
    found = artifacts.get("raw_shards", identity, snapshot)
    kept = {name: artifacts.get("raw_shards", version, name) for name, version in keepers if version}
    shards = {name: shard_paths(artifact.path) for name, artifact in kept.items() if artifact is not None}
    return found is not None and dangling_texts(found.path / DUPLICATES_FILE, shards) > 0


def _changed() -> dg.AutomationCondition:
    return AC.any_deps_match((AC.data_version_changed() & ~AC.executed_with_root_target()) | AC.will_be_requested())


def _idle() -> dg.AutomationCondition:
    return ~AC.any_deps_in_progress() & ~AC.in_progress()


def _first_time() -> dg.AutomationCondition:
    return AC.missing() & ~AC.execution_failed()


def content() -> dg.AutomationCondition:
    """Policy of a snapshot-wise asset."""
    return _content(_first_time() | (_changed() | AC.code_version_changed()).since_last_handled())


def landed_content(root: str) -> dg.AutomationCondition:
    """Policy of ``raw_shards``: that of any snapshot-wise asset, and two levels that no event has to announce."""
    edges = _first_time() | (_changed() | AC.code_version_changed()).since_last_handled()
    levels = SourceMismatch("landing") | KeeperLetGo(root)
    return _content(edges | (levels & ~AC.execution_failed()))


def _content(wanted: dg.AutomationCondition) -> dg.AutomationCondition:
    ready = ~AC.any_deps_missing() & _idle() & AC.all_deps_blocking_checks_passed()
    return (wanted & ready).with_label("new content in this snapshot")


def fan_in(over_snapshots: bool = True) -> dg.AutomationCondition:
    """Policy of an asset over every snapshot that exists, or over assets that are."""
    wanted = _first_time() | (_changed() | AC.code_version_changed()).since_last_handled()
    return (wanted & _inputs(over_snapshots) & _idle()).with_label("content changed in any snapshot")


def fitted(over_snapshots: bool = True) -> dg.AutomationCondition:
    """Policy of a fitted thing: once, then only when code or another fitted thing changed."""
    refitted = AC.any_deps_match(AC.data_version_changed()).ignore(SNAPSHOT_ASSETS)
    wanted = _first_time() | (refitted | AC.code_version_changed()).since_last_handled()
    return (wanted & _inputs(over_snapshots) & _idle()).with_label("not fitted yet, or its inputs were refitted")


def _inputs(over_snapshots: bool) -> dg.AutomationCondition:
    """Every unpartitioned input is there, and at least one snapshot of the partitioned ones.

    A dependency that is requested in the same tick does not count as there: it runs in another run.
    """
    whole = ~AC.any_deps_missing().ignore(SNAPSHOT_ASSETS)
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
        case None | "by_hand":
            return spec
        case "content":
            condition = landed_content(root) if spec.key == dg.AssetKey("raw_shards") else content()
        case "fan_in":
            condition = fan_in(over_snapshots)
        case "fitted":
            condition = fitted(over_snapshots)
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
