"""The drift sensor: asks for a refit once for each teacher whose corpus has moved away from it.

Drift past its refit threshold is reported either way. With ``drift.refit = "automatic"`` the sensor requests a run of
``teacher_clusters``; what depends on the teacher follows by declarative automation. It asks once for each drift report:
a refit that failed is asked for again when the next snapshot has changed the report, and never in a loop.
"""

import json

import dagster as dg

from gem_assets.stages import DRIFT, TEACHER_CLUSTERS
from resources.settings import SettingsResource
from resources.store import StoreResource

REFIT_TAG = "gem/refit_of"
TEACHER = dg.AssetKey(TEACHER_CLUSTERS)


@dg.sensor(
    name="drift",
    asset_selection=dg.AssetSelection.assets(TEACHER),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for a refit of the teacher when snapshots have drifted past the refit threshold.",
)
def drift_sensor(
    context: dg.SensorEvaluationContext, settings: SettingsResource, store: StoreResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare the drift report in force with the teacher in force."""
    from gem_assets.drift.report import DriftReport

    found, teacher = store.artifacts.current(DRIFT), store.artifacts.current(TEACHER_CLUSTERS)
    if found is None or teacher is None:
        return dg.SkipReason("no drift report yet")
    report = DriftReport.read(found.path)
    if report.teacher != teacher.identity:
        return dg.SkipReason("the teacher was refitted since; waiting for the next drift report")
    if report.level != "refit":
        return dg.SkipReason(f"drift is {report.level}")
    beyond = ", ".join(sorted({row.snapshot for row in report.beyond if row.level == "refit"}))
    if settings.load().drift.refit != "automatic":
        return dg.SkipReason(
            f"{beyond} drifted past the refit threshold: run `gem refit`, or materialize teacher_clusters "
            '(drift.refit = "automatic" does it by itself)'
        )
    asked = json.loads(context.cursor) if context.cursor else {}
    if asked.get("report") == found.identity:
        return dg.SkipReason(f"a refit for {beyond} was requested already; see the runs tagged {REFIT_TAG}")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(asset_selection=[TEACHER], tags={REFIT_TAG: report.teacher[:32], "gem/drifted": beyond[:200]})
        ],
        cursor=json.dumps({"report": found.identity}),
    )
