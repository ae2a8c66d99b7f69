import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gem_assets.parallel.shard_map import serial_map
from gem_assets.proxy.config import HeadConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.noise import seed_noise
from gem_assets.proxy.pool import PoolError
from gem_assets.proxy.swarm import (
    ProxyJob,
    SwarmFolderError,
    SwarmSpec,
    read_swarm,
    run_swarm,
    swarm_jobs,
)
from tests.proxy.worlds import markov_world

CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
    training=TrainingConfig(tokens=1024, precision="fp32"),
    repeats=1,
)
DOMAINS = ("domain-0", "domain-1", "domain-2")
MIXTURES = np.vstack([np.full(3, 1 / 3), np.random.default_rng(0).dirichlet(np.ones(3), 5)])
LABELS = ("uniform", *(f"draw-{i}" for i in range(5)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    pool, evaluation = markov_world()
    pool.save(folder)
    evaluation.save(folder)
    return folder


@pytest.fixture
def spec(data):
    return SwarmSpec(CONFIG, data, "taxonomy-1", DOMAINS)


def counting(trained):
    def spread(fn, items, label):
        trained.extend(job for jobs in items for job in jobs)
        return serial_map(fn, items, label)

    return spread


def test_a_swarm_trains_each_mixture_and_some_seeds(spec, tmp_path):
    jobs = swarm_jobs(LABELS, MIXTURES, CONFIG)
    assert len(jobs) == 8
    seen = []
    rows = run_swarm(jobs, spec, tmp_path, progress=lambda *p: seen.append(p))
    assert len(rows) == 8
    assert rows.targets == rows.domains == DOMAINS
    assert rows.mixtures.shape == (8, 3)
    assert rows.losses.shape == (8, 3)
    assert rows.in_domain.all()
    assert (rows.seconds > 0).all()
    assert [done for done, _, _ in seen] == list(range(9))
    assert seen[0][2] is None
    assert seen[-1] == (8, 8, 0.0)
    # the domain with the larger share has the lower loss
    first = rows.seeds == 0
    for k in range(3):
        assert np.corrcoef(rows.mixtures[first, k], rows.losses[first, k])[0, 1] < -0.5
    noise = seed_noise(rows)
    assert noise.repeats == 2
    assert noise.mean_within < noise.mean_between
    assert (noise.ratio < 1).all()


def test_a_rerun_trains_only_what_is_missing(spec, tmp_path):
    jobs = swarm_jobs(LABELS, MIXTURES, CONFIG)
    trained = []
    first = run_swarm(jobs[:3], spec, tmp_path, map_shards=counting(trained))
    assert trained == jobs[:3]
    files = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    trained.clear()
    second = run_swarm(jobs, spec, tmp_path, map_shards=counting(trained))
    assert trained == jobs[3:]
    assert all(path.read_bytes() == content for path, content in files.items())
    assert len(second) == len(first) + 5
    trained.clear()
    assert run_swarm(jobs, spec, tmp_path, map_shards=counting(trained)).table.equals(second.table)
    assert not trained


def test_the_table_does_not_depend_on_when_and_in_which_order(spec, tmp_path):
    jobs = swarm_jobs(LABELS[:3], MIXTURES[:3], CONFIG)
    a = run_swarm(jobs, spec, tmp_path / "a")
    b = run_swarm(jobs[::-1], spec, tmp_path / "b")
    assert a.table.to_pylist() == b.table.to_pylist()


def test_the_key_holds_what_can_change_a_loss_and_nothing_else(spec, data):
    from gem_assets.proxy.pool import EvaluationSet

    evaluation = EvaluationSet.load(data)
    job = ProxyJob.of("a", MIXTURES[1], 0)

    def key(job=job, taxonomy="t", tokenizer="x", evaluation=evaluation, **changes):
        config = CONFIG.model_copy(update=changes)
        return job.key(SwarmSpec(config, data, taxonomy, DOMAINS).identity(evaluation, tokenizer), taxonomy)

    base = key()
    assert base == key(job=ProxyJob.of("another label", MIXTURES[1] + 1e-12, 0))
    assert base == key(mixtures=99, repeats=0, seed=5)
    assert base == key(training=CONFIG.training.model_copy(update={"chunk": 7}))
    others = [
        key(job=ProxyJob.of("a", MIXTURES[2], 0)),
        key(job=ProxyJob.of("a", MIXTURES[1], 1)),
        key(taxonomy="u"),
        key(tokenizer="y"),
        key(evaluation=EvaluationSet.concatenate([evaluation_of(evaluation)])),
        key(model=ModelConfig(width=16, layers=2, heads=2, context=16)),
        key(head=HeadConfig(z_loss=1e-4)),
        key(training=CONFIG.training.model_copy(update={"tokens": 2048})),
    ]
    assert len({base, *others}) == len(others) + 1


def evaluation_of(evaluation):
    from dataclasses import replace

    return replace(evaluation, windows=evaluation.windows[:, ::-1].copy())


def test_automatic_precision_is_named_by_what_it_is(data):
    from gem_assets.proxy.model import resolve_precision
    from gem_assets.proxy.pool import EvaluationSet

    evaluation = EvaluationSet.load(data)
    found = {}
    for precision in ("auto", "bf16", "fp32"):
        training = CONFIG.training.model_copy(update={"precision": precision})
        config = CONFIG.model_copy(update={"training": training})
        found[precision] = SwarmSpec(config, data, "t", DOMAINS).identity(evaluation, "x")
    assert found["bf16"] != found["fp32"]
    assert found["auto"] == found[resolve_precision("auto")]


def test_a_damaged_row_is_named_and_trained_again(spec, tmp_path, caplog):
    jobs = swarm_jobs(LABELS[:3], MIXTURES[:3], CONFIG.model_copy(update={"repeats": 0}))
    before = run_swarm(jobs, spec, tmp_path)
    victim = sorted(tmp_path.glob("*.parquet"))[1]
    victim.write_bytes(victim.read_bytes()[:100])
    rows = read_swarm(tmp_path)
    assert rows.damaged == (victim.name,)
    assert victim.name in caplog.text
    assert len(rows) == 2
    trained = []
    after = run_swarm(jobs, spec, tmp_path, map_shards=counting(trained))
    assert len(trained) == 1
    assert after.table.equals(before.table)


def test_a_diverged_proxy_is_recorded_and_not_tried_again(data, tmp_path):
    training = CONFIG.training.model_copy(update={"lr": 1e30, "warm_up": 0.0})
    spec = SwarmSpec(CONFIG.model_copy(update={"training": training}), data, "t", DOMAINS)
    jobs = [ProxyJob.of("uniform", MIXTURES[0], 0)]
    rows = run_swarm(jobs, spec, tmp_path)
    assert len(rows) == 0
    assert "lower training.lr" in rows.failed.column("error")[0].as_py()
    trained = []
    run_swarm(jobs, spec, tmp_path, map_shards=counting(trained))
    assert not trained


def test_proxies_can_be_trained_side_by_side(spec, data, tmp_path):
    jobs = swarm_jobs(LABELS[:4], MIXTURES[:4], CONFIG)
    tasks, seen = [], []

    def spread(fn, items, label):
        tasks.extend(items)
        return serial_map(fn, items, label)

    together = SwarmSpec(CONFIG, data, "taxonomy-1", DOMAINS, together=4)
    rows = run_swarm(jobs, together, tmp_path, map_shards=spread, progress=lambda *p: seen.append(p[:2]))
    assert [len(task) for task in tasks] == [4, 2]
    assert seen == [(0, 6), (4, 6), (6, 6)]
    single = run_swarm(jobs, spec, tmp_path)
    assert not set(rows.table.column("key").to_pylist()) & set(single.table.column("key").to_pylist())
    order = {(label, seed): i for i, (label, seed) in enumerate(zip(single.labels, single.seeds, strict=True))}
    for label, seed, losses in zip(rows.labels, rows.seeds, rows.losses, strict=True):
        np.testing.assert_allclose(losses, single.losses[order[label, seed]], atol=5e-3)


def test_swarms_of_other_taxonomies_share_a_folder(spec, data, tmp_path):
    other = SwarmSpec(CONFIG, data, "taxonomy-2", ("x", "y", "z"))
    run_swarm([ProxyJob.of("uniform", MIXTURES[0], 0)], spec, tmp_path)
    rows = run_swarm([ProxyJob.of("uniform", MIXTURES[0], 0)], other, tmp_path)
    assert rows.domains == ("x", "y", "z")
    everything = read_swarm(tmp_path)
    assert len(everything) == 2
    with pytest.raises(SwarmFolderError, match="domains"):
        _ = everything.mixtures
    assert read_swarm(tmp_path, taxonomy="taxonomy-1").domains == DOMAINS
    assert len(read_swarm(tmp_path, proxy="none")) == 0
    np.testing.assert_array_equal(read_swarm(tmp_path, taxonomy="taxonomy-1").losses, rows.losses)


def test_bad_requests_are_refused_before_anything_is_trained(spec, data, tmp_path):
    trained = []
    with pytest.raises(PoolError, match="3 domains"):
        run_swarm(
            [ProxyJob.of("ok", MIXTURES[0], 0), ProxyJob.of("two", [0.5, 0.5], 0)],
            spec,
            tmp_path,
            map_shards=counting(trained),
        )
    assert not trained
    with pytest.raises(PoolError, match="sum"):
        ProxyJob.of("off", [0.5, 0.6], 0)
    with pytest.raises(SwarmFolderError, match="2 domains are named"):
        run_swarm([], SwarmSpec(CONFIG, data, "t", ("a", "b")), tmp_path)
    with pytest.raises(ValueError, match="labels"):
        swarm_jobs(("a",), MIXTURES, CONFIG)


def test_noise_needs_repeats(spec, tmp_path):
    rows = run_swarm([ProxyJob.of("uniform", MIXTURES[0], 0)], spec, tmp_path)
    with pytest.raises(SwarmFolderError, match="repeats"):
        seed_noise(rows)


def test_repeats_fall_on_the_baselines():
    config = CONFIG.model_copy(update={"repeats": 2})
    jobs = swarm_jobs(("a", "b", "proportional", "uniform"), MIXTURES[:4], config)
    assert sorted((j.label, j.seed) for j in jobs if j.seed) == [
        ("proportional", 1),
        ("proportional", 2),
        ("uniform", 1),
        ("uniform", 2),
    ]
    assert [j.label for j in swarm_jobs(("a", "b"), MIXTURES[:2], config) if j.seed == 1] == ["a", "b"]


RUN = """
import sys, time
from pathlib import Path
from gem_assets.proxy import swarm
from gem_assets.proxy.swarm import SwarmSpec, run_swarm, swarm_jobs
from tests.proxy.test_swarm import CONFIG, DOMAINS, LABELS, MIXTURES
spec = SwarmSpec(CONFIG, Path(sys.argv[1]), "taxonomy-1", DOMAINS)
folder, train = Path(sys.argv[2]), swarm.train_proxy
def stalled(*arguments, **options):
    if len(list(folder.glob("*.parquet"))) == 3:
        (folder / "stalled").touch()
        time.sleep(600)
    return train(*arguments, **options)
swarm.train_proxy = stalled
run_swarm(swarm_jobs(LABELS, MIXTURES, CONFIG), spec, folder)
"""


@pytest.mark.crash
def test_a_killed_swarm_loses_one_proxy_and_the_rerun_makes_it_whole(spec, data, tmp_path):
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(data), str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "stalled").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (folder / "stalled").unlink()
    finished = {path: path.read_bytes() for path in folder.glob("*.parquet")}
    jobs = swarm_jobs(LABELS, MIXTURES, CONFIG)
    assert len(finished) == 3 < len(jobs)
    trained = []
    rows = run_swarm(jobs, spec, folder, map_shards=counting(trained))
    assert len(trained) == len(jobs) - len(finished)
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert not list(folder.glob(".*.tmp"))
    assert rows.table.equals(run_swarm(jobs, spec, tmp_path / "whole").table)
