"""Checks of ``raw_shards``; a failure stops everything downstream of the snapshot."""

import dagster as dg

from gem_assets.assets.partitions import snapshots
from gem_assets.checks.validation import VALIDATED_ROWS, validate_frame
from gem_assets.stages import RAW_SHARDS
from resources import StoreResource


@dg.asset_check(
    asset=RAW_SHARDS,
    partitions_def=snapshots,
    blocking=True,
    description="Ids are unique and well formed, texts are not empty, and every record read is accounted for.",
)
def documents_are_sound(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe

    from gem_assets.corpus.description import checked_columns, unaccounted

    shards = store.input(RAW_SHARDS, context.partition_key)
    artifact = store.artifact(shards)
    counts = artifact.manifest.counts
    frame = checked_columns(store.shards([shards])[context.partition_key], counts["kept"], VALIDATED_ROWS)
    frame["unaccounted"] = unaccounted(counts)
    # a re-crawl in which nothing is new keeps nothing, nor does one that was taken down whole: both are sound
    fewest = 0 if counts["kept"] == 0 and (counts["duplicates"] or artifact.manifest.metrics.get("blocked_by")) else 1
    return validate_frame(
        frame,
        [
            gxe.ExpectTableRowCountToBeBetween(min_value=fewest, description="The snapshot keeps no document"),
            gxe.ExpectColumnValuesToBeUnique(column="doc_id", description="Two documents have one id"),
            gxe.ExpectColumnValuesToMatchRegex(
                column="doc_id", regex=r"^[0-9a-f]{32}$", description="An id is not 32 hexadecimal digits"
            ),
            gxe.ExpectColumnValuesToBeUnique(column="content_digest", description="Two documents have one text"),
            gxe.ExpectColumnValuesToBeInSet(
                column="snapshot",
                value_set=[context.partition_key],
                description="A document belongs to another snapshot",
            ),
            gxe.ExpectColumnValuesToBeBetween(column="n_bytes", min_value=1, description="A document is empty"),
            gxe.ExpectColumnValuesToBeBetween(column="n_tokens", min_value=1, description="A document has no token"),
            gxe.ExpectColumnValuesToBeBetween(
                column="dup_count", min_value=1, description="A document is not counted among its own copies"
            ),
            gxe.ExpectColumnValuesToNotBeNull(
                column="file", description="A document does not name the file it came from"
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="unaccounted",
                value_set=[0],
                description="A record that was read is neither kept nor accounted for",
            ),
            gxe.ExpectColumnValuesToNotBeNull(
                column="url",
                mostly=0.5,
                severity="info",
                description="Most documents have no address: tracing them by URL will not work",
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="q_compression_ratio",
                min_value=1.0,
                max_value=6.0,
                severity="warning",
                description="The texts compress unusually well or badly: look for boilerplate or noise",
            ),
        ],
        RAW_SHARDS,
        dict(counts),
    )


@dg.asset_check(
    asset=RAW_SHARDS,
    partitions_def=snapshots,
    description="No more than one record in ten had to be quarantined.",
)
def quarantine_is_small(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    counts = store.artifact(store.input(RAW_SHARDS, context.partition_key)).manifest.counts
    share = counts["quarantined"] / max(counts["read"], 1)
    return validate_frame(
        pd.DataFrame({"quarantined_share": [share]}),
        [
            gxe.ExpectColumnValuesToBeBetween(
                column="quarantined_share",
                max_value=0.1,
                severity="warning",
                description="More than one record in ten is in quarantine.parquet, which gives the reasons",
            )
        ],
        "quarantine",
        {"read": counts["read"], "quarantined": counts["quarantined"]},
    )
