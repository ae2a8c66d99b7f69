"""Check of ``teacher_clusters``: the fit is what it claims to be."""

import dagster as dg

from gem_assets.checks.validation import validate_frame
from gem_assets.stages import TEACHER_CLUSTERS
from resources import StoreResource

EMPTY = "A cluster has no document: many texts of the sample are nearly one; lower teacher.k, or drop near duplicates"


@dg.asset_check(
    asset=TEACHER_CLUSTERS,
    blocking=True,
    description="The objective never fell and the duality gap certifies the last step. Balance (N_eff/K, "
    "largest/smallest, a cluster without a document) warns.",
)
def fit_is_certified(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    metrics = dict(store.artifact(store.input(TEACHER_CLUSTERS)).manifest.metrics)
    return validate_frame(
        # without a type, a column of nothing but None is of no number
        pd.DataFrame([metrics]).astype({"max_over_min": float}),
        [
            gxe.ExpectColumnValuesToBeInSet(
                column="monotone", value_set=[True], description="The objective fell during the fit"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="gap",
                min_value=-1e-12,
                max_value=1e-8,
                description="The duality gap does not certify the last step",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="max_over_min",
                max_value=1e6,
                description="The largest cluster is more than a million times the smallest",
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="max_over_min", severity="warning", description=EMPTY),
            gxe.ExpectColumnValuesToBeBetween(
                column="n_eff_over_k",
                min_value=0.9,
                severity="warning",
                description="The clusters are uneven: N_eff/K is below 0.9",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="max_over_min",
                max_value=5,
                severity="warning",
                description="The largest cluster is more than five times the smallest",
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="converged",
                value_set=[True],
                severity="warning",
                description="The fit stopped before it converged",
            ),
        ],
        TEACHER_CLUSTERS,
        {name: metrics[name] for name in ("objective", "gap", "n_eff_over_k")},
    )
