import dagster as dg
import pytest

from gem_assets.orchestration.abandoned_runs import PROCESS_TAG, PROCESSES, cancel_abandoned_runs, named_process


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


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def started(process: str | None) -> str:
    tags = {} if process is None else {PROCESS_TAG: process}
    with dg.DagsterInstance.get() as instance:
        return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags).run_id


def test_a_run_in_the_process_of_a_command_lives_as_long_as_the_process(home):
    with named_process(home) as name:
        run = started(name)
        assert cancel_abandoned_runs(home) == []
    assert cancel_abandoned_runs(home) == [run]


def test_the_folder_of_a_killed_process_goes_with_its_runs(home):
    (home / PROCESSES / "process-killed").mkdir(parents=True)
    run = started("process-killed")
    assert cancel_abandoned_runs(home, server=False) == [run]
    assert list((home / PROCESSES).iterdir()) == []


def test_runs_of_a_server_that_may_be_alive_are_left_alone(home):
    run = started(None)
    assert cancel_abandoned_runs(home, server=False) == []
    assert cancel_abandoned_runs(home, server=True) == [run]


def test_a_place_in_a_pool_is_free_again(home):
    run = started("process-gone")
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("tables")
        assert storage.claim_concurrency_slot("tables", run, "nothing").is_claimed
        assert not storage.claim_concurrency_slot("tables", "waits", "nothing").is_claimed
    cancel_abandoned_runs(home)
    with dg.DagsterInstance.get() as instance:
        held = instance.event_log_storage.get_concurrency_info("tables")
        assert run not in held.active_run_ids
