import itertools
import logging
import os
import time
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from gem_assets.orchestration.progress import Progress, reporter
from gem_assets.parallel import machine, pool
from gem_assets.parallel.config import StageResources
from gem_assets.parallel.machine import MB, MemoryShare
from gem_assets.parallel.pool import ShardError, ShardTimeoutError, WorkerKilledError
from resources import EngineResource
from tests.resources import shards


@pytest.fixture(params=["inline", "one worker", "two workers"])
def engine(request) -> EngineResource:
    if request.param == "inline":
        return EngineResource(kind="inline")
    return EngineResource(workers=1 if request.param == "one worker" else 2)


def test_results_come_in_the_order_of_the_items(engine):
    assert list(engine.map(shards.square, range(40), "squares")) == [x * x for x in range(40)]
    assert list(engine.map(shards.slow_first, range(10), "slow")) == list(range(10))
    assert list(engine.map(shards.square, [], "nothing")) == []
    assert list(engine.shard_map("raw_shards")(shards.square, [3], "one")) == [9]


def test_workers_are_other_processes_with_one_thread_each():
    before = dict(os.environ)
    seen = list(EngineResource(workers=2).map(shards.threads_and_pid, range(6), "pids"))
    assert {threads for threads, _ in seen} == {"1"}
    assert os.getpid() not in {pid for _, pid in seen}
    assert dict(os.environ) == before


def test_one_item_or_one_worker_is_a_process_too():
    for workers, items in ((1, range(3)), (4, range(1))):
        seen = list(EngineResource(workers=workers).map(shards.threads_and_pid, items, "pids"))
        assert {threads for threads, _ in seen} == {"1"}
        assert len({pid for _, pid in seen} - {os.getpid()}) == 1


def test_inline_work_stays_in_this_process(tmp_path):
    (tmp_path / "gem.toml").write_text('engine = "inline"\n')
    seen = list(EngineResource(data_root=str(tmp_path)).map(shards.threads_and_pid, range(3), "pids"))
    assert {pid for _, pid in seen} == {os.getpid()}


def test_shards_that_want_a_gpu_run_one_after_the_other_here():
    seen = list(
        EngineResource(workers=2).map(shards.threads_and_pid, range(3), "pids", resources=StageResources(gpus=1))
    )
    assert {pid for _, pid in seen} == {os.getpid()}


def test_a_failing_shard_is_named_with_its_cause(engine):
    results = engine.map(shards.fail_on_three, range(6), "reading")
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ShardError, match="reading: shard 3 failed: ValueError: three is not") as caught:
        list(results)
    assert isinstance(caught.value.__cause__, ValueError)


def test_of_several_failures_the_first_in_order_is_raised():
    for _ in range(3):
        results = EngineResource(workers=2).map(shards.fail_late_or_early, range(6), "reading")
        assert list(itertools.islice(results, 2)) == [0, 1]
        with pytest.raises(ShardError, match="shard 2 failed: ValueError: 2"):
            next(results)


def test_an_error_that_cannot_travel_is_still_an_error():
    with pytest.raises(ShardError, match="shard"):
        list(EngineResource(workers=2).map(shards.raise_odd, range(4), "odd"))


@pytest.mark.crash
def test_a_shard_that_kills_its_worker_is_named():
    with pytest.raises(WorkerKilledError, match="reading: the process that worked on shard 3 was killed"):
        list(EngineResource(workers=2).map(shards.die_on_three, range(8), "reading"))


@pytest.mark.crash
def test_shards_that_were_killed_once_are_run_again(tmp_path):
    fn = partial(shards.die_once, str(tmp_path))
    assert list(EngineResource(workers=2).map(fn, range(8), "reading")) == list(range(8))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_shard_that_needs_more_memory_gets_it_alone():
    share = MemoryShare(beside=600 * MB, alone=2000 * MB)
    fn = partial(shards.eat_on_three, 1000)
    assert list(pool.pool_map(fn, range(5), "eating", workers=2, timeout_s=60, memory=share)) == list(range(5))


def test_a_shard_without_measure_ends_only_itself(tmp_path):
    (tmp_path / "gem.toml").write_text("worker_memory_mb = 600\n")
    engine = EngineResource(data_root=str(tmp_path), workers=2)
    results = engine.map(partial(shards.eat_on_three, 1000), range(5), "eating")
    with pytest.raises(WorkerKilledError, match=r"shard 3 was killed \(MemoryError.*worker_memory_mb") as caught:
        list(results)
    assert caught.value.item == 3


def test_the_least_share_of_memory_carries_every_library():
    share = MemoryShare(beside=machine.LEAST_SHARE, alone=machine.LEAST_SHARE)
    assert list(
        pool.pool_map(shards.use_the_large_libraries, [7], "libraries", workers=1, timeout_s=300, memory=share)
    ) == [7]


def test_memory_is_shared_among_workers_and_never_promised_twice(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 100 << 30)
    assert machine.memory_share(2) == MemoryShare(beside=40 << 30, alone=80 << 30)
    assert machine.memory_share(64).beside == machine.LEAST_SHARE
    monkeypatch.setattr(machine, "memory_limit", lambda: 2 << 30)
    small = machine.memory_share(4)
    assert small.beside == small.alone < 2 << 30
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    assert machine.memory_share(4) is None


@pytest.mark.parametrize(("workers", "items"), [(2, range(8)), (1, range(8)), (2, [3])])
def test_a_hung_shard_is_stopped_and_named(workers, items):
    engine = EngineResource(workers=workers, shard_timeout_s=1.0)
    # a worker's start counts as its first shard's time, and takes more than a second on a busy machine
    assert list(EngineResource(workers=workers).map(shards.square, items, "starting")) == [x * x for x in items]
    with pytest.raises(ShardTimeoutError, match="shard 3 was stopped after 1 s"):
        list(engine.map(shards.hang_on_three, items, "reading"))


def test_an_abandoned_map_ends_its_workers():
    results = EngineResource(workers=2).map(shards.threads_and_pid, range(100), "pids")
    _, pid = next(results)
    results.close()
    assert not Path(f"/proc/{pid}").exists()


def test_workers_stay_a_while_for_the_next_map(monkeypatch):
    monkeypatch.setattr(pool, "_KEEP_S", 60)
    engine = EngineResource(workers=2)
    first = {pid for _, pid in engine.map(shards.threads_and_pid, range(6), "pids")}
    monkeypatch.setattr(pool, "_KEEP_S", 0.5)
    second = {pid for _, pid in engine.map(shards.threads_and_pid, range(6), "pids")}
    assert first & second
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in first | second):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(list(engine.map(shards.square, range(6), "again"))) == 6


def test_two_maps_at_a_time_have_their_own_workers():
    engine = EngineResource(workers=2)
    one, two = (engine.map(shards.threads_and_pid, range(8), "pids") for _ in range(2))
    pairs = list(zip(one, two, strict=True))
    assert not {a[1] for a, _ in pairs} & {b[1] for _, b in pairs}


def test_settings_of_the_data_root_count_unless_given(tmp_path, monkeypatch):
    (tmp_path / "gem.toml").write_text("workers = 1\nshard_timeout_s = 5\n")
    assert EngineResource(data_root=str(tmp_path))._plan(10, 1) == ("local", 1, 5.0)
    assert EngineResource(data_root=str(tmp_path), workers=3)._plan(10, 1) == ("local", 3, 5.0)
    assert EngineResource(workers=4)._plan(10, 2)[1] == 2
    assert EngineResource(workers=4)._plan(3, 1)[1] == 3


def test_ray_that_is_not_there_is_explained(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(RuntimeError, match=r"gem-assets\[ray\]"):
        list(EngineResource(kind="ray").map(shards.square, range(2), "squares"))


def test_progress_says_rate_and_time_left_but_not_for_quick_work(caplog):
    with caplog.at_level(logging.INFO):
        quick = Progress("quick", 3, every_s=60)
        for _ in range(3):
            quick.step()
        quick.close()
        assert not caplog.records
        slow = Progress("slow", 4, every_s=0.0)
        slow.step(2)
    assert "slow: 2 of 4" in caplog.text
    assert "left" in caplog.text


def test_reporter_takes_counts_and_lines(caplog):
    with caplog.at_level(logging.INFO):
        report = reporter("fit", every_s=0.0)
        report(1, 4)
        report("epoch 2: loss 0.1")
    assert "fit: 1 of 4" in caplog.text
    assert "fit: epoch 2: loss 0.1" in caplog.text


def test_progress_goes_to_the_log_of_the_run():
    @dg.asset
    def worker() -> None:
        Progress("inside", 2, every_s=0.0).step()

    with dg.instance_for_test() as instance:
        result = dg.materialize([worker], instance=instance)
        logs = [e.user_message for e in instance.all_logs(result.run_id)]
    assert any("inside: 1 of 2" in line for line in logs)
