"""Evidence of the clusters before a refit, in the clusters after it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.carried_evidence import carry_recipe, carry_swarm, publish_carried
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import INVENTORY_SCHEMA, ClusterSupply
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.teacher.crosswalk import crosswalk_of_labels

NAMES = {0: "Law", 1: "Code", 2: "Prose"}


def supply(tokens):
    tokens = np.asarray(tokens)
    return ClusterSupply(np.arange(len(tokens)), tokens // 10, tokens, tokens * 4)


@pytest.fixture
def walk():
    # cluster 0 stays, a fifth of 1 goes to 2
    before = np.repeat([0, 1, 2], 100)
    after = np.concatenate([np.zeros(100, int), np.repeat([1, 2], [80, 20]), np.full(100, 2)])
    return crosswalk_of_labels(before, after, (3, 3))


@pytest.fixture
def recipe():
    return Recipe.create(
        "learned", [0.5, 0.3, 0.2], supply([1000, 1000, 1000]), names=NAMES, taxonomy_version="old",
        tokenizer="bytes", repetition_cap=2.0, token_budget=2000,
        phases=[(0.5, [0.6, 0.2, 0.2]), (0.5, [0.4, 0.4, 0.2])],
        evidence=RecipeEvidence(method="regmix", swarm_digest="ab" * 32, n_runs=64, predicted_loss=3.2),
    )  # fmt: skip


def test_shares_go_with_the_documents_and_the_evidence_is_marked(walk, recipe):
    carried = carry_recipe(recipe, walk, supply([1000, 900, 1100]), names=NAMES, taxonomy_version="new")
    np.testing.assert_allclose(carried.shares, [0.5, 0.24, 0.26])
    np.testing.assert_allclose([p.shares for p in carried.phases], [[0.6, 0.16, 0.24], [0.4, 0.32, 0.28]])
    assert carried.taxonomy_version == "new"
    assert carried.evidence.carried_from == recipe.identity
    assert (carried.evidence.swarm_digest, carried.evidence.predicted_loss) == ("ab" * 32, 3.2)
    assert carried.evidence.notes == ("carried from taxonomy old: 93.3% of the documents kept their cluster",)
    assert "carried_from" not in recipe.model_dump()["evidence"]


def test_a_share_that_the_new_cluster_cannot_bear_is_cut_to_its_cap(walk, recipe):
    carried = carry_recipe(recipe, walk, supply([400, 1500, 1500]), names=NAMES, taxonomy_version="new")
    assert carried.entries[0].implied_epochs == pytest.approx(2.0)
    np.testing.assert_allclose(carried.shares[1:] / carried.shares[1:].sum(), [0.48, 0.52], atol=0.02)
    nothing = carry_recipe(recipe, walk, supply([1500, 1500, 0]), names=NAMES, taxonomy_version="new")
    assert nothing.shares[2] == 0


def test_a_swarm_keeps_its_losses_and_says_that_it_is_carried(walk):
    table = SwarmTable(
        ("uniform", "a"), ("0", "1", "2"), ("web",), np.array([[1, 1, 1], [0, 3, 0]]) / 3, np.array([[3.0], [4.0]])
    )
    carried = carry_swarm(table, walk, ["0", "1", "2"])
    assert carried.runs == ("carried:uniform", "carried:a")
    np.testing.assert_allclose(carried.mixtures, [[1 / 3, 0.8 / 3, 1.2 / 3], [0, 0.8, 0.2]])
    np.testing.assert_array_equal(carried.losses, table.losses)
    assert carry_swarm(carried, walk, ["0", "1", "2"]).runs == carried.runs
    with pytest.raises(ValueError, match="do not fit a crosswalk of 3 to 3"):
        carry_swarm(table, walk, ["0", "1"])


def test_everything_of_the_taxonomy_before_is_published(walk, recipe, tmp_path):
    recipe.write(tmp_path / "recipe.json")
    rows = [
        {"cluster": k, "snapshot": "01", "lang": "en", "n_docs": 100, "n_tokens": 1000, "n_bytes": 4000}
        for k in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows, INVENTORY_SCHEMA), tmp_path / "inventory.parquet")
    out = tmp_path / "out"
    out.mkdir()
    counts = publish_carried({"learned": tmp_path / "recipe.json"}, None, walk, tmp_path, NAMES, "new", out)
    assert counts == {"recipes": 1, "swarm_runs": 0}
    assert Recipe.read(out / "learned.json").evidence.carried_from == recipe.identity


def test_a_recipe_over_other_clusters_is_refused(recipe):
    two = crosswalk_of_labels(np.array([0, 1]), np.array([0, 1]), (2, 2))
    with pytest.raises(ValueError, match="3 clusters, the crosswalk has 2 old"):
        carry_recipe(recipe, two, supply([10, 10]), names=NAMES, taxonomy_version="new")
