"""The map on Ray gives what the local pool gives, and survives what a cluster does to its workers."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from gem_assets.parallel.pool import ShardError, ShardTimeoutError, WorkerKilledError
from resources import EngineResource
from tests.resources import shards

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def engine(ray):
    return EngineResource(kind="ray", shard_timeout_s=60)


def test_results_come_in_the_order_of_the_items(engine):
    assert list(engine.map(shards.square, range(40), "squares")) == [x * x for x in range(40)]
    assert list(engine.map(shards.slow_first, range(10), "slow")) == list(range(10))
    assert list(engine.map(shards.square, [], "nothing")) == []
    assert list(engine.map(partial(shards.eat_on_three, 1), range(5), "a partial")) == list(range(5))


def test_shards_run_in_processes_with_one_thread(engine):
    seen = list(engine.map(shards.threads_and_pid, range(6), "pids"))
    assert {threads for threads, _ in seen} == {"1"}
    assert os.getpid() not in {pid for _, pid in seen}


def test_of_several_failures_the_first_in_order_is_raised_with_its_cause(engine):
    with pytest.raises(ShardError, match="reading: shard 3 failed: ValueError: three") as caught:
        list(engine.map(shards.fail_on_three, range(6), "reading"))
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ShardError, match="shard 2 failed: ValueError: 2"):
        list(engine.map(shards.fail_late_or_early, range(6), "reading"))
    with pytest.raises(ShardError, match="odd: shard 0 failed: OddError"):
        list(engine.map(shards.raise_odd, range(4), "odd"))


def test_a_shard_that_ends_its_process_is_run_again_alone_and_then_named(engine, tmp_path):
    assert list(engine.map(partial(shards.die_once, str(tmp_path)), range(8), "reading")) == list(range(8))
    with pytest.raises(WorkerKilledError, match=r"process that worked on shard 3 was killed \(SIGKILL\)") as caught:
        list(engine.map(shards.die_on_three, range(4), "reading"))
    assert caught.value.item == 3


def test_five_lost_workers_of_ray_cost_nothing_but_time(engine, tmp_path):
    fn = partial(shards.end_rays_worker_once, str(tmp_path))
    assert list(engine.map(fn, range(8), "reading")) == list(range(8))
    assert len(list(tmp_path.iterdir())) == 5


def test_the_limit_of_time_runs_on_the_node(ray):
    assert ray.is_initialized()
    engine = EngineResource(kind="ray", shard_timeout_s=3)
    assert list(EngineResource(kind="ray").map(shards.square, range(4), "starting")) == [0, 1, 4, 9]
    with pytest.raises(ShardTimeoutError, match="shard 3 was stopped after 3 s") as caught:
        list(engine.map(shards.hang_on_three, range(8), "reading"))
    assert caught.value.item == 3


def test_an_abandoned_map_ends_what_it_started(engine, tmp_path):
    results = engine.map(partial(shards.note_process_and_hang, str(tmp_path)), [0, 1], "abandoned")
    assert next(results) == 0
    deadline = time.monotonic() + 60
    while not (tmp_path / "1").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pid = (tmp_path / "1").read_text()
    results.close()
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(engine.map(shards.square, range(4), "after it")) == [0, 1, 4, 9]


def test_the_client_of_ray_is_refused(monkeypatch, ray):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(RuntimeError, match=r"ray://head:10001.*Set|set RAY_ADDRESS=auto"):
        list(EngineResource(kind="ray").map(shards.square, range(2), "squares"))


def test_the_settings_say_what_a_shard_wants(tmp_path, ray):
    assert Path(ray.__file__).exists()
    (tmp_path / "gem.toml").write_text('engine = "ray"\n[resources.embeddings]\ncpus = 0.5\nmemory_mb = 700\n')
    engine = EngineResource(data_root=str(tmp_path))
    assert list(engine.shard_map("embeddings")(partial(shards.eat_on_three, 1), range(5), "eating")) == list(range(5))
    with pytest.raises(WorkerKilledError, match="shard 3"):
        list(engine.shard_map("embeddings")(partial(shards.eat_on_three, 10**7), range(5), "eating"))
