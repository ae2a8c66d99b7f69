import dagster as dg
import pytest

from gem_assets.abandoned import cancel_abandoned_runs


@dg.op
def nothing():
    pass


@dg.job
def job():
    nothing()


@pytest.mark.parametrize(
    ("status", "canceled"),
    [
        (dg.DagsterRunStatus.STARTED, True),
        (dg.DagsterRunStatus.STARTING, True),
        (dg.DagsterRunStatus.CANCELING, True),
        (dg.DagsterRunStatus.NOT_STARTED, False),
        (dg.DagsterRunStatus.SUCCESS, False),
        (dg.DagsterRunStatus.FAILURE, False),
    ],
)
def test_only_runs_that_were_cut_off_are_canceled(tmp_path, monkeypatch, status, canceled):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(job, status=status)
    assert cancel_abandoned_runs(tmp_path) == ([run.run_id] if canceled else [])
    with dg.DagsterInstance.get() as instance:
        after = instance.get_run_by_id(run.run_id).status
    assert after == (dg.DagsterRunStatus.CANCELED if canceled else status)
    assert cancel_abandoned_runs(tmp_path) == []
