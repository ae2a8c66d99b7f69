import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.evidence import swarm_objective
from gem_assets.mixing.methods.climb import ClimbRound, climb, publish_climb_recipe
from gem_assets.mixing.methods.entropy import publish_entropy_recipe
from gem_assets.mixing.methods.lexical import publish_lexical_recipe
from gem_assets.mixing.methods.swarm_laws import publish_law_recipe
from gem_assets.mixing.pages import swarm_page
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.recipe_artifact import LAW_PICTURE, MixtureFrame, describe_evidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.growth import (
    SWARM_NAME,
    describe_swarm,
    drawn_mixtures,
    evaluate_round,
    grown_design,
    matched_repetition,
    merge_counts,
    publish_swarm,
    read_trained,
    swarm_spec,
    train_design,
    wanted_targets,
)
from gem_assets.mixing.swarm.runs import trained_swarm
from gem_assets.mixing.swarm.table import SwarmError
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.repetition import Repetition
from gem_assets.proxy.swarm import SwarmFolderError, read_swarm
from tests.mixing.laws.test_ngram import lexical_world
from tests.proxy.worlds import markov_world

TOKENS = np.array([6000, 3000, 1000])
SUPPLY = ClusterSupply(np.arange(3), TOKENS // 100, TOKENS, TOKENS * 4)
CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
    training=TrainingConfig(tokens=1024, batch=4, lr=1e-2, evaluate_at=(1.0,), precision="fp32"),
    mixtures=16,
    repeats=1,
    device="cpu",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pool and windows, counts, the n-gram model, and a trained swarm in its folder."""
    data, rows = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("rows")
    pool, evaluation = markov_world(domains=3, tokens=2000)
    pool.save(data)
    evaluation.save(data)
    _, counts, lexical = lexical_world()
    drawn, _ = drawn_mixtures(rows, "t1", SUPPLY, CONFIG)
    design = grown_design(drawn, SUPPLY, MixingConfig(), np.array([0.5, 0.2, 0.3]), pool)
    found = train_design(design, swarm_spec(CONFIG, data, "t1", 3), rows)
    return data, rows, counts, lexical, design, found


@pytest.fixture
def published(world, tmp_path):
    *_, lexical, _, found = world
    publish_swarm(found, lexical, {0: "Law", 1: "News", 2: "Code"}, tmp_path)
    return tmp_path


def frame():
    return MixtureFrame(SUPPLY, {0: "Law"}, "t1", "bytes", MixingConfig())


def test_a_swarm_holds_the_fixed_mixtures_and_repeats(world):
    *_, design, found = world
    assert design.labels[:4] == ("uniform", "proportional", "unimax", "lexical")
    assert len(design.labels) == 16
    assert len(found) == 18  # one more seed of uniform and proportional
    swarm = trained_swarm(found)
    assert len(swarm.table.runs) == 16
    assert sorted(swarm.labels) == sorted(design.labels)
    assert swarm.wanted == {"domain-0": 1.0, "domain-1": 1.0, "domain-2": 1.0}


def test_a_new_inventory_trains_the_fixed_mixtures_only(world):
    data, rows, *_ = world
    more = ClusterSupply(np.arange(3), TOKENS // 100, TOKENS + np.array([0, 0, 4000]), TOKENS * 4)
    drawn, digest = drawn_mixtures(rows, "t1", more, CONFIG)
    assert digest == drawn_mixtures(rows, "t1", SUPPLY, CONFIG)[1]
    design = grown_design(drawn, more, MixingConfig(), np.array([0.5, 0.2, 0.3]), TokenPool.load(data))
    before = len(list(rows.glob("*.parquet")))
    train_design(design, swarm_spec(CONFIG, data, "t1", 3), rows)
    # proportional with its second seed and unimax moved; uniform and the optimum did not
    assert len(list(rows.glob("*.parquet"))) - before <= 3


def test_the_run_that_a_swarm_stands_for_is_kept_until_the_budget_is_another_one(tmp_path):
    mixing = MixingConfig()
    first = matched_repetition(tmp_path, "t1", SUPPLY, CONFIG, mixing)
    assert (first.budget, first.tokens) == (SUPPLY.total_tokens, tuple(SUPPLY.tokens))
    more = ClusterSupply(np.arange(3), TOKENS // 100, TOKENS * 2, TOKENS * 4)
    assert matched_repetition(tmp_path, "t1", more, CONFIG, mixing) == first
    larger = mixing.model_copy(update={"token_budget": 10**9})
    assert matched_repetition(tmp_path, "t1", more, CONFIG, larger).budget == 10**9
    assert matched_repetition(tmp_path, "t2", more, CONFIG, mixing).tokens == tuple(more.tokens)
    assert matched_repetition(tmp_path, "t1", SUPPLY, CONFIG.model_copy(update={"repetition": "off"}), mixing) is None
    for kept in tmp_path.glob("repetition-*.json"):
        kept.write_text("{")
    with pytest.raises(SwarmFolderError, match="remove it"):
        matched_repetition(tmp_path, "t2", SUPPLY, CONFIG, mixing)


def test_a_matched_swarm_is_another_one_and_says_for_which_budget_it_speaks(world, tmp_path):
    data, _, _, lexical, design, _ = world
    run = Repetition(SUPPLY.total_tokens, tuple(int(n) for n in SUPPLY.tokens))
    spec = swarm_spec(CONFIG, data, "t1", 3, run)
    (tmp_path / "rows").mkdir()
    (tmp_path / "made").mkdir()
    found = train_design(design, spec, tmp_path / "rows")
    proportional = found.labels.index("proportional")
    epochs = np.array(found.table.column("epochs").to_pylist())[proportional]
    assert epochs == pytest.approx([1, 1, 1], abs=0.35)  # windows are few
    publish_swarm(found, lexical, {0: "Law"}, tmp_path / "made", run)
    swarm = read_trained(tmp_path / "made")
    assert swarm.repetition == run
    assert describe_swarm(tmp_path / "made").figures["for_budget"] == run.budget
    assert swarm.other_budget(run.budget, SUPPLY) is None
    assert "10,000,000" in swarm.other_budget(10_000_000, SUPPLY)
    assert trained_swarm(found).other_budget(run.budget, SUPPLY).endswith("they speak for no budget")
    recipe = publish_law_recipe("effective_exposure", swarm, frame(), tmp_path / "made")
    assert "speak" not in recipe.evidence.verdict
    other = MixtureFrame(SUPPLY, {0: "Law"}, "t1", "bytes", MixingConfig(token_budget=4 * run.budget))
    marked = publish_law_recipe("effective_exposure", swarm, other, tmp_path / "made")
    assert f"as a run of {run.budget:,} tokens" in marked.evidence.verdict


def test_a_hierarchy_is_drawn_anew_for_other_groups_only(tmp_path):
    config = CONFIG.model_copy(update={"sampler": "hierarchical"})
    first, one = drawn_mixtures(tmp_path, "t1", SUPPLY, config, np.array([0, 1, 1]))
    assert np.allclose(first.sum(1), 1)
    assert drawn_mixtures(tmp_path, "t1", SUPPLY, config, np.array([0, 1, 1]))[1] == one
    assert drawn_mixtures(tmp_path, "t1", SUPPLY, config, np.array([0, 0, 1]))[1] != one


def test_the_grouping_is_part_of_an_identity_only_where_it_was_chosen():
    assert "groups" not in ProxyConfig().model_dump()
    assert ProxyConfig(groups="parent").model_dump()["groups"] == "parent"


def test_clusters_without_training_text_get_no_share():
    pool, _ = markov_world(domains=3, tokens=500)
    empty = TokenPool.of([pool.domain(0), pool.domain(1), pool.domain(2)[:0]], pool.vocab)
    design = grown_design(np.array([[0.2, 0.3, 0.5]]), SUPPLY, MixingConfig(), np.array([0.5, 0.2, 0.3]), empty)
    assert (design.mixtures[:, 2] == 0).all()
    assert np.allclose(design.mixtures.sum(1), 1)


def test_a_published_swarm_reads_back_and_has_a_page(world, published):
    swarm = read_trained(published)
    assert swarm.table.identity == trained_swarm(world[-1]).table.identity
    assert swarm.labels == trained_swarm(world[-1]).labels
    report = describe_swarm(published)
    assert report.figures["proxies"] == 18
    assert -1 <= report.figures["stage0_spearman"] <= 1
    assert report.figures["seed_deviation"] > 0
    losses = [row["target_loss"] for row in report.mixtures]
    assert losses == sorted(losses)
    page = swarm_page(published, {0: "<b>Law</b>"})
    assert "&lt;b&gt;Law" in page
    assert "<script" not in page
    assert pq.read_table(published / SWARM_NAME).num_rows == 16


def test_a_law_recipe_carries_its_evidence(world, published, tmp_path_factory):
    out = tmp_path_factory.mktemp("recipe")
    recipe = publish_law_recipe("bimix", read_trained(published), frame(), out)
    evidence = recipe.evidence
    assert evidence.n_runs == 16
    assert evidence.swarm_digest == read_trained(published).table.identity
    assert evidence.cv_spearman is not None
    assert evidence.predicted_interval[0] <= evidence.predicted_interval[1]
    assert evidence.predicted_loss_proportional is not None
    assert evidence.predicted_loss_uniform is not None
    assert evidence.kl_to_prior >= 0
    assert Recipe.read(out / RECIPE_NAME) == recipe
    tables = describe_evidence(out)
    assert {row["law"] for row in tables["laws"]} == {"bimix"}
    assert [row["lambda"] for row in tables["path"]] == [0.0, 0.02, 0.05, 0.1]
    assert (out / LAW_PICTURE).read_bytes().startswith(b"\x89PNG")


def test_recipes_from_counts_say_that_they_are_lexical(world, tmp_path):
    _, _, counts, lexical, *_ = world
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    for recipe in (
        publish_lexical_recipe(lexical, {"domain-2": 1.0}, frame(), first),
        publish_entropy_recipe(counts, frame(), second),
    ):
        assert "lexical proxy" in recipe.evidence.method
        assert "lexical proxy" in recipe.evidence.verdict
        assert all(e.implied_epochs <= e.cap * (1 + 1e-6) for e in recipe.entries)
    assert json.loads((first / "evidence.json").read_text()) == {}


def test_a_climb_joins_the_growing_table(world, published, tmp_path):
    data, rows, *_ = world
    swarm = read_trained(published)
    objective = swarm_objective(swarm)
    spec = swarm_spec(CONFIG, data, "t1", 3)
    found = climb(
        ClimbRound(swarm.table.mixtures, objective(swarm.table.losses)),
        lambda mixtures, number: objective(evaluate_round(mixtures, f"climb-{number}", spec, rows)),
        SUPPLY.token_shares,
        sizes=(4, 2),
        draws=500,
    )
    assert [len(r.objective) for r in found.rounds] == [16, 4, 2]
    labels = read_swarm(rows).labels
    assert sum(label.startswith("climb-2") for label in labels) == 4
    recipe = publish_climb_recipe(
        found, swarm, MixtureFrame(SUPPLY, {}, "t1", "bytes", MixingConfig(repetition_cap=50)), tmp_path
    )
    assert recipe.evidence.n_runs == 22
    assert "16 + 4 + 2" in recipe.evidence.law
    assert [row["mixtures"] for row in describe_evidence(tmp_path)["rounds"]] == [16, 4, 2]


def test_targets_of_the_user_come_before_those_of_the_clusters(world, tmp_path):
    evaluation = EvaluationSet.load(world[0])
    assert wanted_targets(world[0]) == {"domain-0": 1.0, "domain-1": 1.0, "domain-2": 1.0}
    inside = evaluation.in_domain.copy()
    inside[1] = False
    EvaluationSet(evaluation.names, evaluation.windows, evaluation.target, evaluation.n_bytes, inside).save(tmp_path)
    assert wanted_targets(tmp_path) == {"domain-1": 1.0}


def test_counts_of_snapshots_add_up(world, tmp_path):
    counts = world[2]
    counts.save(tmp_path)
    assert (merge_counts([tmp_path, tmp_path]).tokens == 2 * counts.tokens).all()
    with pytest.raises(ValueError, match="materialize cluster_counts"):
        merge_counts([])


def test_an_empty_swarm_is_refused(tmp_path):
    with pytest.raises(SwarmError, match="no proxy of this swarm has finished"):
        trained_swarm(read_swarm(tmp_path))
