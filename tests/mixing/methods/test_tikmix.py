import numpy as np
import pytest
from scipy.optimize import minimize

from gem_assets.mixing.methods.tikmix import (
    BlendedInfluence,
    EmpiricalFisher,
    InfluenceError,
    propose_blended,
    propose_direct,
)


def test_the_inverse_is_that_of_the_matrix():
    rng = np.random.default_rng(0)
    samples, vectors = rng.normal(size=(6, 15)), rng.normal(size=(3, 15))
    fisher = EmpiricalFisher(samples, 0.2)
    matrix = samples.T @ samples / 6 + fisher.damping * np.eye(15)
    assert fisher.damping == pytest.approx(0.2 * np.trace(samples @ samples.T) / 36)
    np.testing.assert_allclose(fisher.solve(vectors), np.linalg.solve(matrix, vectors.T).T, rtol=1e-9)


def test_influence_on_a_quadratic_is_the_newton_step():
    """Domains ``(θ - c_i)ᵀA(θ - c_i)/2``, target likewise: with the true Hessian the influence is known."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4)) + 3 * np.eye(4)
    hessian = root.T @ root
    # four gradients of which the Fisher matrix is the Hessian
    fisher = EmpiricalFisher(2 * root, 1e-8)
    centres, theta, goal = rng.normal(size=(5, 4)), np.zeros(4), rng.normal(size=4)
    domains, target = (theta - centres) @ hessian, (theta - goal) @ hessian
    expected = (goal - theta) @ hessian @ (centres - theta).T
    np.testing.assert_allclose(fisher.influence(domains, target[None])[:, 0], expected, rtol=1e-4)


def direct(influence, prior, weights, entropy, slack=0.0):
    """The same program by a general solver."""

    def negative(p):
        return -(p @ influence @ weights - entropy * np.sum(p * np.log(np.maximum(p, 1e-300))))

    constraints = [
        {"type": "eq", "fun": lambda p: p.sum() - 1},
        {"type": "ineq", "fun": lambda p: p @ influence - prior @ influence + slack},
    ]
    return minimize(negative, prior, bounds=[(1e-9, 1)] * len(prior), constraints=constraints, tol=1e-12).x


@pytest.mark.parametrize("seed", range(4))
def test_direct_solves_its_program(seed):
    rng = np.random.default_rng(seed)
    influence, prior, weights = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(3))
    found = propose_direct(influence, prior, importance=weights, entropy=0.3)
    assert found.shares == pytest.approx(direct(influence, prior, weights, 0.3), abs=2e-4)
    assert (found.gain >= found.floor - 1e-7).all()
    assert np.abs(found.multipliers * (found.gain - found.floor)).max() < 1e-5


def test_no_benchmark_falls_behind():
    # the first domain is best on average and ruins the second target
    influence = np.array([[5.0, -1.0], [1.0, 1.0], [0.0, 2.0]])
    prior = np.array([0.2, 0.4, 0.4])
    found = propose_direct(influence, prior, entropy=0.01)
    assert found.gain[1] == pytest.approx(found.floor[1], abs=1e-6)
    assert found.multipliers[1] > 0
    assert found.gain[0] > found.floor[0]
    free = propose_direct(influence, prior, entropy=0.01, slack=10.0)
    assert free.shares[0] > 0.99


def test_a_domain_without_text_gets_none():
    assert propose_direct(np.array([[9.0], [1.0], [2.0]]), np.array([0.0, 0.5, 0.5])).shares[0] == 0


def test_blends_are_searched_where_influences_do_not_add():
    best = np.array([0.55, 0.35, 0.1])

    def blend(p):
        return np.array([-np.sum((p - best) ** 2), -2 * np.sum((p - best) ** 2)])

    start = np.array([0.34, 0.33, 0.33])
    found = propose_blended(start, blend, draws=200, concentration=10.0)
    assert np.abs(found - best).max() < 0.06
    assert blend(found)[0] > blend(start)[0] / 10
    assert found == pytest.approx(propose_blended(start, blend, draws=200, concentration=10.0))


def test_the_influence_of_a_blend_is_that_of_its_own_matrix():
    rng = np.random.default_rng(2)
    samples, targets = rng.normal(size=(5, 3, 12)), rng.normal(size=(2, 12))
    blended = BlendedInfluence(samples, targets, 0.3)
    shares = np.array([0.2, 0.5, 0.3])
    rows, weights = samples.reshape(-1, 12), np.tile(shares, 5) / 5
    damping = EmpiricalFisher(rows, 0.3).damping
    matrix = (rows * weights[:, None]).T @ rows + damping * np.eye(12)
    np.testing.assert_allclose(blended(shares), targets @ np.linalg.solve(matrix, weights @ rows), rtol=1e-9)


def test_a_blend_of_two_beats_either_where_each_helps_in_its_own_direction():
    # the first domain helps a little more: D gives nearly all to it, a blend has more to gain from both
    samples = np.tile(np.eye(2)[None], (4, 1, 1))
    target = np.array([[1.0, 0.9]])
    influence = EmpiricalFisher(samples.reshape(-1, 2)).influence(samples.mean(axis=0), target)
    direct = propose_direct(influence / influence.max(), np.full(2, 0.5), entropy=0.02).shares
    assert direct[0] > 0.95
    blend = BlendedInfluence(samples, target, 4.0)
    found = propose_blended(direct, blend, concentration=5.0)
    # with δ = .5 the influence is p/(δ + p) + .9 (1 - p)/(δ + 1 - p), largest at .527
    assert blend(np.array([0.3, 0.7]))[0] == pytest.approx(0.3 / 0.8 + 0.9 * 0.7 / 1.2)
    at_direct, at_best = blend(direct)[0], blend(np.array([0.527, 0.473]))[0]
    assert blend(found)[0] - at_direct > 0.7 * (at_best - at_direct) > 0


def test_nonsense_is_refused():
    with pytest.raises(InfluenceError, match="singular"):
        EmpiricalFisher(np.ones((2, 3)), 0.0)
    with pytest.raises(InfluenceError, match="all gradients are 0"):
        EmpiricalFisher(np.zeros((2, 3)))
    with pytest.raises(InfluenceError, match="do not fit 3 domains"):
        propose_direct(np.ones((2, 2)), np.ones(3))
    with pytest.raises(InfluenceError, match="mixture 0 is not finite"):
        propose_blended(np.ones(2), lambda p: np.array([np.nan]))
