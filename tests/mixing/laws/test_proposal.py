from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gem_assets.mixing.caps import InfeasibleMixtureError
from gem_assets.mixing.laws.exposure import EffectiveExposureLaw, LogExposureLaw
from gem_assets.mixing.laws.log_linear import LogLinearLaw
from gem_assets.mixing.laws.proposal import divergence, lambda_path, mean_prediction, propose_convex, search, simulate
from gem_assets.mixing.laws.trees import TreesLaw
from tests.mixing.laws.test_laws import mixtures

PRIOR = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


class Linear:
    """Loss ``c·p``, whose proposals are known in closed form."""

    def __init__(self, slope):
        self.slope = np.asarray(slope, float)

    def fit(self, mixtures, losses):
        return self

    def predict(self, mixtures):
        return mixtures @ self.slope

    def gradient(self, mixture):
        return self.slope


def test_linear_loss_has_the_gibbs_answer():
    slope = np.array([0.1, -0.2, 0.0, 0.3, -0.1])
    found = propose_convex([Linear(slope)], PRIOR, kl_weight=0.1)
    expected = PRIOR * np.exp(-slope / 0.1)
    assert np.abs(found.shares - expected / expected.sum()).max() < 1e-5
    assert found.gap < 1e-6


def test_without_divergence_the_cheapest_fill_their_caps():
    caps = np.array([0.5, 0.25, 0.2, 1.0, 0.1])
    found = propose_convex([Linear([0.3, 0.0, 0.1, 0.9, -0.5])], PRIOR, caps, kl_weight=0.0)
    assert found.shares == pytest.approx([0.45, 0.25, 0.2, 0.0, 0.1], abs=1e-4)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.02, 0.1]))
@settings(deadline=None, max_examples=15)
def test_agrees_with_a_general_solver(seed, weight):
    rng = np.random.default_rng(seed)
    rows = mixtures(40, seed)
    laws = [LogExposureLaw().fit(rows, 3 - np.log(rows + 0.01) @ rng.random(5)) for _ in range(2)]
    caps = np.maximum(0.05, rng.random(5) * 1.2)
    caps[0] = 1.0
    mine = propose_convex(laws, PRIOR, caps, kl_weight=weight)
    predict = mean_prediction(laws)

    def objective(p):
        p = np.maximum(p, 1e-12) / np.maximum(p, 1e-12).sum()
        return float(predict(p[None])[0]) + weight * divergence(p, PRIOR)

    theirs = minimize(
        objective,
        mine.shares * 0.9 + 0.1 * np.minimum(PRIOR, caps),
        bounds=[(1e-9, min(c, 1.0)) for c in caps],
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert np.all(mine.shares <= caps + 1e-9)
    assert mine.shares.sum() == pytest.approx(1)
    assert objective(mine.shares) <= float(theirs.fun) + 1e-5
    # the bound that the result states is a bound
    assert objective(mine.shares) - mine.gap <= float(theirs.fun) + 1e-6


def test_the_path_pays_for_closeness_with_loss():
    rows = mixtures(60)
    law = EffectiveExposureLaw().fit(rows, 2 + (0.1 + rows @ np.array([0, 0, 0.2, 0.5, 1.0])) ** -0.4)
    path = lambda_path([law], PRIOR)
    assert [p.kl_weight for p in path] == [0.0, 0.02, 0.05, 0.1]
    assert all(a.kl >= b.kl - 1e-9 for a, b in pairwise(path))
    assert all(a.predicted <= b.predicted + 1e-7 for a, b in pairwise(path))


def test_prior_zero_stays_zero_and_weights_of_targets_count():
    prior = np.array([0.5, 0.5, 0.0])
    laws = [Linear([0, 1, -5]), Linear([1, 0, -5])]
    found = propose_convex(laws, prior, kl_weight=0.1, weights=np.array([1.0, 0.0]))
    assert found.shares[2] == 0
    assert found.shares[0] > 0.9


def test_a_law_without_gradient_needs_a_search():
    law = TreesLaw().fit(mixtures(30), np.linspace(2, 3, 30))
    with pytest.raises(TypeError, match="TreesLaw has no gradient"):
        propose_convex([law], PRIOR)


def test_impossible_caps_are_refused():
    with pytest.raises(InfeasibleMixtureError):
        propose_convex([Linear(np.zeros(5))], PRIOR, np.full(5, 0.1))
    with pytest.raises(InfeasibleMixtureError, match="random mixtures keep the caps"):
        simulate(Linear(np.zeros(5)).predict, PRIOR, np.full(5, 0.2001), draws=500)


@pytest.mark.parametrize("bad", [np.array([0.5, np.nan]), np.array([-0.1, 1.1]), np.zeros(2)])
def test_bad_priors_are_refused(bad):
    with pytest.raises(ValueError, match="prior"):
        propose_convex([Linear([0, 1])], bad)


def test_simulation_and_search_approach_the_optimum_and_repeat():
    rows = mixtures(80)
    law = LogLinearLaw().fit(rows, 2 + np.exp(rows @ np.array([-1.0, 0.5, 0.2, 0.1, -0.8])))
    predict = law.predict
    best = propose_convex([law], PRIOR, kl_weight=0).predicted
    caps = np.array([0.6, 1, 1, 1, 1])
    for method, slack in ((simulate, 0.05), (search, 0.01)):
        found = method(predict, PRIOR, draws=5000)
        assert found.predicted <= best + slack
        assert np.array_equal(found.shares, method(predict, PRIOR, draws=5000).shares)
        assert method(predict, PRIOR, caps, draws=5000).shares[0] <= 0.6 + 1e-9


def test_divergence():
    assert divergence(PRIOR, PRIOR) == 0
    assert divergence(np.array([1.0, 0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
    assert divergence(np.array([0.5, 0.5]), np.array([1.0, 0])) == np.inf
