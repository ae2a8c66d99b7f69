import numpy as np
import pytest
import torch

from gem_assets.mixing.methods.doremi import DoReMiHook
from gem_assets.mixing.online.hook import OnlineHook
from gem_assets.mixing.online.trainer import OnlineRun, train_online, train_reference
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import PoolError, TokenPool
from gem_assets.proxy.stream import AdaptiveStream
from gem_assets.proxy.train import ProxyTrainer
from tests.proxy.worlds import markov_world

CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16), training=TrainingConfig(tokens=1280, precision="fp32")
)


@pytest.fixture(scope="module")
def world():
    return markov_world()


class Recorder(OnlineHook):
    """Alternates between two mixtures, and notes what it sees."""

    def __init__(self, mixtures):
        super().__init__(mixtures[0])
        self.mixtures, self.seen = mixtures, []

    def loss_weights(self, run, batch):
        self.seen.append((run.step, batch.domains.tolist()))

    def after_step(self, run):
        self._shares = self.mixtures[run.step % 2]


def test_the_stream_follows_shares_that_change(world):
    pool, _ = world
    stream = AdaptiveStream(pool, 16, seed=3)
    plan = [np.array(p) for p in ([1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.5, 0.5])]
    owed = np.zeros(3)
    for shares in plan:
        windows, domains = stream.take(shares, 20)
        assert windows.shape == (20, 17)
        owed += 20 * shares
        assert set(domains) <= set(np.flatnonzero(shares))
    assert np.abs(stream.visits - owed).max() <= 1.5
    with pytest.raises(PoolError, match=r"domains \[1\] have a share"):
        AdaptiveStream(TokenPool.of([pool.domain(0), np.zeros(0, np.uint16)], 48), 16, 0).take(np.array([0.5, 0.5]), 1)


def test_batches_come_from_the_mixture_of_the_moment(world):
    pool, evaluation = world
    hook = Recorder([np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])])
    result = train_online(pool, evaluation, hook, CONFIG)
    assert [step for step, _ in hook.seen] == list(range(40))
    assert all(domains == [2, 2] for step, domains in hook.seen if step % 2)
    assert all(2 not in domains for step, domains in hook.seen if not step % 2)
    assert result.visits.tolist() == [20, 20, 40]
    assert result.tokens == 1280
    assert result.trajectory.shape == (40, 3)


def test_fixed_shares_learn_and_report(world):
    pool, evaluation = world
    shown = []
    result = train_online(
        pool,
        evaluation,
        OnlineHook(np.array([0.8, 0.1, 0.1])),
        CONFIG,
        progress=lambda done, total: shown.append((done, total)),
    )
    other = train_online(pool, evaluation, OnlineHook(np.array([0.1, 0.8, 0.1])), CONFIG)
    assert result.losses[0] < other.losses[0] - 0.1
    assert result.losses[1] > other.losses[1] + 0.1
    assert result.mixture == pytest.approx([0.8, 0.1, 0.1])
    assert shown[-1][1] == 40
    again = train_online(pool, evaluation, OnlineHook(np.array([0.8, 0.1, 0.1])), CONFIG)
    np.testing.assert_allclose(again.losses, result.losses, rtol=0, atol=1e-5)


def live(world):
    pool, evaluation = world
    trainer = ProxyTrainer(CONFIG, pool.vocab)
    return OnlineRun(pool, evaluation, CONFIG, 0, trainer, AdaptiveStream(pool, 16, 0))


def test_a_branch_is_taken_back(world):
    run = live(world)
    run.train(run.even(), 5)
    before, average = run.trainer.model.flat.clone(), run.trainer.evaluate(run.evaluation)
    with run.branch():
        run.train(np.eye(3)[1], 10)
        assert not torch.equal(run.trainer.model.flat, before)
        assert run.step == 15
    assert torch.equal(run.trainer.model.flat, before)
    np.testing.assert_array_equal(run.trainer.evaluate(run.evaluation), average)
    assert (run.step, run.costs.probe_steps, run.costs.branch_steps) == (5, 5, 10)


def test_probes_stop_at_the_budget(world):
    run = live(world)
    run.train(run.even(), 1000)
    assert run.step == 40
    assert run.left == 0


def test_gradients_of_domains_and_targets_tell_them_apart(world):
    run = live(world)
    run.train(run.even(), 10)
    before = run.trainer.model.flat.clone()
    domains, targets = run.domain_gradients(8), run.target_gradients(np.array([1.0, 1.0, 0.0]))
    assert torch.equal(run.trainer.model.flat, before)
    assert run.costs.gradients == 5
    assert float(targets[2].abs().max()) == 0
    alignment = torch.nn.functional.normalize(domains, dim=1) @ torch.nn.functional.normalize(targets[:2], dim=1).T
    assert alignment.argmax(0).tolist() == [0, 1]


def test_a_gradient_is_the_slope_of_the_loss(world):
    run = live(world)
    run.train(run.even(), 3)
    windows = torch.from_numpy(run.draw(run.even()).windows)
    slope = run.trainer.gradient(windows)
    flat = run.trainer.model.flat
    direction = slope / slope.norm()
    values = []
    for step in (1e-2, -1e-2):
        flat.add_(direction, alpha=step)
        values.append(run.trainer.model.loss(windows)[0].item())
        flat.add_(direction, alpha=-step)
    assert (values[0] - values[1]) / 2e-2 == pytest.approx(float(slope.norm()), rel=0.02)


def test_what_does_not_fit_is_refused(world):
    pool, evaluation = world
    with pytest.raises(PoolError, match="2 weights, the pool 3 domains"):
        train_online(pool, evaluation, OnlineHook(np.ones(2)), CONFIG)
    short = CONFIG.model_copy(update={"model": ModelConfig(width=16, layers=1, heads=2, context=8)})
    with pytest.raises(PoolError, match="context"):
        train_online(pool, evaluation, OnlineHook(np.ones(3)), short)


def test_weights_of_sequences_reach_the_loss(world):
    pool, evaluation = world
    reference = train_reference(pool, np.full(3, 1 / 3), CONFIG)

    class Only(DoReMiHook):
        def loss_weights(self, run, batch):
            super().loss_weights(run, batch)
            return (batch.domains == 2).astype(float)

    result = train_online(pool, evaluation, Only(reference, np.full(3, 1 / 3)), CONFIG)
    even = train_online(pool, evaluation, OnlineHook(np.full(3, 1 / 3)), CONFIG)
    assert result.visits.max() - result.visits.min() <= 1
    assert result.losses[0] > even.losses[0] + 0.05
    assert result.costs.forwards == 80
