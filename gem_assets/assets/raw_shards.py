"""``landing``, ``blocklist`` and ``raw_shards``: from crawl files to clean documents of one snapshot."""

from typing import cast

import dagster as dg

from gem_assets.assets.common import GROUP_CORPUS, OWNERS, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.assets.partitions import snapshots
from gem_assets.corpus.config import CODE_VERSION
from gem_assets.orchestration.stage import Making
from gem_assets.stages import BLOCKLIST, LANDING, RAW_SHARDS

FILE_COLUMNS = ["file", "read", "kept", "duplicates", "filtered", "quarantined", "n_bytes", "skipped"]

landing = dg.AssetSpec(
    LANDING,
    partitions_def=snapshots,
    group_name=GROUP_CORPUS,
    kinds={"file"},
    owners=OWNERS,
    description="Crawl files as they were landed: `landing/<snapshot>/…` with `_SUCCESS`. Reported by the landing "
    "sensor; the data version is a digest of the files' content.",
)

blocklist = dg.AssetSpec(
    BLOCKLIST,
    group_name=GROUP_CORPUS,
    kinds={"file"},
    owners=OWNERS,
    description="What rights holders asked to take down (`gem takedown`): `blocklist.jsonl`, append-only. Reported by "
    "the takedown sensor. A request makes stale only the snapshots that hold a document it concerns.",
)


@stage_asset(
    group=GROUP_CORPUS,
    kinds={"parquet", "arrow"},
    code_version=CODE_VERSION,
    pool=RAW_SHARDS,
    description="WARC, WET, parquet and JSONL read into one document table: normalised text, 128-bit ids, exact and "
    "near duplicates removed, quality signals, token counts. What could not be read or was refused is in "
    "`quarantine.parquet`, with file, offset and reason.",
    reads=[landing, blocklist],
)
def raw_shards(work: Work) -> Making:
    from gem_assets.assets.ingestion import NothingKeptError, ingesting
    from gem_assets.corpus.description import describe_snapshot, skipped_kinds
    from gem_assets.corpus.landing import LandingError
    from gem_assets.storage.faults import StorageError
    from gem_assets.takedown.blocklist import BlocklistError

    snapshot, store = work.partition, work.store
    try:
        stage = yield from ingesting(store, work.engine, work.settings, snapshot)
    except (LandingError, NothingKeptError, BlocklistError) as problem:
        raise dg.Failure(str(problem), allow_retries=False) from problem
    except StorageError as problem:
        raise dg.Failure(str(problem)) from problem
    manifest = stage.artifact.manifest
    shards = store.shards([stage.artifact.ref()])[snapshot]
    skipped = cast(dict[str, int], manifest.metrics["skipped_by_type"])
    found = describe_snapshot(stage.artifact.path, shards)
    return stage.result(
        {
            "dagster/row_count": manifest.counts["kept"],
            **manifest.counts,
            "tokenizer": str(manifest.metrics["tokenizer"]),
            **_not_understood(manifest.metrics.get("fields_not_understood")),
            "by_file": table(manifest.metrics["by_file"], FILE_COLUMNS),
            "quarantine_reasons": table(found.quarantine_reasons),
            "skipped_kinds": table(skipped_kinds(skipped)),
            "duplicate_kinds": table(found.duplicates),
            "languages": table(found.languages),
            "sample": table(found.sample),
        }
    )


def _not_understood(fields: object) -> dict[str, str]:
    """Say of how many documents a given date or language was left out, or nothing."""
    counts = cast(dict[str, int], fields) if isinstance(fields, dict) else {}
    said = ", ".join(f"{name} of {count} documents" for name, count in counts.items() if count)
    return {"fields_not_understood": said} if said else {}
