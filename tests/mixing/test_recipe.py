import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gem_assets.mixing.caps import apply_caps, share_caps
from gem_assets.mixing.recipe import Recipe, RecipeEvidence, exact_shares
from gem_assets.mixing.supply import ClusterSupply


def supply_of(tokens: list[int], docs: list[int] | None = None) -> ClusterSupply:
    n = len(tokens)
    counts = np.array(docs if docs is not None else [max(1, t // 100) if t else 0 for t in tokens])
    return ClusterSupply(np.arange(n), counts, np.array(tokens), np.array(tokens) * 4)


def recipe_of(shares, supply, **changes) -> Recipe:
    settings_ = {
        "names": {0: "Law", 1: "Code · python"},
        "taxonomy_version": "t1",
        "tokenizer": "bytes/4",
        "repetition_cap": 4.0,
    } | changes
    return Recipe.create("test", shares, supply, **settings_)


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30),
    st.lists(st.integers(1, 10**12), min_size=30, max_size=30),
    st.integers(1, 10**13),
)
@settings(deadline=None, max_examples=150)
def test_every_recipe_keeps_its_invariants(weights, tokens, budget):
    supply = supply_of(tokens[: len(weights)])
    budget = min(budget, 4 * supply.total_tokens)
    wished = np.array(weights) / np.sum(weights)
    shares = apply_caps(wished, share_caps(supply.tokens, budget, 4.0))
    recipe = recipe_of(shares, supply, token_budget=budget)
    assert math.fsum(e.token_share for e in recipe.entries) == 1.0
    for entry in recipe.entries:
        assert entry.implied_epochs <= 4.0 * (1 + 1e-6)
        assert entry.implied_epochs == pytest.approx(entry.token_share * budget / entry.tokens_available)
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.identity == recipe.identity


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200).filter(lambda x: sum(x) > 1e-3))
def test_exact_shares_is_exact_and_idempotent(weights):
    shares = exact_shares(list(np.array(weights) / math.fsum(weights)))
    assert math.fsum(shares) == 1.0
    assert exact_shares(shares) == shares


@pytest.mark.parametrize("bad", [[0.5, float("nan")], [0.5, float("inf")], [-0.5, 1.5], [0.0, 0.0], [0.5, 0.4]])
def test_bad_shares_are_refused(bad):
    with pytest.raises(ValueError, match="share"):
        recipe_of(bad, supply_of([100, 100]))


def test_breaking_a_cap_names_cluster_value_cap_and_way_out():
    with pytest.raises(ValueError) as caught:
        recipe_of([0.95, 0.05], supply_of([10, 990]), token_budget=1000)
    message = str(caught.value)
    assert "cluster 0 (Law)" in message
    assert "95" in message
    assert "cap is 4" in message
    assert "repetition_cap" in message


def test_share_for_a_cluster_without_text_is_refused():
    with pytest.raises(ValueError, match=r"cluster 1 is given share .* no text"):
        recipe_of([0.5, 0.5], supply_of([100, 0]))


def test_cluster_without_text_may_stand_at_zero():
    recipe = recipe_of([1.0, 0.0], supply_of([100, 0]))
    assert recipe.entry(1).implied_epochs == 0.0


def test_budget_defaults_to_every_token_once():
    supply = supply_of([300, 100])
    recipe = recipe_of([0.75, 0.25], supply)
    assert recipe.token_budget == 400
    assert [e.implied_epochs for e in recipe.entries] == [1.0, 1.0]


def test_phases_average_to_the_shares_and_split_the_exposure():
    supply = supply_of([1000, 1000])
    recipe = recipe_of([0.6, 0.4], supply, phases=[(0.8, [0.7, 0.3]), (0.2, [0.2, 0.8])], token_budget=1000)
    assert recipe.entry(0).implied_epochs == pytest.approx(0.6)
    with pytest.raises(ValueError, match="phases average"):
        recipe_of([0.5, 0.5], supply, phases=[(0.8, [0.7, 0.3]), (0.2, [0.2, 0.8])])
    with pytest.raises(ValueError, match="cover"):
        recipe_of([0.5, 0.5], supply, phases=[(0.8, [0.5, 0.5])])


def test_edited_file_is_noticed_and_named(tmp_path):
    recipe = recipe_of([0.5, 0.5], supply_of([500, 500]))
    path = tmp_path / "recipe.json"
    recipe.write(path)
    assert Recipe.read(path) == recipe
    content = json.loads(path.read_text())
    content["seed"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"(?s)recipe\.json.*edited"):
        Recipe.read(path)


def test_same_content_same_bytes_and_any_change_changes_the_identity(tmp_path):
    supply = supply_of([500, 500])
    first, second = (recipe_of([0.5, 0.5], supply) for _ in range(2))
    first.write(tmp_path / "a.json")
    second.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    changed = [
        recipe_of([0.5, 0.5], supply, seed=1),
        recipe_of([0.5, 0.5], supply, tokenizer="other"),
        recipe_of([0.5, 0.5], supply, taxonomy_version="t2"),
        recipe_of([0.5, 0.5], supply, evidence=RecipeEvidence(method="m", predicted_loss=3.2)),
        recipe_of([0.4, 0.6], supply),
    ]
    assert len({r.identity for r in [first, *changed]}) == 6


def test_recipes_are_frozen():
    recipe = recipe_of([0.5, 0.5], supply_of([500, 500]))
    with pytest.raises(ValidationError):
        recipe.seed = 3


def test_diff_tells_how_much_of_the_budget_moved():
    supply = supply_of([500, 500])
    diff = recipe_of([0.5, 0.5], supply).diff(recipe_of([0.3, 0.7], supply, taxonomy_version="t2"))
    assert diff.total_variation == pytest.approx(0.2)
    assert not diff.same_taxonomy
    assert diff.table.column("change").to_pylist() == pytest.approx([-0.2, 0.2])


def test_table_carries_planned_tokens():
    table = recipe_of([0.75, 0.25], supply_of([500, 500]), token_budget=100).to_table()
    assert table.column("tokens_planned").to_pylist() == [75.0, 25.0]
    assert table.column("name").to_pylist() == ["Law", "Code · python"]
