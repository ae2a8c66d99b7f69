"""Check of ``teacher_clusters``: the fit is what it claims to be."""

import dagster as dg

from gem_assets.checks.validation import validate_frame
from resources import StoreResource


@dg.asset_check(
    asset="teacher_clusters",
    blocking=True,
    description="The objective never fell, the duality gap certifies the last step, and no cluster is empty. Balance "
    "(N_eff/K, largest/smallest) warns.",
)
def fit_is_certified(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    metrics = dict(store.artifact(store.input("teacher_clusters")).manifest.metrics)
    # an empty cluster makes the ratio infinite, which JSON cannot hold
    ratio = metrics["max_over_min"]
    frame = pd.DataFrame([{**metrics, "max_over_min": float("inf") if ratio is None else ratio}])
    return validate_frame(
        frame,
        [
            gxe.ExpectColumnValuesToBeInSet(column="monotone", value_set=[True]),
            gxe.ExpectColumnValuesToBeBetween(column="gap", min_value=-1e-12, max_value=1e-8),
            gxe.ExpectColumnValuesToBeBetween(column="max_over_min", max_value=1e6),
            gxe.ExpectColumnValuesToBeBetween(column="n_eff_over_k", min_value=0.9, severity="warning"),
            gxe.ExpectColumnValuesToBeBetween(column="max_over_min", max_value=5, severity="warning"),
            gxe.ExpectColumnValuesToBeInSet(column="converged", value_set=[True], severity="warning"),
        ],
        "teacher_clusters",
        {name: metrics[name] for name in ("objective", "gap", "n_eff_over_k")},
    )
