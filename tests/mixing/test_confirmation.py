import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.cli.console import on_file
from gem_assets.cli.mixture_tables import print_recipes
from gem_assets.mixing.comparison import StageZero, compare_recipes
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.confirmation import Confirmation, confirm
from gem_assets.mixing.methods.rules import make_recipe
from gem_assets.mixing.pages import comparison_page
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.swarm import SwarmSpec
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
    assert found.verdict("learned").startswith("confirmed: better than proportional in 3 of 3 seeds, than uniform in 3")
    assert len(found.rows()) == 9
    assert found.rows()[1]["against_uniform"] == pytest.approx(-0.15)


def test_one_lost_seed_is_enough_not_to_be_confirmed():
    found = outcome((4.9, 5.2, 5.0))
    assert found.wins("learned") == 2
    assert not found.confirmed("learned")
    assert "in 2 of 3 seeds, than uniform in 2, than both in 2" in found.verdict("learned")


def test_better_than_proportional_and_not_than_uniform_says_so():
    found = outcome((4.9, 5.0, 5.1), uniform=(4.8, 4.9, 5.0))
    assert found.wins("learned") == 0
    assert "in 3 of 3 seeds, than uniform in 0, than both in 0" in found.verdict("learned")
    decided = compare_recipes([baseline(), baseline(strategy="uniform"), learned_recipe()], {"learned": found})
    assert decided.recommended == "uniform"
    assert "0.2000 nats better than proportional in all 3 seeds" in decided.reason


def test_baselines_are_never_confirmed():
    assert not outcome((6.0, 6.0, 6.0)).confirmed("uniform")
    assert not outcome((6.0, 6.0, 6.0)).confirmed("proportional")


def learned_recipe(strategy="learned"):
    evidence = RecipeEvidence(
        method="learned",
        law="<script>",
        n_runs=40,
        cv_spearman=0.8,
        predicted_loss=4.9,
        predicted_interval=(4.8, 5.0),
        predicted_loss_proportional=5.0,
        predicted_gain_interval=(-0.17, -0.03),
        kl_to_prior=0.1,
        verdict="supported by the proxies",
    )
    return Recipe.create(
        strategy,
        [0.5, 0.3, 0.2],
        SUPPLY,
        names={0: "Law", 1: "News", 2: "Code"},
        taxonomy_version="t1",
        tokenizer="bytes",
        repetition_cap=4.0,
        evidence=evidence,
    )


def baseline(version="t1", strategy="proportional"):
    return make_recipe(strategy, SUPPLY, {}, version, MixingConfig(), "bytes")


def test_only_a_confirmed_recipe_is_recommended():
    recipes = [baseline(), learned_recipe()]
    assert compare_recipes(recipes, {}).recommended == "proportional"
    lost = compare_recipes(recipes, {"learned": outcome((4.9, 5.2, 5.0))})
    assert lost.recommended == "proportional"
    assert "(learned)" in lost.reason
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


losses = st.floats(3.0, 6.0)


@st.composite
def outcomes(draw):
    """Confirmations of up to three recipes; the baselines of a seed are the same models in all of them."""
    seeds = draw(st.integers(1, 3))
    rivals = np.array(draw(st.lists(st.lists(losses, min_size=seeds, max_size=seeds), min_size=2, max_size=2)))
    inside = draw(st.sampled_from([4.0, math.nan]))
    found = {}
    for name in draw(st.sets(st.sampled_from(["learned", "regmix", "lexical"]))):
        own = draw(
            st.lists(losses, min_size=seeds, max_size=seeds)
            | st.sampled_from(rivals.tolist())
            | st.floats(-0.1, 0.1).map(lambda by: (rivals.min(axis=0) + by).tolist())
        )
        target = np.array([own, *rivals])
        found[name] = Confirmation((name, *ARMS[1:]), tuple(range(seeds)), target, np.full_like(target, inside))
    return found


@given(outcomes())
def test_every_surface_gives_the_one_answer(found):
    recipes = [baseline(), baseline(strategy="uniform"), *(learned_recipe(name) for name in found)]
    comparison = compare_recipes(recipes, found)
    rows = {row["recipe"]: row for row in comparison.rows}
    assert [name for name, row in rows.items() if row["recommended"]] == [comparison.recommended]
    # only the decision says what to use
    assert not any("use " in (row["verdict"] or "").lower() for row in rows.values())
    for name in (*found, *(ARMS[1:] if found else ())):
        row = rows[name]
        assert row["measured_gain"] is not None
        low, high = row["measured_gain_interval"]
        assert low - 1e-9 <= row["measured_gain"] <= high + 1e-9
        assert f"{row['over_proportional']} of {row['seeds']} seeds" in row["verdict"] or name == "proportional"
    if found:
        assert rows["proportional"]["measured_gain"] == 0
    won = [name for name, one in found.items() if one.confirmed(name)]
    assert all(rows[name]["verdict"].startswith("confirmed") is (name in won) for name in found)
    if won:
        assert comparison.recommended in won
        assert rows[comparison.recommended]["measured_gain"] == min(rows[name]["measured_gain"] for name in won)
    elif found and rows["uniform"]["over_proportional"] == rows["uniform"]["seeds"]:
        assert comparison.recommended == "uniform"
    else:
        assert comparison.recommended == "proportional"
    told = io.StringIO()
    out = on_file(told)
    out.width = 400
    print_recipes(comparison, out)
    assert f"Use {comparison.recommended}: {comparison.reason}." in told.getvalue()
    assert told.getvalue().count("Use ") == 1


def test_recipes_of_two_taxonomies_do_not_stand_side_by_side():
    with pytest.raises(ValueError, match="different taxonomies"):
        compare_recipes([baseline(), baseline("t2")], {})
    with pytest.raises(ValueError, match="no recipe yet"):
        compare_recipes([], {})


def test_the_page_is_self_contained_and_escaped():
    recipes = [baseline(), learned_recipe()]
    text = comparison_page(compare_recipes(recipes, {"learned": outcome((4.9, 5.05, 5.0))}), recipes)
    assert "<b>Use learned</b>" in text
    assert "-0.1700 … -0.0300" in text
    assert "4.8000 … 5.0000" not in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "http" not in text.split("</style>")[1]
    assert text.count("data:image/png;base64,") == 2


def test_the_page_names_a_baseline_where_it_is_the_answer():
    recipes = [baseline(), baseline(strategy="uniform"), learned_recipe()]
    found = outcome((4.9, 5.0, 5.1), uniform=(4.8, 4.9, 5.0))
    text = comparison_page(compare_recipes(recipes, {"learned": found}), recipes)
    assert "<b>Use uniform</b>" in text
    assert "<b>uniform</b>" in text
    assert "use proportional" not in text


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
