import json

import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.method_data import MethodData
from gem_assets.mixing.methods.registry import methods
from gem_assets.mixing.online.single_run import SingleRun
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import PoolError, TokenPool
from tests.proxy.worlds import markov_world

TOKENS = np.array([5000, 3000, 4000, 500])
CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
    training=TrainingConfig(tokens=64 * 64, batch=4, precision="fp32"),
)
AIM = "domain-2"
RUNS = {name: method.make for name, method in methods().items() if isinstance(method.make, SingleRun)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three clusters with text, and one that had none when the tokens were prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    pool, evaluation = markov_world()
    streams = [pool.domain(k) for k in range(3)]
    TokenPool.of([*streams, np.zeros(0, np.uint16)], pool.vocab).save(folder)
    evaluation.save(folder)
    return folder


def frame(tokens=TOKENS, **changes):
    supply = ClusterSupply(np.arange(len(tokens)), np.maximum(tokens // 100, 1), tokens, tokens * 4)
    names = {k: f"cluster {k}" for k in range(len(tokens))}
    return MixtureFrame(supply, names, "v1", "bytes", MixingConfig(**changes))


@pytest.mark.parametrize("strategy", RUNS)
def test_every_method_makes_a_recipe_within_the_caps(prepared, tmp_path, strategy):
    recipe = RUNS[strategy].publish(prepared, {AIM: 1.0}, frame(repetition_cap=2.0), CONFIG, tmp_path)
    assert Recipe.read(tmp_path / "recipe.json") == recipe
    assert recipe.shares[3] == 0
    if strategy in ("doge", "dga", "tikmix", "tikmix_m", "mixmin", "merging"):
        assert np.argmax(recipe.shares) == 2
    assert max(e.implied_epochs for e in recipe.entries) <= 2.0 + 1e-6
    evidence = recipe.evidence
    assert evidence is not None
    assert evidence.verdict is not None
    assert evidence.verdict.startswith("not judged")
    assert evidence.target == (None if strategy == "doremi" else AIM)
    tables = json.loads((tmp_path / "evidence.json").read_text())
    assert set(tables) == ({"models"} if strategy in ("mixmin", "merging") else {"trajectory", "costs"})
    assert (tmp_path / "mixture.png").stat().st_size > 1000


def test_a_cluster_whose_text_has_gone_gets_nothing(prepared, tmp_path):
    gone = frame(np.array([5000, 0, 4000, 500]))
    recipe = RUNS["dga"].publish(prepared, {AIM: 1.0}, gone, CONFIG, tmp_path)
    assert recipe.shares[1] == 0


def test_merging_predicts_its_answer_best_and_says_how_little_that_is_worth(prepared, tmp_path):
    recipe = RUNS["merging"].publish(prepared, {AIM: 1.0}, frame(repetition_cap=50), CONFIG, tmp_path)
    evidence = recipe.evidence
    assert evidence.predicted_loss < min(evidence.predicted_loss_proportional, evidence.predicted_loss_uniform)
    assert ".41" in evidence.verdict
    models = json.loads((tmp_path / "evidence.json").read_text())["models"]
    assert min(models, key=lambda row: row["loss_of_its_model"])["cluster"] == 2


def test_periods_fit_short_runs(prepared):
    short = CONFIG.model_copy(update={"training": TrainingConfig(tokens=8 * 64, batch=4, precision="fp32")})
    data = MethodData.load(prepared, {AIM: 1.0}, 16)
    assert data.active.tolist() == [0, 1, 2]
    for name in ("aioli", "skillit", "doge", "dga", "tikmix", "tikmix_m"):
        assert RUNS[name].hook(data, np.full(3, 1 / 3), short).mixture == pytest.approx(np.full(3, 1 / 3))


def test_what_does_not_fit_is_refused(prepared, tmp_path):
    with pytest.raises(PoolError, match="of 3 clusters, the inventory of fewer"):
        RUNS["dga"].publish(prepared, {AIM: 1.0}, frame(TOKENS[:2]), CONFIG, tmp_path)
    empty = frame(np.array([0, 0, 0, 500]))
    with pytest.raises(PoolError, match="has text left"):
        RUNS["dga"].publish(prepared, {AIM: 1.0}, empty, CONFIG, tmp_path)
    with pytest.raises(PoolError, match="0 clusters hold a window"):
        MethodData.load(prepared, {AIM: 1.0}, 10_000)
