"""Checks of ``embedding_space`` and ``embeddings``."""

import dagster as dg

from gem_assets.assets.partitions import snapshots
from gem_assets.checks.validation import VALIDATED_ROWS, kept_documents, validate_frame
from gem_assets.stages import EMBEDDING_SPACE, EMBEDDINGS
from resources import StoreResource


@dg.asset_check(
    asset=EMBEDDINGS,
    partitions_def=snapshots,
    blocking=True,
    description="Every document has exactly one vector, finite and of unit length, or is listed as left out.",
)
def vectors_are_unit(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe

    from gem_assets.corpus.sampling import thinned
    from gem_assets.embedding.inspection import vector_frame

    snapshot = context.partition_key
    vectors = store.input(EMBEDDINGS, snapshot)
    documents = kept_documents(store, vectors)
    scan = store.table_scan([vectors])(["doc_id", "vector"])
    frame = vector_frame(thinned(scan, documents, VALIDATED_ROWS))
    held = store.tables.count(str(vectors.lance_table), version=vectors.lance_version, snapshot=snapshot)
    without = store.artifact(vectors).manifest.counts.get("without_vector", 0)
    frame["rows_missing"] = documents - held - without
    return validate_frame(
        frame,
        [
            gxe.ExpectTableRowCountToBeBetween(
                min_value=min(documents - without, 1), description="No document has a vector"
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="rows_missing", value_set=[0], description="Vectors and documents differ in number"
            ),
            gxe.ExpectColumnValuesToBeUnique(column="doc_id", description="A document has two vectors"),
            gxe.ExpectColumnValuesToBeBetween(
                column="norm", min_value=0.999, max_value=1.001, description="A vector is not of unit length"
            ),
            gxe.ExpectColumnValuesToBeInSet(column="finite", value_set=[True], description="A vector is not finite"),
        ],
        EMBEDDINGS,
        {"documents": documents, "without_vector": without},
    )


@dg.asset_check(asset=EMBEDDING_SPACE, description="The space has not collapsed into a cone.")
def space_is_spread(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    metrics = store.artifact(store.input(EMBEDDING_SPACE)).manifest.metrics
    return validate_frame(
        pd.DataFrame([metrics]),
        [
            gxe.ExpectColumnValuesToBeBetween(
                column="mean_cosine",
                min_value=-0.01,
                max_value=0.5,
                severity="warning",
                description="The vectors all point one way, or away from each other",
            )
        ],
        EMBEDDING_SPACE,
        {"mean_cosine": metrics["mean_cosine"]},
    )
