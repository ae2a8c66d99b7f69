"""Check of ``drift``: no snapshot has moved too far from what the teacher was fitted on."""

import dagster as dg

from gem_assets.checks.validation import validate_frame
from gem_assets.stages import DRIFT
from resources import SettingsResource, StoreResource


@dg.asset_check(
    asset=DRIFT,
    description="Figures of every snapshot that was not part of the teacher's fit stay below `drift.*.warn`. Past "
    "`drift.*.refit` the check is an error: refit the teacher (`gem refit`).",
)
def drift_is_small(settings: SettingsResource, store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    from gem_assets.drift.report import METRICS, DriftReport

    conf = settings.load().drift
    report = DriftReport.read(store.artifact(store.input(DRIFT)).path)
    judged = [row for row in report.rows if row.judged]
    frame = pd.DataFrame(
        [
            {
                "snapshot": row.snapshot,
                "lang": row.lang,
                **{name: 0.0 if row.reference else row.certain(name) for name in METRICS},
                "level": row.level if row.lang == "all" or row.level == "steady" else "warn",
            }
            for row in judged
        ],
        columns=["snapshot", "lang", *METRICS, "level"],
    )
    bounds = [
        gxe.ExpectColumnValuesToBeBetween(
            column=name,
            max_value=getattr(conf, name).warn,
            strict_max=True,
            severity="warning",
            description=f"A snapshot reached drift.{name}.warn",
        )
        for name in METRICS
    ]
    worst = gxe.ExpectColumnValuesToNotBeInSet(
        column="level",
        value_set=["refit"],
        description="A snapshot drifted past drift.*.refit: refit the teacher (gem refit)",
    )
    return validate_frame(
        frame,
        [*bounds, worst],
        DRIFT,
        {"level": report.level, "beyond": ", ".join(f"{r.snapshot} {r.lang}: {r.level}" for r in report.beyond)},
    )
