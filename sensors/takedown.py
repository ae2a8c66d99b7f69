"""Takedowns on the graph: a request becomes exact stale partitions, and a certificate once nothing is left.

Three levels, in the manner of ``KeeperLetGo``: they compare what is on the blocklist with what committed results hold,
so no event has to announce anything and nothing is lost while a run is under way. The sensor reports the list as the
external asset ``blocklist``, for the page and its history, and brings the certificates up to date.
"""

from functools import lru_cache
from typing import Any

import dagster as dg

from resources import StoreResource
from sensors.levels import Level

UNPARTITIONED = ""


class _Blocked(Level):
    """Compares a data root with its blocklist on every tick."""

    def stale(self, key: dg.AssetKey) -> list[str]:
        """Return the partitions of an asset that are stale; one empty name for an asset without partitions."""
        raise TypeError(f"{type(self).__name__} says nothing of {key.to_user_string()}")

    def evaluate(self, context: Any) -> Any:
        """Look at the data root."""
        return self._true_for(context, set(self.stale(context.key)))


class TakenDown(_Blocked):
    """True for ingested snapshots of which the blocklist concerns a row that is still there."""

    _label = "taken_down"
    _says = "a request on the blocklist concerns this snapshot and was not applied to it"

    def stale(self, key: dg.AssetKey) -> list[str]:  # noqa: ARG002
        """Return the snapshots."""
        from gem_assets.lineage.takedown import stale_snapshots

        return sorted(stale_snapshots(self._root))


class SeedTakenDown(_Blocked):
    """True while the taxonomy was made with seed documents that were taken down."""

    _label = "seed_taken_down"
    _says = "seed documents that may be shown as exemplars were taken down"

    def stale(self, key: dg.AssetKey) -> list[str]:
        """Compare what the taxonomy was made without with what it has to be made without."""
        from gem_assets.lineage.artifacts import ArtifactStore
        from gem_assets.lineage.takedown import BLOCKLIST_ASSET, blocked_seed, blocklist_input

        if "://" in self._root:
            return []
        artifacts = ArtifactStore(self._root)
        made, teacher = artifacts.current(key.to_user_string()), artifacts.current("teacher_clusters")
        if made is None or teacher is None:
            return []
        wanted = [ref.data_version for ref in blocklist_input(blocked_seed(self._root, teacher))]
        standing = [ref.data_version for ref in made.manifest.inputs if ref.asset == BLOCKLIST_ASSET]
        return [] if wanted == standing else [UNPARTITIONED]


class TokensTakenDown(_Blocked):
    """True while the proxies' token streams or windows hold a document that has left the labels by now."""

    _label = "tokens_taken_down"
    _says = "proxies would be trained on documents that were taken down, or judged by them"

    def stale(self, key: dg.AssetKey) -> list[str]:
        """Look for blocked documents in the current tokens, once the labels are without them."""
        from gem_assets.lineage.artifacts import ArtifactStore
        from gem_assets.lineage.takedown import blocked_tokens, stale_snapshots

        if "://" in self._root:
            return []
        held, _ = blocked_tokens(self._root, ArtifactStore(self._root).current(key.to_user_string()))
        return [UNPARTITIONED] if held and not stale_snapshots(self._root) and labels_follow(self._root) else []


class OrderHeld(_Blocked):
    """True for a training order or audit that still holds a document which has left the labels by now."""

    _label = "order_held_taken_down"
    _says = "it still shows documents that were taken down"

    def stale(self, key: dg.AssetKey) -> list[str]:
        """Return the asset once its inputs are clean and it is not."""
        from gem_assets.lineage.takedown import stale_snapshots

        asset = key.to_user_string()
        if "://" in self._root or not holds_blocked(self._root, asset):
            return []
        source = asset.replace("mixture_audit/", "training_order/")
        clean = not holds_blocked(self._root, source) if source != asset else not stale_snapshots(self._root)
        return [UNPARTITIONED] if clean and labels_follow(self._root) else []


def holds_blocked(root: str, asset: str) -> bool:
    """Tell whether the current order or audit holds a document that was taken down."""
    from gem_assets.lineage.artifacts import ArtifactStore
    from gem_assets.lineage.blocklist import Blocklist

    gone = Blocklist(root).documents()
    current = ArtifactStore(root).current(asset) if gone else None
    return current is not None and _holds(root, asset, current.identity, frozenset(gone))


def labels_follow(root: str) -> bool:
    """Tell whether the labels of every snapshot were made from its present documents."""
    from gem_assets.lineage.artifacts import ArtifactStore

    artifacts = ArtifactStore(root)
    for snapshot in artifacts.partitions("raw_shards"):
        shards, labels = artifacts.current("raw_shards", snapshot), artifacts.current("student_labels", snapshot)
        if shards is None or labels is None:
            continue
        if all(ref.identity != shards.identity for ref in labels.manifest.inputs):
            return False
    return True


@lru_cache(maxsize=256)
def _holds(root: str, asset: str, identity: str, gone: frozenset[str]) -> bool:
    from gem_assets.lineage.artifacts import ArtifactStore
    from gem_assets.lineage.certificate import rows_shown

    artifact = ArtifactStore(root).get(asset, identity)
    return artifact is not None and rows_shown(artifact, gone) > 0


@dg.sensor(
    name="takedown",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports what is on the blocklist and issues certificates for what has been taken down.",
)
def takedown_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult | dg.SkipReason:
    """Report a longer list; look at the requests that are not certified yet once no snapshot is stale."""
    from gem_assets.lineage.blocklist import entries_version
    from gem_assets.lineage.certificate import issue, read_certificate
    from gem_assets.lineage.takedown import stale_snapshots

    if store.blocklist is None:
        return dg.SkipReason("the blocklist is kept on a local data root; this one is on object storage")
    requests = store.blocklist.requests()
    if not requests:
        return dg.SkipReason("nothing was asked to be taken down")
    version = entries_version(entry.id for entry in store.blocklist.entries())
    stale = stale_snapshots(store.root)
    issued: list[str] = []
    if not stale and labels_follow(store.root):
        for request in requests:
            earlier = read_certificate(store.root, request.id)
            if earlier is None or earlier.state == "pending":
                found = issue(store.artifacts, store.tables, request)
                issued.extend([request.id] if found.state != "pending" else [])
    if issued:
        context.log.info(f"takedowns complete: {', '.join(issued)}")
    if context.cursor == version:
        done = f"; certificates issued: {', '.join(issued)}" if issued else ""
        return dg.SkipReason(f"{len(requests)} requests, {len(stale)} snapshots to be made again{done}")
    event = dg.AssetMaterialization(
        "blocklist",
        description="Requests to take documents down",
        metadata={
            "requests": len(requests),
            "documents": len(store.blocklist.documents()),
            "snapshots_to_be_made_again": ", ".join(sorted(stale)) or "none",
            "path": dg.MetadataValue.path(str(store.blocklist.path)),
        },
        tags={"dagster/data_version": version},
    )
    return dg.SensorResult(asset_events=[event], cursor=version)
