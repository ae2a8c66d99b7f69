import json

import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig, SearchConfig
from gem_assets.mixing.methods.bayes import publish_bayes_recipe
from gem_assets.mixing.methods.multi_fidelity import publish_fidelity_recipe, training_cost
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.search.candidates import candidate_mixtures
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.mixing.swarm.samplers import sample_regmix
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.proxy.config import ProxyConfig

TOKENS = np.array([4000, 3000, 2000, 1000])
PRIOR = TOKENS / TOKENS.sum()
BEST = np.array([0.15, 0.15, 0.3, 0.4])
TARGETS = ("news", "law", "0")


def losses(mixtures, level=0.0):
    """Nats with a known optimum for the two wanted targets, and one of a cluster that nobody asks for."""
    fall = ((mixtures - BEST) ** 2).sum(axis=1)
    return np.column_stack([3 - level + 2 * fall, 4 - level + 2 * fall, 5 - mixtures[:, 0]])


def swarm(count=20):
    mixtures = np.vstack([PRIOR, np.full(4, 0.25), sample_regmix(PRIOR, count - 2, seed=0)])
    runs = tuple(f"run-{i}" for i in range(count))
    table = SwarmTable(runs, tuple("0123"), TARGETS, mixtures, losses(mixtures))
    return TrainedSwarm(table, runs, ("0",), ("news", "law"))


def frame(**changes):
    supply = ClusterSupply(np.arange(4), TOKENS // 10, TOKENS, TOKENS * 4)
    names = {k: f"cluster {k}" for k in range(4)}
    return MixtureFrame(supply, names, "v1", "bytes", MixingConfig(**({"repetition_cap": 5.0} | changes)))


class Trainer:
    """Counts what it is asked to train."""

    def __init__(self, level=0.0):
        self.level, self.asked = level, []

    def __call__(self, mixtures, label):
        self.asked += [(label, tuple(row)) for row in mixtures]
        return losses(mixtures, self.level)


def excess(shares):
    return float(((shares - BEST) ** 2).sum())


def test_bayes_ends_nearer_the_optimum_than_the_swarm(tmp_path):
    train = Trainer()
    recipe = publish_bayes_recipe(swarm(), train, frame(search=SearchConfig(proxies=6)), tmp_path)
    assert len(train.asked) == 6
    known = swarm().table.mixtures
    assert excess(recipe.shares) < 0.3 * min(excess(row) for row in known)
    evidence = recipe.evidence
    assert evidence.n_runs == 26
    assert evidence.cv_spearman > 0.9
    assert evidence.verdict.startswith("supported")
    assert evidence.target == "news, law"
    assert evidence.predicted_loss == pytest.approx(3.5 + 2 * excess(recipe.shares), abs=0.02)
    assert evidence.predicted_loss < evidence.predicted_loss_proportional
    runs = json.loads((tmp_path / "evidence.json").read_text())["runs"]
    assert [row["run"] for row in runs] == [1, 2, 3, 4, 5, 6]
    assert min(row["loss"] for row in runs) < (losses(known)[:, :2].mean(axis=1)).min()


def test_a_search_that_is_run_again_asks_for_the_same(tmp_path):
    asked = []
    for _ in range(2):
        train = Trainer()
        publish_bayes_recipe(swarm(), train, frame(search=SearchConfig(proxies=3)), tmp_path)
        asked.append(train.asked)
    assert asked[0] == asked[1]


def test_what_is_tried_and_found_keeps_the_caps(tmp_path):
    train = Trainer()
    held = frame(repetition_cap=2.0, search=SearchConfig(proxies=4))
    recipe = publish_bayes_recipe(swarm(), train, held, tmp_path)
    assert all((np.array(row) <= held.caps + 1e-9).all() for _, row in train.asked)
    # the optimum lies beyond the cap of the last cluster
    assert recipe.shares[3] == pytest.approx(0.2, abs=0.02)


def test_two_sizes_stay_within_the_budget_and_predict_the_larger(tmp_path):
    small, large = Trainer(), Trainer(level=0.5)
    held = frame(search=SearchConfig(larger_models=6, candidates=100))
    recipe = publish_fidelity_recipe(swarm(), small, large, 0.1, held, tmp_path)
    assert 0.1 * len(small.asked) + len(large.asked) <= 6 + 1e-9
    assert [label for label, _ in large.asked[:2]] == ["multi_fidelity-rivals"] * 2
    assert len(large.asked) > 2
    assert excess(recipe.shares) < 0.3 * excess(PRIOR)
    evidence = recipe.evidence
    # the small models' level is 3.5 at best, that of the larger ones 3.0
    assert evidence.predicted_loss == pytest.approx(3.0 + 2 * excess(recipe.shares), abs=0.1)
    assert evidence.n_runs == 20 + len(small.asked) + len(large.asked)
    assert any("counts as 0.100" in note for note in evidence.notes)
    rows = json.loads((tmp_path / "evidence.json").read_text())["runs"]
    assert {row["size"] for row in rows} <= {"proxy", "larger"}


def test_botorch_is_asked_for_by_name(tmp_path):
    pytest.importorskip("sklearn")
    try:
        import botorch  # noqa: F401
    except ImportError:
        held = frame(search=SearchConfig(surrogate="botorch", candidates=8))
        with pytest.raises(ImportError, match=r"gem-assets\[botorch\]"):
            publish_fidelity_recipe(swarm(), Trainer(), Trainer(), 0.1, held, tmp_path)
    else:
        pytest.skip("botorch is installed")


def test_too_few_runs_are_no_start(tmp_path):
    with pytest.raises(ValueError, match="the swarm has 7 runs, a search needs 8"):
        publish_bayes_recipe(swarm(7), Trainer(), frame(), tmp_path)


def test_candidates_are_mixtures_near_what_was_good():
    near = candidate_mixtures(np.array([BEST]), frame(), 40)
    assert near.shape == (40, 4)
    assert near.sum(axis=1) == pytest.approx(np.ones(40))
    assert np.abs(near[20:] - BEST).sum(axis=1).mean() < np.abs(near[:20] - BEST).sum(axis=1).mean()


def test_cost_counts_what_every_token_meets():
    config = ProxyConfig()
    cost = training_cost(config, 2048)
    assert cost == config.training.tokens * (config.model.non_embedding + 96 * 2048)
    assert training_cost(config.at_next_size(), 2048) > 5 * cost
