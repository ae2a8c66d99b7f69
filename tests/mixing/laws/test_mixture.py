from dataclasses import replace

import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.laws.mixture import learn_recipe
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.table import SwarmTable

K = 4
TOKENS = np.array([700_000, 200_000, 80_000, 20_000])
SUPPLY = ClusterSupply(np.arange(K), TOKENS // 500, TOKENS, TOKENS * 4)
SOME = ["log_exposure", "effective_exposure"]


def swarm_of(loss, n=48, noise=0.005, seed=0):
    rng = np.random.default_rng(seed)
    mixtures = rng.dirichlet(np.full(K, 0.8), n)
    losses = np.column_stack([loss(mixtures), loss(mixtures[:, ::-1])]) + noise * rng.normal(size=(n, 2))
    return SwarmTable(tuple(f"r{i}" for i in range(n)), tuple(map(str, range(K))), ("main", "side"), mixtures, losses)


def learn(swarm, **changes):
    arguments = {
        "candidates": SOME,
        "targets": {"main": 1.0},
        "splits": 12,
    } | changes
    supply, config = arguments.pop("supply", SUPPLY), arguments.pop("config", MixingConfig())
    return learn_recipe("learned", swarm, MixtureFrame(supply, {}, "t1", "bytes", config), **arguments)


def rewarding(p):
    """Clusters 1 and 2 are what the target needs, far above their natural share."""
    return 2 + (0.05 + p @ np.array([0.1, 1.0, 0.9, 0.0])) ** -0.5


def test_a_real_gain_is_supported_and_kept_within_caps():
    found = learn(swarm_of(rewarding))
    assert found.supported
    evidence = found.recipe.evidence
    assert evidence.cv_spearman > 0.9
    assert evidence.predicted_loss < evidence.predicted_loss_proportional
    assert evidence.predicted_loss < evidence.predicted_loss_uniform
    assert evidence.predicted_interval[0] <= evidence.predicted_interval[1]
    assert found.recipe.shares[2] > TOKENS[2] / TOKENS.sum()
    assert all(e.implied_epochs <= 4 + 1e-6 for e in found.recipe.entries)
    assert [p.kl_weight for p in found.path] == [0.0, 0.02, 0.05, 0.1]
    assert Recipe.model_validate_json(found.recipe.model_dump_json()) == found.recipe


def test_noise_is_not_sold_as_a_gain():
    found = learn(swarm_of(lambda p: np.full(len(p), 3.0), noise=0.1))
    assert not found.supported
    assert found.recipe.evidence.verdict.startswith("not supported")


def test_where_uniform_is_best_it_says_so():
    found = learn(
        swarm_of(lambda p: 3.0 - 0.1 * np.log(p + 0.01).sum(axis=1), noise=0.02), config=MixingConfig(repetition_cap=40)
    )
    assert not found.supported
    assert "the gain over uniform may be none" in found.recipe.evidence.verdict


def test_a_swarm_of_another_taxonomy_is_refused():
    swarm = replace(swarm_of(rewarding), domains=("0", "1", "2", "9"))
    with pytest.raises(ValueError, match="3, 9 stand in one only"):
        learn(swarm)


def test_domains_may_stand_in_any_order():
    swarm = swarm_of(rewarding)
    turned = replace(swarm, domains=swarm.domains[::-1], mixtures=swarm.mixtures[:, ::-1])
    assert np.allclose(learn(turned).recipe.shares, learn(swarm).recipe.shares)


def test_targets_are_weighed_and_unknown_ones_refused():
    swarm = swarm_of(rewarding)
    main = learn(swarm).recipe.shares
    both = learn(swarm, targets={"main": 1.0, "side": 1.0}).recipe.shares
    assert np.abs(main - both).max() > 0.02
    with pytest.raises(KeyError, match="there are main, side"):
        learn(swarm, targets={"other": 1.0})


def test_laws_without_gradient_are_searched():
    found = learn(swarm_of(rewarding, n=24), candidates=["gp"], splits=3)
    assert found.path == ()
    assert found.targets[0].name == "gp"
    assert found.recipe.evidence.predicted_loss < found.recipe.evidence.predicted_loss_proportional


def test_same_swarm_same_recipe_and_it_cites_the_swarm():
    swarm = swarm_of(rewarding)
    first, second = learn(swarm).recipe, learn(swarm).recipe
    assert first.identity == second.identity
    assert first.evidence.swarm_digest == swarm.identity
