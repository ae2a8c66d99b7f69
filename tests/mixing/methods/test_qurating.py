import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.methods.qurating import (
    SelectionError,
    inclusion_probabilities,
    select_by_quality,
)


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_odds_of_inclusion_follow_the_score(tau):
    """For a small part of the corpus the odds against a document of score 0 are ``exp(score / τ)``."""
    n = 300_000
    scores = np.repeat([0.0, 0.5, 1.0], n // 3)
    found = select_by_quality(scores, np.ones(n, np.int64), np.array([0.01 * n]), tau=tau, seed=1)
    taken = found.copies.reshape(3, -1).sum(axis=1)
    assert taken.sum() == 0.01 * n
    assert taken[1:] / taken[0] == pytest.approx(np.exp(np.array([0.5, 1.0]) / tau), rel=0.12)


@pytest.mark.parametrize(("tau", "kept"), [(0.5, 0.1), (2.0, 0.3), (1.0, 0.9)])
def test_inclusion_probabilities_are_the_frequencies_of_the_draws(tau, kept):
    rng = np.random.default_rng(0)
    scores, tokens = rng.normal(size=2000), rng.integers(5, 50, 2000)
    budget = kept * tokens.sum()
    expected = inclusion_probabilities(scores, tokens, budget, tau=tau)
    drawn = [select_by_quality(scores, tokens, np.array([budget]), tau=tau, seed=s).copies for s in range(200)]
    seen = np.mean(drawn, axis=0)
    assert expected @ tokens == pytest.approx(budget)
    # 200 draws of a half have a deviation of .035; tenths of the documents one of .0025
    order = np.argsort(scores).reshape(10, -1)
    assert expected[order].mean(axis=1) == pytest.approx(seen[order].mean(axis=1), abs=0.01)


def test_a_budget_of_everything_takes_everything_and_more_is_refused():
    scores, tokens = np.array([0.0, 1.0]), np.array([3, 4])
    assert inclusion_probabilities(scores, tokens, 7.0).tolist() == [1.0, 1.0]
    with pytest.raises(SelectionError, match="8 of 7 tokens"):
        inclusion_probabilities(scores, tokens, 8.0)
    extreme = inclusion_probabilities(np.array([0.0, 5000.0, -5000.0]), np.ones(3, np.int64), 1.0)
    assert extreme == pytest.approx([0.0, 1.0, 0.0], abs=1e-6)


def test_no_temperature_takes_the_best_and_a_high_one_takes_all_alike():
    scores = np.random.default_rng(0).normal(size=2000)
    tokens = np.full(2000, 10)
    best = select_by_quality(scores, tokens, np.array([5000.0]), tau=0.0)
    assert set(np.flatnonzero(best.copies)) == set(np.argsort(-scores)[:500])
    even = select_by_quality(scores, tokens, np.array([5000.0]), tau=1e9)
    assert abs(scores[even.copies > 0].mean()) < 0.1


@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.floats(0.05, 5.0),
    st.floats(0.0, 3.0),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_budgets_are_met_within_half_a_document(n, clusters, factor, tau, seed):
    rng = np.random.default_rng(seed)
    tokens, groups = rng.integers(1, 100, n), rng.integers(0, clusters, n)
    held = np.bincount(groups, tokens, minlength=clusters)
    budgets = held * factor
    found = select_by_quality(rng.normal(size=n), tokens, budgets, groups, tau=tau, seed=seed)
    for k in range(clusters):
        rows = groups == k
        if rows.any():
            assert abs(found.tokens[k] - budgets[k]) <= tokens[rows].max() / 2 + 1e-6
            # whole copies first: no document is two behind another of its cluster
            assert np.ptp(found.copies[rows]) <= 1
    assert found.tokens == pytest.approx(np.bincount(groups, tokens * found.copies, minlength=clusters))


def test_more_than_a_cluster_holds_repeats_it():
    found = select_by_quality(np.array([1.0, 0.0]), np.array([10, 10]), np.array([50.0]), tau=0.0)
    assert found.copies.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.array([0.0, np.nan])}, "document 1 has no finite score"),
        ({"tokens": np.array([0, 5])}, "document 0 has no tokens"),
        ({"clusters": np.array([0, 3])}, "clusters reach 3"),
        ({"budgets": np.array([5.0, 5.0])}, "cluster 1 is given 5 tokens"),
        ({"budgets": np.array([-1.0])}, "not negative"),
        ({"tau": -1.0}, "tau must be"),
        ({"tokens": np.array([1])}, "differ"),
    ],
)
def test_bad_documents_are_named(change, message):
    given_ = {"scores": np.zeros(2), "tokens": np.ones(2, np.int64), "budgets": np.array([1.0]), "clusters": None}
    given_ |= change
    tau = given_.pop("tau", 2.0)
    with pytest.raises(SelectionError, match=message):
        select_by_quality(given_["scores"], given_["tokens"], given_["budgets"], given_["clusters"], tau=tau)
