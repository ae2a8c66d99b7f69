"""The landing sensor: registers snapshots and reports their content, and never asks for a run itself.

A snapshot counts once its folder holds ``_SUCCESS``. Its fingerprint is a digest over the names, sizes and contents of
its files, so landing the same bytes again changes nothing. Declarative automation decides what that means for the
assets; no run keys are involved, because Dagster deduplicates those for ever.
"""

import json

import dagster as dg

from gem_assets.assets.partitions import snapshots
from gem_assets.stages import LANDING, RAW_SHARDS
from resources.settings import SettingsResource
from resources.store import StoreResource

FINGERPRINT_PREFIX = 16


@dg.sensor(
    name="landing",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers complete snapshots of the landing folder and reports the digest of their content.",
)
def landing_sensor(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult | dg.SkipReason:
    """Compare the landing folder with what was reported before; report the difference."""
    from gem_assets.corpus.landing import fingerprint, list_snapshots

    conf = settings.load()
    ingested = StoreResource(root=str(conf.data_root)).artifacts.partitions(RAW_SHARDS)
    reported: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    registered = set(snapshots.get_partition_keys(dynamic_partitions_store=context.instance))
    seen: dict[str, str] = {}
    events: list[dg.AssetMaterialization] = []
    waiting: list[str] = []
    for landed in list_snapshots(conf.landing):
        if landed.problem is not None:
            context.log.warning(f"landing/{landed.name} is ignored: {landed.problem}")
            continue
        if not landed.complete:
            waiting.append(landed.name)
            continue
        try:
            version = fingerprint(landed.path, conf.landing_cache(landed.name))
        except OSError as error:  # it went away, or lies on a disk that fails: the others go on
            context.log.warning(f"landing/{landed.name} cannot be read: {error}")
            continue
        seen[landed.name] = version[:FINGERPRINT_PREFIX]
        if reported.get(landed.name) == seen[landed.name] and landed.name in registered:
            continue
        events.append(
            dg.AssetMaterialization(
                LANDING,
                partition=landed.name,
                description="Snapshot found complete in the landing folder",
                metadata={
                    "files": landed.n_files,
                    "bytes": landed.n_bytes,
                    "path": dg.MetadataValue.path(str(landed.path)),
                    "fingerprint": version,
                },
                tags={"dagster/data_version": version},
            )
        )
    # what was ingested stays a partition, though its crawl files moved away or somebody deleted it in the UI
    new = sorted({*seen, *ingested} - registered)
    gone = sorted(set(reported) - set(seen))
    if gone:
        context.log.warning(f"no longer in the landing folder, kept as they were ingested: {', '.join(gone)}")
    if not events and not new:
        hint = f"; waiting for _SUCCESS in {', '.join(waiting)}" if waiting else ""
        return dg.SkipReason(f"{len(seen)} complete snapshots, none new or changed{hint}")
    return dg.SensorResult(
        dynamic_partitions_requests=[snapshots.build_add_request(new)] if new else [],
        asset_events=events,
        cursor=json.dumps({**reported, **seen}, sort_keys=True),
    )
