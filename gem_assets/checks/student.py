"""Checks of ``student_model`` and ``student_labels``."""

import dagster as dg

from gem_assets.assets.partitions import snapshots
from gem_assets.checks.validation import VALIDATED_ROWS, kept_documents, validate_frame
from gem_assets.stages import STUDENT_LABELS, STUDENT_MODEL
from resources import SettingsResource, StoreResource


@dg.asset_check(
    asset=STUDENT_MODEL,
    description="The student agrees with the teacher on documents it never saw, and keeps its cluster shares.",
)
def student_agrees(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    summary = store.artifact(store.input(STUDENT_MODEL)).manifest.metrics["summary"]
    return validate_frame(
        pd.DataFrame([summary]),
        [
            gxe.ExpectTableRowCountToBeBetween(
                min_value=1, description="The student was not compared with the teacher"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="agreement",
                min_value=0.6,
                severity="warning",
                description="The student agrees with the teacher on fewer than 60% of the documents that it never saw",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="share_drift",
                max_value=0.1,
                severity="warning",
                description="The student's cluster shares differ from the teacher's by more than 0.1",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="calibration_error",
                max_value=0.1,
                severity="warning",
                description="Confidences are off by more than 0.1 on average",
            ),
        ],
        STUDENT_MODEL,
        {"agreement": summary["agreement"]},
    )


@dg.asset_check(
    asset=STUDENT_LABELS,
    partitions_def=snapshots,
    blocking=True,
    description="Every document of the snapshot has one label within range, with a confidence that is a probability.",
)
def labels_are_sound(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, store: StoreResource
) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    from gem_assets.corpus.sampling import thinned

    snapshot = context.partition_key
    labels = store.input(STUDENT_LABELS, snapshot)
    documents = kept_documents(store, labels)
    columns = ["doc_id", "cluster", "confidence", "margin", "n_tokens"]
    batches = list(thinned(store.table_scan([labels])(columns), documents, VALIDATED_ROWS))
    frame = pd.concat([batch.to_pandas() for batch in batches]) if batches else pd.DataFrame(columns=columns)
    held = store.tables.count(str(labels.lance_table), version=labels.lance_version, snapshot=snapshot)
    frame["rows_missing"] = documents - held
    k = settings.load().teacher.k
    return validate_frame(
        frame,
        [
            gxe.ExpectTableRowCountToBeBetween(min_value=min(documents, 1), description="No document is labelled"),
            gxe.ExpectColumnValuesToBeInSet(
                column="rows_missing", value_set=[0], description="Labels and documents differ in number"
            ),
            gxe.ExpectColumnValuesToBeUnique(column="doc_id", description="A document has two labels"),
            gxe.ExpectColumnValuesToBeBetween(
                column="cluster", min_value=0, max_value=k - 1, description="A label is not one of the clusters"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="confidence", min_value=0, max_value=1, description="A confidence is not a probability"
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="margin", description="A label has no margin"),
            gxe.ExpectColumnUniqueValueCountToBeBetween(
                column="cluster", min_value=2, severity="warning", description="All documents are in one cluster"
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="confidence",
                min_value=0.5,
                severity="warning",
                description="The labels are unsure: the mean confidence is below 0.5",
            ),
        ],
        STUDENT_LABELS,
        {"documents": documents},
    )
