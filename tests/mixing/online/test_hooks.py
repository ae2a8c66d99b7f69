"""Each online method on worlds whose answer is known: one target domain, or one domain of noise."""

import numpy as np
import pytest

from gem_assets.mixing.methods.aioli import AioliHook
from gem_assets.mixing.methods.doge import DGAHook, DoGEHook
from gem_assets.mixing.methods.doremi import DoReMiHook
from gem_assets.mixing.methods.skillit import SkillItHook
from gem_assets.mixing.methods.tikmix import TiKMiXHook
from gem_assets.mixing.online.trainer import train_online, train_reference
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from tests.proxy.worlds import markov_world

NOISE = 1


def config(steps, batch=4):
    return ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16),
        training=TrainingConfig(tokens=steps * batch * 16, batch=batch, precision="fp32"),
    )


@pytest.fixture(scope="module")
def world():
    return markov_world()


@pytest.fixture(scope="module")
def noisy(world):
    """The middle domain is drawn evenly from the vocabulary and is not among the targets."""
    pool, evaluation = world
    noise = np.random.default_rng(0).integers(0, pool.vocab, 5000).astype(np.uint16)
    kept = evaluation.target != NOISE
    targets = EvaluationSet(
        ("first", "last"),
        evaluation.windows[kept],
        (evaluation.target[kept] > 0).astype(np.int64),
        np.full(2, 100),
        np.ones(2, bool),
    )
    return TokenPool.of([pool.domain(0), noise, pool.domain(2)], pool.vocab), targets


@pytest.mark.parametrize(
    "make",
    [
        lambda t: DoGEHook(3, every=5, windows=2, targets=t),
        lambda t: DGAHook(3, every=5, windows=2, targets=t),
        lambda t: TiKMiXHook(3, stage_steps=20, windows=6, targets=t),
    ],
    ids=["doge", "dga", "tikmix"],
)
@pytest.mark.parametrize("target", [0, 2])
def test_gradients_lead_to_the_targets_own_domain(world, make, target):
    pool, evaluation = world
    result = train_online(pool, evaluation, make(np.eye(3)[target]), config(80))
    assert np.argmax(result.mixture) == target
    assert result.mixture[target] > 0.45
    assert result.mixture.sum() == pytest.approx(1)
    assert result.costs.gradients > 0
    assert np.allclose(result.trajectory[0], 1 / 3)


def test_doremi_leaves_what_has_no_excess(world):
    # one token over and over: proxy and reference soon both know it. (Noise would not do: the excess of single tokens
    # is clipped at 0, so two models that are equally bad have an excess on average.)
    pool, evaluation = world
    known = TokenPool.of([pool.domain(0), np.full(5000, 7, np.uint16), pool.domain(2)], pool.vocab)
    even = np.full(3, 1 / 3)
    reference = train_reference(known, even, config(200), seed=1)
    result = train_online(known, evaluation, DoReMiHook(reference, even, eta=0.3), config(120))
    assert np.argmin(result.mixture) == 1
    assert result.mixture[1] < 0.22
    assert np.allclose(result.mixture, result.trajectory[-1])
    assert result.costs.forwards == 240
    assert result.visits.max() - result.visits.min() <= 1


def test_aioli_measures_that_noise_helps_no_target(noisy):
    pool, targets = noisy
    hook = AioliHook(3, round_steps=40, sweeps=1, play_steps=6, eta=3.0)
    result = train_online(pool, targets, hook, config(100))
    assert np.argmin(result.mixture) == NOISE
    assert result.mixture[NOISE] < 0.28
    # rounds at 0, 40 and 80 each play three mixtures for six steps
    assert result.costs.probe_steps == 54
    assert result.tokens == 100 * 64
    assert result.trajectory.shape == (46, 3)


def test_skill_it_learns_the_graph_in_branches(noisy):
    pool, targets = noisy
    hook = SkillItHook(3, graph_steps=15, every=20, eta=2.0)
    result = train_online(pool, targets, hook, config(60))
    assert hook.rule is not None
    graph = hook.rule.graph
    assert graph.shape == (3, 2)
    assert np.argmax(graph[:, 0]) == 0
    assert np.argmax(graph[:, 1]) == 2
    assert np.argmin(result.mixture) == NOISE
    assert result.costs.branch_steps == 45
    assert result.costs.probe_steps == 0
    assert result.tokens == 60 * 64


def test_skill_it_takes_a_known_graph(world):
    pool, evaluation = world
    result = train_online(pool, evaluation, SkillItHook(3, graph=np.diag([0.0, 0.0, 1.0]), eta=2.0), config(10))
    assert result.costs.branch_steps == 0
    assert np.argmax(result.mixture) == 2


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="is used up by"):
        AioliHook(3, round_steps=60, sweeps=2, play_steps=10)
    with pytest.raises(ValueError, match="graph_steps"):
        SkillItHook(3, graph_steps=0)
    with pytest.raises(ValueError, match="every"):
        DoGEHook(3, every=0)
    with pytest.raises(ValueError, match="stage_steps"):
        TiKMiXHook(3, stage_steps=0)
