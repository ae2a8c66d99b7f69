import math

import numpy as np
import pytest
import torch

from gem_assets.proxy.config import HeadConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import PoolError
from gem_assets.proxy.train import DivergedError, ProxyTrainer, one_thread, schedule, train_proxy
from tests.proxy.worlds import markov_world

CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16), training=TrainingConfig(tokens=4096, precision="fp32")
)


@pytest.fixture(scope="module")
def world():
    return markov_world()


def with_training(**changes):
    training = TrainingConfig(tokens=4096, precision="fp32").model_copy(update=changes)
    return CONFIG.model_copy(update={"training": training})


def test_a_proxy_learns_what_it_reads_most(world):
    pool, evaluation = world
    results = [train_proxy(pool, evaluation, p, CONFIG).losses[-1] for p in np.eye(3) * 0.88 + 0.04]
    assert (np.argmin(results, axis=0) == np.arange(3)).all()
    assert np.diag(results).max() < math.log(48) - 0.3


def test_the_same_arguments_give_the_same_bytes(world):
    pool, evaluation = world
    p = np.array([0.2, 0.3, 0.5])
    a, b, c = (train_proxy(pool, evaluation, p, CONFIG, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.losses, b.losses)
    assert a.logits == b.logits
    assert not np.array_equal(a.losses, c.losses)


def test_the_result_says_what_happened(world):
    pool, evaluation = world
    seen = []
    config = with_training(evaluate_at=(0.25, 1.0))
    result = train_proxy(
        pool, evaluation, np.array([0, 0.5, 0.5]), config, progress=lambda done, total: seen.append((done, total))
    )
    assert result.losses.shape == (2, 3)
    np.testing.assert_array_equal(result.tokens, [1024, 4096])
    assert result.train_loss[0] > result.train_loss[1]
    assert (result.losses[0] > result.losses[1])[1:].all()
    assert result.epochs[0] == 0
    assert result.epochs[1] == pytest.approx(2048 / pool.sizes[1], rel=0.02)
    assert seen[-1] == (128, 128)
    assert len(seen) <= 128
    assert result.seconds > 0
    assert abs(result.logits.mean) < 1e-6


def test_evaluation_is_the_mean_over_a_targets_tokens(world):
    pool, evaluation = world
    trainer = ProxyTrainer(CONFIG, pool.vocab)
    per_token = trainer.losses(evaluation.windows)
    assert per_token.shape == (len(evaluation.windows), 16)
    expected = [per_token[evaluation.target == j].mean() for j in range(3)]
    np.testing.assert_allclose(trainer.evaluate(evaluation), expected, rtol=1e-12)


def test_regularisers_are_not_part_of_the_evaluation(world):
    pool, evaluation = world
    plain = ProxyTrainer(CONFIG, pool.vocab).evaluate(evaluation)
    config = CONFIG.model_copy(update={"head": HeadConfig(z_loss=1.0, mu_loss=1.0)})
    np.testing.assert_array_equal(ProxyTrainer(config, pool.vocab).evaluate(evaluation), plain)


def random_windows(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 48, (2, 17)))


def test_the_average_follows_the_weights_without_their_start():
    trainer = ProxyTrainer(with_training(ema=0.5), 48, steps=8)
    trail = []
    for i in range(6):
        trainer.step(random_windows(i))
        trail.append(trainer.model.flat.clone())
    average = trail[0]
    for i, weights in enumerate(trail[1:], start=2):
        average = average + (weights - average) / min(i, 4)
    with trainer.weights(averaged=True):
        torch.testing.assert_close(trainer.model.flat, average, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trainer.model.flat, trail[-1], rtol=0, atol=0)


def test_the_weights_come_back_after_an_error():
    trainer = ProxyTrainer(CONFIG, 48, steps=8)
    trainer.step(random_windows())
    trainer.step(random_windows(1))
    before = trainer.model.flat.clone()
    with pytest.raises(RuntimeError), trainer.weights(averaged=True):
        raise RuntimeError
    torch.testing.assert_close(trainer.model.flat, before, rtol=0, atol=0)


def test_groups_train_at_their_own_rates():
    config = with_training(lr=1e-3, embedding_lr=4.0, weight_decay=0.0, warm_up=0.0, clip=1e9)
    trainer = ProxyTrainer(config, 48, steps=4)
    before = trainer.model.flat.clone()
    trainer.step(random_windows())
    moved = (trainer.model.flat - before).abs()
    # Adam's first step is the rate itself, wherever the gradient is more than epsilon
    assert moved[trainer.model.groups["matrices"]].max() == pytest.approx(1e-3, rel=0.02)
    embeddings = moved[trainer.model.groups["embeddings"]]
    assert embeddings[embeddings > 0].median() == pytest.approx(4e-3, rel=0.1)


def test_only_matrices_decay():
    moved = {}
    for decay in (0.0, 0.5):
        trainer = ProxyTrainer(with_training(weight_decay=decay, warm_up=0.0), 48, steps=4)
        trainer.step(random_windows())
        moved[decay] = trainer.model.flat.clone()
    groups = trainer.model.groups
    for group in ("gains", "embeddings"):
        torch.testing.assert_close(moved[0.0][groups[group]], moved[0.5][groups[group]], rtol=0, atol=0)
    assert not torch.equal(moved[0.0][groups["matrices"]], moved[0.5][groups["matrices"]])


def test_the_schedule_rises_holds_and_falls():
    training = TrainingConfig(warm_up=0.2, cool_down=0.4)
    rates = [schedule(training, step, 10) for step in range(10)]
    np.testing.assert_allclose(rates, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_weighted_tokens_count_by_their_weight():
    windows = random_windows()
    weights = torch.zeros(2, 16)
    weights[0] = 1 / 16
    losses = []
    for arguments in ((windows, weights), (windows[:1], None)):
        trainer = ProxyTrainer(CONFIG, 48, steps=4)
        losses.append((trainer.step(*arguments), trainer.model.flat.clone()))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    torch.testing.assert_close(losses[0][1], losses[1][1], rtol=1e-4, atol=1e-5)


def test_divergence_is_named(world):
    pool, evaluation = world
    with pytest.raises(DivergedError, match=r"training\.lr"):
        train_proxy(pool, evaluation, np.full(3, 1 / 3), with_training(lr=1e30, warm_up=0.0))


def test_what_does_not_fit_is_refused(world):
    pool, evaluation = world
    small = CONFIG.model_copy(update={"model": ModelConfig(width=16, layers=1, heads=2, context=8)})
    with pytest.raises(PoolError, match="context"):
        train_proxy(pool, evaluation, np.full(3, 1 / 3), small)
    other = type(pool).of([pool.domain(k) % 20 for k in range(3)], 20)
    with pytest.raises(PoolError, match="tokenizer"):
        train_proxy(other, evaluation, np.full(3, 1 / 3), CONFIG)


def test_threads_are_given_back():
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "training",
    [{"evaluate_at": (0.5,)}, {"evaluate_at": (0.0, 1.0)}, {"betas": (0.9, 1.0)}, {"warm_up": 0.7, "cool_down": 0.5}],
)
def test_settings_that_make_no_sense_are_refused(training):
    with pytest.raises(ValueError):
        TrainingConfig(**training)
