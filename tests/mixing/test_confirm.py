import numpy as np
import pytest

from gem_assets.mixing.comparison import StageZero, compare_recipes
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.confirm import Confirmation, confirm
from gem_assets.mixing.heuristics import make_recipe
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.swarm import SwarmSpec
from gem_assets.report.mixture_pages import comparison_page
from tests.proxy.worlds import markov_world

ARMS = ("learned", "proportional", "uniform")
TOKENS = np.array([6000, 3000, 1000])
SUPPLY = ClusterSupply(np.arange(3), TOKENS // 100, TOKENS, TOKENS * 4)


def outcome(learned, proportional=(5.0, 5.1, 5.2), uniform=(5.1, 5.2, 5.3)):
    target = np.array([learned, proportional, uniform])
    return Confirmation(ARMS, (0, 1, 2), target, target - 1)


def test_confirmed_is_what_beats_both_in_every_seed():
    found = outcome((4.9, 5.05, 5.0))
    assert found.wins("learned") == 3
    assert found.confirmed("learned")
    assert found.verdict("learned").startswith("confirmed")
    assert len(found.rows()) == 9
    assert found.rows()[1]["against_uniform"] == pytest.approx(-0.15)


def test_one_lost_seed_is_enough_to_recommend_proportional():
    found = outcome((4.9, 5.2, 5.0))
    assert found.wins("learned") == 2
    assert not found.confirmed("learned")
    assert "2 of 3" in found.verdict("learned")
    assert found.verdict("learned").endswith("use proportional")


def test_better_than_proportional_and_not_than_uniform_says_so():
    found = outcome((4.9, 5.0, 5.1), uniform=(4.8, 4.9, 5.0))
    assert found.wins("learned") == 0
    assert found.verdict("learned").endswith("use uniform")


def test_baselines_are_never_confirmed():
    assert not outcome((6.0, 6.0, 6.0)).confirmed("uniform")
    assert not outcome((6.0, 6.0, 6.0)).confirmed("proportional")


def learned_recipe():
    evidence = RecipeEvidence(
        method="learned",
        law="<script>",
        n_runs=40,
        cv_spearman=0.8,
        predicted_loss=4.9,
        predicted_interval=(4.8, 5.0),
        predicted_loss_proportional=5.0,
        kl_to_prior=0.1,
        verdict="supported by the proxies",
    )
    return Recipe.create(
        "learned",
        [0.5, 0.3, 0.2],
        SUPPLY,
        names={0: "Law", 1: "News", 2: "Code"},
        taxonomy_version="t1",
        tokenizer="bytes",
        repetition_cap=4.0,
        evidence=evidence,
    )


def baseline(version="t1"):
    return make_recipe("proportional", SUPPLY, {}, version, MixingConfig(), "bytes")


def test_only_a_confirmed_recipe_is_recommended():
    recipes = [baseline(), learned_recipe()]
    assert compare_recipes(recipes, {}).recommended == "proportional"
    lost = compare_recipes(recipes, {"learned": outcome((4.9, 5.2, 5.0))})
    assert lost.recommended == "proportional"
    assert "learned tried" in lost.reason
    won = compare_recipes(recipes, {"learned": outcome((4.9, 5.05, 5.0))})
    assert won.recommended == "learned"
    row = won.rows[1]
    assert row["predicted_gain"] == pytest.approx(-0.1)
    assert row["measured_gain"] == pytest.approx(-0.35 / 3)
    assert (row["wins"], row["seeds"]) == (3, 3)
    assert row["verdict"].startswith("confirmed")


def test_the_lexical_recipe_is_judged_by_the_swarm_where_there_is_one():
    evidence = RecipeEvidence(method="lexical (lexical proxy)", verdict="lexical proxy: better")
    lexical = Recipe.create(
        "lexical", np.array([0.5, 0.3, 0.2]), SUPPLY, names={}, taxonomy_version="t1", tokenizer="bytes",
        repetition_cap=4.0, evidence=evidence,
    )  # fmt: skip
    without = compare_recipes([baseline(), lexical], {}).rows
    assert without[1]["cv_spearman"] is None
    assert "gem swarm run" in without[1]["verdict"]
    judged = compare_recipes([baseline(), lexical], {}, StageZero(0.954, 36)).rows
    assert judged[1]["cv_spearman"] == 0.954
    assert "ranks 36 trained mixtures" in judged[1]["verdict"]
    assert judged[0]["cv_spearman"] is None


def test_recipes_of_two_taxonomies_do_not_stand_side_by_side():
    with pytest.raises(ValueError, match="different taxonomies"):
        compare_recipes([baseline(), baseline("t2")], {})
    with pytest.raises(ValueError, match="no recipe yet"):
        compare_recipes([], {})


def test_the_page_is_self_contained_and_escaped():
    recipes = [baseline(), learned_recipe()]
    text = comparison_page(compare_recipes(recipes, {"learned": outcome((4.9, 5.05, 5.0))}), recipes)
    assert "<b>Use learned</b>" in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "http" not in text.split("</style>")[1]
    assert text.count("data:image/png;base64,") == 2


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    pool, evaluation = markov_world(domains=3, tokens=3000)
    pool.save(folder)
    evaluation.save(folder)
    config = ProxyConfig(
        model=ModelConfig(width=16, layers=1, heads=2, context=16),
        training=TrainingConfig(tokens=4096, batch=4, lr=1e-2, evaluate_at=(1.0,), precision="fp32"),
    )
    return SwarmSpec(config, folder, "t1", ("0", "1", "2"))


def test_a_mixture_of_the_target_wins_and_pays_elsewhere(world, tmp_path):
    arms = {
        "learned": np.array([0.02, 0.03, 0.95]),
        "proportional": np.array([0.6, 0.3, 0.1]),
        "uniform": np.full(3, 1 / 3),
    }
    found = confirm(arms, (1, 2), world, tmp_path, {"domain-2": 1.0})
    assert found.target.shape == (3, 2)
    assert found.wins("learned") == 2
    assert found.in_domain[0].mean() > found.in_domain[2].mean()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    again = confirm(arms, (1, 2), world, tmp_path, {"domain-2": 1.0})
    assert np.array_equal(again.target, found.target)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")} == before


def test_arms_that_are_the_same_mixture_share_their_models(world, tmp_path):
    same = np.full(3, 1 / 3)
    found = confirm({"learned": same, "proportional": same, "uniform": same}, (1,), world, tmp_path, {"domain-0": 1.0})
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert found.wins("learned") == 0


def test_a_missing_rival_is_named(world, tmp_path):
    with pytest.raises(ValueError, match="uniform"):
        confirm({"proportional": np.full(3, 1 / 3)}, (1,), world, tmp_path, {"domain-0": 1.0})
