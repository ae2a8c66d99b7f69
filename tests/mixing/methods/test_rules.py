import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gem_assets.mixing.caps import InfeasibleMixtureError
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.heuristics import HEURISTICS, unimax_shares
from gem_assets.mixing.methods.rules import STRATEGIES, make_recipe
from gem_assets.mixing.supply import ClusterSupply
from tests.mixing.test_recipe import supply_of


def make(strategy, supply, **config):
    return make_recipe(strategy, supply, {}, "t1", MixingConfig(**config), "bytes/4")


def test_unimax_reproduces_the_published_mixture(golden_folder):
    rows = list(csv.DictReader((golden_folder / "marin" / "proportional_unimax.csv").open()))
    sizes = np.array([float(r["proportional"]) for r in rows])
    published = np.array([float(r["unimax"]) for r in rows])
    mine = unimax_shares(sizes, 0.905353 * sizes.sum(), 1.25)
    assert np.abs(mine - published).max() < 1e-7


@given(st.lists(st.integers(0, 10**10), min_size=2, max_size=40), st.floats(0.01, 3.9))
@settings(deadline=None)
def test_every_strategy_gives_a_mixture_within_its_caps(tokens, budget_epochs):
    tokens[0] = max(tokens[0], 100)
    supply = supply_of(tokens)
    budget = max(1, int(budget_epochs * supply.total_tokens))
    for strategy in STRATEGIES:
        recipe = make(strategy, supply, token_budget=budget)
        assert recipe.shares.sum() == pytest.approx(1.0)
        assert all(e.implied_epochs <= 4.0 * (1 + 1e-6) for e in recipe.entries)
        assert np.all(recipe.shares[supply.tokens == 0] == 0)


def test_proportional_sees_everything_equally_often():
    recipe = make("proportional", supply_of([700, 200, 100]), token_budget=2000)
    assert [e.implied_epochs for e in recipe.entries] == pytest.approx([2.0, 2.0, 2.0])


def test_uniform_gives_equal_tokens_and_balanced_equal_documents():
    supply = ClusterSupply(np.arange(3), np.array([10, 10, 20]), np.array([10_000, 1_000, 4_000]), np.array([1, 1, 1]))
    uniform, balanced = (
        make("uniform", supply, token_budget=1500),
        make("balanced", supply, token_budget=1500),
    )
    assert uniform.shares == pytest.approx([1 / 3] * 3)
    drawn = balanced.shares * 1500 / supply.tokens_per_doc
    assert drawn == pytest.approx([drawn[0]] * 3)


def test_balanced_is_proportional_once_the_documents_are_balanced():
    supply = ClusterSupply(np.arange(3), np.array([10, 10, 10]), np.array([900, 70, 30]), np.array([1, 1, 1]))
    assert make("balanced", supply).shares == pytest.approx(make("proportional", supply).shares)
    assert make("uniform", supply, repetition_cap=20).shares != pytest.approx(make("proportional", supply).shares)


def test_temperature_runs_from_uniform_to_proportional():
    supply = supply_of([900, 100])
    assert make("temperature", supply, temperature=0).shares == pytest.approx([0.6, 0.4])  # capped at 4 epochs
    assert make("temperature", supply, temperature=1).shares == pytest.approx([0.9, 0.1])
    assert make("temperature", supply, temperature=0.5).shares == pytest.approx([0.75, 0.25])


def test_unimax_is_uniform_until_its_cap_binds():
    sizes = np.array([1.0, 10.0, 100.0])
    assert unimax_shares(sizes, 3.0, 1.0) == pytest.approx([1 / 3] * 3)
    assert unimax_shares(sizes, 33.0, 1.0) == pytest.approx([1 / 33, 10 / 33, 22 / 33])
    assert unimax_shares(sizes, 1000.0, 1.0) == pytest.approx(sizes / sizes.sum())


def test_budget_beyond_the_repetition_cap_is_refused_with_the_largest_budget():
    with pytest.raises(InfeasibleMixtureError, match="lower token_budget to 4000"):
        make("proportional", supply_of([500, 500]), token_budget=4001)


def test_empty_inventory_is_refused():
    with pytest.raises(ValueError, match="no tokens"):
        make("uniform", supply_of([0, 0]))


def test_unknown_strategy_names_the_known_ones():
    with pytest.raises(ValueError, match="unimax"):
        make("nonsense", supply_of([1, 1]))


def test_registry_is_complete():
    assert set(HEURISTICS) == {"proportional", "uniform", "temperature", "unimax", "balanced"}


@pytest.mark.parametrize(
    "bad", [{"token_budget": 0}, {"repetition_cap": 0}, {"temperature": 1.5}, {"seed": -1}, {"typo": 1}]
)
def test_config_refuses_nonsense(bad):
    with pytest.raises(ValidationError):
        MixingConfig(**bad)
