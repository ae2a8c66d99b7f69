import threading
import time

import dagster as dg
import pytest

from gem_assets.orchestration import abandoned_runs
from gem_assets.orchestration.abandoned_runs import (
    BEAT_TAG,
    PROCESS_TAG,
    PROCESSES,
    SILENT_S,
    cancel_abandoned_runs,
    heartbeat,
    named_process,
    process_tags,
)


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


HOSTS = ("one", "two")


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Two homes on two hosts that share one run database; returns a function that goes to one of them."""
    for name in HOSTS:
        home = tmp_path / name
        home.mkdir()
        (home / "dagster.yaml").write_text(
            f"telemetry: {{enabled: false}}\nstorage: {{sqlite: {{base_dir: {tmp_path / 'shared'}}}}}\n"
        )

    def go(name):
        monkeypatch.setattr(abandoned_runs.socket, "gethostname", lambda: name)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / name))
        return tmp_path / name

    return go


def owned(home, process, **tags):
    with dg.DagsterInstance.get() as instance:
        started = dg.DagsterRunStatus.STARTED
        return instance.create_run_for_job(job, status=started, tags=process_tags(home, process) | tags).run_id


def test_a_command_on_another_host_cancels_nothing(hosts):
    home = hosts("one")
    with named_process(home) as process:
        run, served = owned(home, process), started(None)
        assert cancel_abandoned_runs(hosts("two")) == []
        assert cancel_abandoned_runs(hosts("two"), server=False) == []
        assert cancel_abandoned_runs(hosts("one")) == []
    assert cancel_abandoned_runs(hosts("two")) == []
    assert cancel_abandoned_runs(hosts("one")) == [run], "the host of the process sees that it has ended"
    with dg.DagsterInstance.get() as instance:
        assert instance.get_run_by_id(served).status == dg.DagsterRunStatus.STARTED


def test_equal_paths_on_two_hosts_are_two_homes(hosts, monkeypatch):
    home = hosts("one")
    run = owned(home, "process-ended")
    monkeypatch.setattr(abandoned_runs.socket, "gethostname", lambda: "two")
    assert cancel_abandoned_runs(home) == []
    monkeypatch.setattr(abandoned_runs.socket, "gethostname", lambda: "one")
    assert cancel_abandoned_runs(home) == [run]


def test_a_host_that_has_been_silent_for_long_loses_its_runs(hosts):
    home = hosts("one")
    silent = owned(home, "process-a", **{BEAT_TAG: f"{time.time() - SILENT_S - 60:.0f}"})
    owned(home, "process-b", **{BEAT_TAG: f"{time.time() - SILENT_S + 60:.0f}"})
    assert cancel_abandoned_runs(hosts("two")) == [silent]


def test_the_heart_beats_on_the_runs_of_its_process_alone(hosts):
    home = hosts("one")
    with named_process(home) as process, dg.DagsterInstance.get() as instance:
        long_ago = {BEAT_TAG: "1000"}
        mine, other = owned(home, process, **long_ago), owned(home, "process-other", **long_ago)
        with heartbeat(instance, home, process, every_s=0.05):
            deadline = time.monotonic() + 20
            while instance.get_run_by_id(mine).tags[BEAT_TAG] == "1000":
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert instance.get_run_by_id(other).tags[BEAT_TAG] == "1000"
        assert cancel_abandoned_runs(hosts("two")) == [other]


def test_no_thread_where_the_database_is_this_homes_own(home):
    with dg.DagsterInstance.get() as instance, heartbeat(instance, home, "process-a"):
        assert not any(thread.name == "gem heartbeat" for thread in threading.enumerate())
