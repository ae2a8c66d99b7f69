import numpy as np
import pytest
import torch

from gem_assets.proxy.batched import BatchedDecoders, check_converged, train_batch
from gem_assets.proxy.config import HeadConfig, ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.model import TinyDecoder, resolve_precision
from gem_assets.proxy.train import DivergedError, ProxyTrainer, train_proxy
from tests.proxy.worlds import markov_world

CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=2, heads=2, context=16),
    training=TrainingConfig(tokens=1536, precision="fp32", cool_down=0.2),
)
MIXTURES = np.array([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1], [1 / 3, 1 / 3, 1 / 3]])


@pytest.fixture(scope="module")
def world():
    return markov_world()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("head", [HeadConfig(), HeadConfig(z_loss=0.01, mu_loss=0.1, soft_cap=5.0)])
def test_one_step_is_that_of_the_single_model(world, tied, head):
    pool, _ = world
    config = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"tied": tied}), "head": head})
    windows = torch.from_numpy(np.random.default_rng(0).integers(0, pool.vocab, (2, 3, 17)))
    batched = BatchedDecoders(config, pool.vocab, [0, 5], dtype=torch.float64)
    losses, rows = batched.losses(windows)
    gradient = batched.gradient(losses)
    for m, seed in enumerate((0, 5)):
        single = TinyDecoder(config.model, pool.vocab, seed=seed, dtype=torch.float64)
        loss, row = single.loss_and_gradient(windows[m], head)
        assert losses[m].item() == pytest.approx(loss.item(), rel=1e-12)
        torch.testing.assert_close(rows[m], row, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(gradient[m], single.flat_grad, rtol=1e-9, atol=1e-13)


def test_a_batch_measures_what_single_proxies_measure(world):
    pool, evaluation = world
    seeds = [0, 0, 3]
    together = train_batch(pool, evaluation, MIXTURES, seeds, CONFIG)
    for shares, seed, found in zip(MIXTURES, seeds, together, strict=True):
        alone = train_proxy(pool, evaluation, shares, CONFIG, seed=seed)
        np.testing.assert_allclose(found.losses, alone.losses, atol=2e-3)
        np.testing.assert_allclose(found.train_loss, alone.train_loss, atol=2e-3)
        np.testing.assert_array_equal(found.tokens, alone.tokens)
        np.testing.assert_array_equal(found.epochs, alone.epochs)
        assert found.logits.max_abs == pytest.approx(alone.logits.max_abs, rel=0.02)
        assert abs(found.logits.mean) < 1e-5


def test_the_batch_is_exact_in_float64(world):
    pool, evaluation = world
    together = train_batch(pool, evaluation, MIXTURES[:2], [0, 0], CONFIG, dtype=torch.float64)
    from gem_assets.proxy.stream import MixtureStream

    for shares, found in zip(MIXTURES[:2], together, strict=True):
        trainer = ProxyTrainer(CONFIG, pool.vocab, seed=0, dtype=torch.float64)
        stream = MixtureStream(pool, shares, CONFIG.steps * 2, 16, 0)
        for i in range(CONFIG.steps):
            trainer.step(torch.from_numpy(stream.windows(2 * i, 2 * i + 2)))
        np.testing.assert_allclose(found.losses[-1], trainer.evaluate(evaluation), rtol=1e-9)


def test_one_that_diverges_leaves_the_others_alone(world):
    pool, evaluation = world
    with_nan = BatchedDecoders(CONFIG, pool.vocab, [0, 0])
    with torch.no_grad():
        with_nan.flat[0] = torch.nan
    windows = torch.from_numpy(np.random.default_rng(0).integers(0, pool.vocab, (2, 2, 17)))
    losses, _ = with_nan.losses(windows)
    gradient = with_nan.gradient(losses)
    assert not torch.isfinite(losses[0])
    assert torch.isfinite(losses[1])
    assert torch.isfinite(gradient[1]).all()
    training = CONFIG.training.model_copy(update={"lr": 1e30, "warm_up": 0.0})
    config = CONFIG.model_copy(update={"training": training})
    (result,) = train_batch(pool, evaluation, MIXTURES[:1], [0], config)
    with pytest.raises(DivergedError, match=r"training\.lr"):
        check_converged(result, config)


def test_precision_without_a_gpu():
    assert resolve_precision("auto", "cuda") in ("fp32", "bf16")
    assert resolve_precision("bf16", "cuda") == "bf16"
