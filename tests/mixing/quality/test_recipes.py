import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.config import MixingConfig, ScoreConfig
from gem_assets.mixing.methods import meta_rater, quadmix
from gem_assets.mixing.methods.qurating import publish_qurating
from gem_assets.mixing.quality.documents import load_scored
from gem_assets.mixing.quality.proxies import run_selections
from gem_assets.mixing.quality.recipes import publish_searched
from gem_assets.mixing.quality.trial import SelectionTrainer
from gem_assets.mixing.recipe import Recipe
from gem_assets.proxy.swarm import SwarmSpec
from tests.mixing.quality.worlds import CONFIG, frame, write_prepared

SEARCHES = {"quadmix": quadmix.search_documents, "meta_rater": meta_rater.search_documents}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Prepared tokens, and scores of two raters: one knows the noise, the other knows nothing."""
    folder = tmp_path_factory.mktemp("prepared")
    ids, clusters, good = write_prepared(folder)
    rng = np.random.default_rng(3)
    path = folder / "scores.parquet"
    knows = np.where(good, 1.0, -1.0) + rng.normal(size=len(ids)) * 0.1
    pq.write_table(pa.table({"doc_id": ids, "knows": knows, "guesses": rng.normal(size=len(ids))}), path)
    return folder, path, clusters, good


def scored(world, **changes):
    folder, path, *_ = world
    config = ScoreConfig(file=str(path), **changes)
    return load_scored(folder, frame().supply, config), config


def test_qurating_gives_the_better_cluster_more_and_the_rest_something(world, tmp_path):
    documents, config = scored(world, temperature=0.5)
    recipe = publish_qurating(documents, frame(repetition_cap=10), config, tmp_path)
    assert Recipe.read(tmp_path / "recipe.json") == recipe
    assert 0.6 < recipe.shares[0] < 0.75
    table = pq.read_table(tmp_path / "selection.parquet").to_pydict()
    copies, good = np.array(table["copies"]), world[3]
    assert copies @ documents.tokens == pytest.approx(0.3 * documents.tokens.sum())
    assert copies[good].min() > 0
    assert copies[good].mean() > 3 * copies[~good].mean()
    assert table["knows"][0] == documents.scores[0, 0]
    assert recipe.evidence.predicted_loss is None
    assert "a rule without a prediction" in recipe.evidence.verdict
    assert "scores.parquet" in recipe.evidence.verdict
    assert any("shares alone" in note for note in recipe.evidence.notes)
    tables = json.loads((tmp_path / "evidence.json").read_text())
    assert [row["rater"] for row in tables["raters"]] == ["knows", "guesses"]
    assert tables["choice"][0]["seen_on_average"] > tables["choice"][1]["seen_on_average"]


def test_settings_of_scores_name_no_other_recipe():
    assert MixingConfig(scores=ScoreConfig(kept=0.5)).model_dump() == MixingConfig().model_dump()


def test_a_high_temperature_leaves_the_natural_shares(world, tmp_path):
    documents, config = scored(world, temperature=1e6)
    recipe = publish_qurating(documents, frame(), config, tmp_path)
    assert recipe.shares == pytest.approx([0.5, 0.5], abs=1e-4)


def known(good, documents, clusters):
    """Loss of a choice as a formula: the part of the tokens that is noise; the seed does not matter."""

    def train(jobs):
        rows = []
        for job in jobs:
            copies = np.ones(documents.prepared) if job.copies is None else job.copies
            noise = [
                1 - np.average(good[clusters == k], weights=copies[clusters == k]) if share else 0.0
                for k, share in enumerate(job.shares)
            ]
            rows.append([np.dot(job.shares, noise), 99.0])
        return np.array(rows)

    return SelectionTrainer(train, np.array([1.0, 0.0]), "aim")


@pytest.mark.parametrize("strategy", ["quadmix", "meta_rater"])
def test_a_search_finds_the_rater_that_knows(world, tmp_path, strategy):
    _, _, clusters, good = world
    documents, config = scored(world, proxies=48, kept=0.4)
    recipe = publish_searched(
        strategy,
        SEARCHES[strategy],
        documents,
        frame(repetition_cap=10),
        config,
        known(good, documents, clusters),
        tmp_path,
    )
    assert recipe.shares[0] > 0.65
    evidence = recipe.evidence
    assert evidence.n_runs == 48
    assert evidence.target == "aim"
    assert evidence.cv_spearman > 0.5
    assert evidence.predicted_loss < evidence.predicted_loss_proportional == pytest.approx(0.5)
    assert evidence.predicted_interval[0] <= evidence.predicted_loss <= evidence.predicted_interval[1]
    assert "supported by the proxies" in evidence.verdict
    assert "better in 3 of 3" in evidence.verdict
    tables = json.loads((tmp_path / "evidence.json").read_text())
    assert tables["trained"][0]["arm"] == "all documents, natural shares"
    weight = tables["raters"][0]["weight"] if strategy == "meta_rater" else tables["rule"][0]["knows"]
    assert weight > 0.55
    copies = np.array(pq.read_table(tmp_path / "selection.parquet").column("copies").to_pylist())
    assert copies[good].sum() > 3 * copies[~good].sum()
    assert (tmp_path / "law.png").stat().st_size > 1000


def test_a_choice_within_clusters_is_not_sold_as_a_mixture(world, tmp_path):
    """When only documents matter and not clusters, shares alone gain nothing."""
    _, _, _, good = world
    documents, config = scored(world, proxies=16)

    def train(jobs):
        chosen = [0.5 if job.copies is None else 1 - np.average(good, weights=job.copies) for job in jobs]
        return np.array(chosen)[:, None]

    trainer = SelectionTrainer(train, np.ones(1), "aim")
    recipe = publish_searched(
        "meta_rater", meta_rater.search_documents, documents, frame(repetition_cap=10), config, trainer, tmp_path
    )
    assert "not supported as a mixture, as a choice of documents it is" in recipe.evidence.verdict


def test_a_search_that_finds_nothing_says_so(world, tmp_path):
    documents, config = scored(world, proxies=16)
    trainer = SelectionTrainer(lambda jobs: np.ones((len(jobs), 1)), np.ones(1), "aim")
    recipe = publish_searched("meta_rater", meta_rater.search_documents, documents, frame(), config, trainer, tmp_path)
    assert recipe.evidence.cv_spearman is None
    assert "not supported" in recipe.evidence.verdict


def test_real_proxies_choose_the_clean_documents(world, tmp_path):
    folder, *_ = world
    documents, config = scored(world, proxies=16, kept=0.4)
    spec = SwarmSpec(CONFIG, folder, "v1", ("0", "1"))
    train = partial(run_selections, spec=spec, folder=tmp_path / "rows")
    out = tmp_path / "out"
    out.mkdir()
    trainer = SelectionTrainer.of(train, folder, {"aim": 1.0})
    recipe = publish_searched(
        "meta_rater", meta_rater.search_documents, documents, frame(repetition_cap=10), config, trainer, out
    )
    assert recipe.shares[0] > 0.65
    assert "chosen documents -" in recipe.evidence.verdict
    rows = list((tmp_path / "rows").glob("*.json"))
    # equal choices are trained once
    assert 16 < len(rows) <= 16 + 9
    before = {path: path.stat().st_mtime_ns for path in rows}
    again = publish_searched(
        "meta_rater", meta_rater.search_documents, documents, frame(repetition_cap=10), config, trainer, out
    )
    assert again == recipe
    assert {path: path.stat().st_mtime_ns for path in rows} == before
