"""The takedown sensor: reports the blocklist, and issues a certificate once nothing of a request is left.

It decides nothing: that a request makes a snapshot stale is a comparison like any other, see
:mod:`gem_assets.orchestration.reconcile`.
"""

import dagster as dg

from gem_assets.stages import BLOCKLIST, RAW_SHARDS, STUDENT_LABELS
from resources import StoreResource


def labels_follow(root: str) -> bool:
    """Tell whether the labels of every snapshot were made from its present documents."""
    from gem_assets.storage.artifacts import ArtifactStore

    artifacts = ArtifactStore(root)
    for snapshot in artifacts.partitions(RAW_SHARDS):
        shards, labels = artifacts.current(RAW_SHARDS, snapshot), artifacts.current(STUDENT_LABELS, snapshot)
        if shards is None or labels is None:
            continue
        if all(ref.identity != shards.identity for ref in labels.manifest.inputs):
            return False
    return True


@dg.sensor(
    name="takedown",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports what is on the blocklist and issues certificates for what has been taken down.",
)
def takedown_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult | dg.SkipReason:
    """Report a longer list; look at the requests that are not certified yet once no snapshot is stale."""
    from gem_assets.takedown.blocklist import blocklist_of, entries_version
    from gem_assets.takedown.certificate import issue, read_certificate
    from gem_assets.takedown.request import stale_snapshots

    blocklist = blocklist_of(store.root)
    if blocklist is None:
        return dg.SkipReason("the blocklist is kept on a local data root; this one is on object storage")
    requests = blocklist.requests()
    if not requests:
        return dg.SkipReason("nothing was asked to be taken down")
    version = entries_version(entry.id for entry in blocklist.entries())
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
        BLOCKLIST,
        description="Requests to take documents down",
        metadata={
            "requests": len(requests),
            "documents": len(blocklist.documents()),
            "snapshots_to_be_made_again": ", ".join(sorted(stale)) or "none",
            "path": dg.MetadataValue.path(str(blocklist.path)),
        },
        tags={"dagster/data_version": version},
    )
    return dg.SensorResult(asset_events=[event], cursor=version)
