"""Automation conditions that look at a state instead of waiting for an event.

An edge is seen once or never: a change that lands while a run is under way, or while the daemon is down, is lost. A
level holds until it has been dealt with. Each condition here compares what a result was made from with what there is
now: data versions in Dagster's event log, or manifests and pointers in the artifact store.
"""

from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.events import AssetKeyPartitionKey


class Level(dg.AutomationCondition):
    """What the levels share: a label, a stable place in the tree of conditions, and how they say which are stale."""

    _root: str
    _label: str
    _says: str

    def __init__(self, root: str):
        object.__setattr__(self, "_root", root)

    @property
    def name(self) -> str:
        """Label in the UI."""
        return self._label

    @property
    def description(self) -> str:
        """What the UI says of this condition."""
        return self._says

    def get_node_unique_id(self, *, parent_unique_id: Any, index: Any, target_key: Any) -> str:
        """Identify this node across ticks."""
        return f"{self._label}/{parent_unique_id}/{index}/{target_key}"

    def _true_for(self, context: Any, snapshots: set[str]) -> Any:
        """Ask for these partitions as far as they are candidates; an empty name is an asset without partitions."""
        stale = {AssetKeyPartitionKey(context.key, snapshot or None) for snapshot in snapshots}
        subset = context.asset_graph_view.get_asset_subset_from_asset_partitions(context.key, stale)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


class SourceMismatch(Level):
    """True for partitions whose data version was not made from the parent's present data version.

    The child's data version must begin with ``<parent version>:``. This is a level, not an edge: a change that lands
    while the child is running is seen on the first tick after that run, however long it took.
    """

    _label = "source_mismatch"
    _parent: dg.AssetKey

    def __init__(self, parent: str):
        super().__init__("")
        object.__setattr__(self, "_parent", dg.AssetKey(parent))
        object.__setattr__(self, "_says", f"{parent} has content that this partition was not made from")

    def evaluate(self, context: Any) -> Any:
        """Compare the latest data versions of parent and child, partition by partition."""
        storage = context.asset_graph_view.instance.event_log_storage

        def versions(key: dg.AssetKey) -> dict[str, str]:
            tags = storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
            )
            return {partition: found["dagster/data_version"] for partition, found in tags.items()}

        landed, made = versions(self._parent), versions(context.key)
        registered = set(context.asset_graph_view.instance.get_dynamic_partitions("snapshot"))
        return self._true_for(
            context,
            {
                partition
                for partition, version in landed.items()
                if partition in made and partition in registered and not made[partition].startswith(f"{version}:")
            },
        )


class KeeperLetGo(Level):
    """True for snapshots that left a text to another snapshot which no longer keeps it.

    It compares what the snapshot's manifest says it borrowed with the keepers' present documents. The comparison reads
    two narrow columns, and only once for each pair of versions.
    """

    _label = "keeper_let_go"
    _says = "another snapshot kept a text for this one and does not any more"

    def evaluate(self, context: Any) -> Any:
        """Look at the manifests of all ingested snapshots."""
        return self._true_for(context, set(dangling_snapshots(self._root)))


class RemovedFromStore(Level):
    """True for registered snapshots whose result was removed from the store: landed again after ``gem remove``.

    Dagster's event log cannot forget a partition, so such a snapshot never counts as missing there.
    """

    _label = "removed_from_store"
    _says = "this snapshot was removed and has landed again"

    def evaluate(self, context: Any) -> Any:
        """Look at the pointers of the registered snapshots."""
        from gem_assets.lineage.artifacts import ArtifactStore

        artifacts, asset = ArtifactStore(self._root), context.key.to_user_string()
        placed = {name for name in artifacts.places(asset) if name is not None}
        registered = placed & set(context.asset_graph_view.instance.get_dynamic_partitions("snapshot"))
        return self._true_for(context, {name for name in registered if artifacts.removed(asset, name)})


class CountedOtherwise(Level):
    """True for counted snapshots with other held-out documents, or other versions of pages, than are wanted now."""

    _label = "counted_otherwise"
    _says = "the tokenizer, the held-out documents or the versions of pages that count changed for this snapshot"

    def evaluate(self, context: Any) -> Any:
        """Compare what each snapshot was counted with and what there is."""
        return self._true_for(context, set(miscounted_snapshots(self._root)))


class MadeFromRemoved(Level):
    """True for an asset over all snapshots whose current result still holds one that was removed."""

    _label = "made_from_removed"
    _says = "a snapshot that this was made from has been removed"

    def evaluate(self, context: Any) -> Any:
        """Compare the inputs of the current result with the snapshots that are registered."""
        registered = set(context.asset_graph_view.instance.get_dynamic_partitions("snapshot"))
        if _made_from_removed(self._root, context.key.to_user_string(), registered):
            return dg.AutomationResult(context, context.candidate_subset)
        return dg.AutomationResult(context, context.get_empty_subset())


def _made_from_removed(root: str, asset: str, registered: set[str]) -> bool:
    from gem_assets.lineage.artifacts import ArtifactStore

    artifacts = ArtifactStore(root)
    current = artifacts.current(asset)
    inputs = current.manifest.inputs if current is not None else ()
    # only pointers of snapshots that are not registered are read: none, as a rule
    return any(
        ref.partition is not None and ref.partition not in registered and artifacts.removed(ref.asset, ref.partition)
        for ref in inputs
    )


def miscounted_snapshots(root: str) -> list[str]:
    """Return the snapshots whose counts were made with other tokens or page versions than are in force."""
    from gem_assets.lineage.artifacts import ArtifactStore
    from gem_assets.lineage.takedown import CLUSTER_COUNTS, PROXY_TOKENS

    artifacts = ArtifactStore(root)
    tokens, pages = artifacts.current(PROXY_TOKENS), artifacts.current("page_history")
    if tokens is None or pages is None:
        return []
    counting = tokens.manifest.metrics.get("counting") or tokens.identity
    left_out = _left_out(root, pages.identity)
    if left_out is None:
        return []
    found: list[str] = []
    for name in artifacts.partitions(CLUSTER_COUNTS):
        current = artifacts.current(CLUSTER_COUNTS, name)
        made = {ref.asset: ref.data_version for ref in current.manifest.inputs} if current is not None else {}
        if made and (made.get(PROXY_TOKENS) != counting or made.get("page_history") != left_out.get(name)):
            found.append(name)
    return found


@lru_cache(maxsize=16)
def _left_out(root: str, history: str) -> dict[str, str] | None:
    from gem_assets.corpus.recrawls import Selection
    from gem_assets.lineage.artifacts import ArtifactStore

    pages = ArtifactStore(root).get("page_history", history)
    return {} if pages is None else Selection.versions(pages.path)


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
    from resources import StoreResource

    artifacts = ArtifactStore(root)
    found = artifacts.get("raw_shards", identity, snapshot)
    kept = {name: artifacts.get("raw_shards", version, name) for name, version in keepers if version}
    shards = {name: shard_paths(artifact.path) for name, artifact in kept.items() if artifact is not None}
    if found is None:
        return False
    with StoreResource(root=root).spill() as spill:
        return dangling_texts(found.path / DUPLICATES_FILE, shards, spill) > 0
