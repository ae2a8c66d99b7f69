import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from benchmarks.mixing_golden import PILE_CC, swarm
from gem_assets.mixing.laws.base import normalised_rows
from gem_assets.mixing.search.fidelity import BudgetError, FidelityKernel, information_gain, search_fidelities


def kernel():
    return FidelityKernel(ConstantKernel(1.3) * Matern(0.4, nu=2.5), ConstantKernel(0.2) * Matern(0.9, nu=2.5))


def test_the_kernel_is_what_its_docstring_says():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.dirichlet(np.ones(3), 6), rng.random(6)])
    one, own = 1.3 * Matern(0.4, nu=2.5)(x[:, :-1]), 0.2 * Matern(0.9, nu=2.5)(x[:, :-1])
    expected = one + np.outer(1 - x[:, -1], 1 - x[:, -1]) * own
    np.testing.assert_allclose(kernel()(x), expected)
    np.testing.assert_allclose(kernel()(x[:2], x), expected[:2])
    np.testing.assert_allclose(kernel().diag(x), np.diag(expected))
    # at the target size small models' errors have no say
    top = np.column_stack([x[:, :-1], np.ones(6)])
    np.testing.assert_allclose(kernel()(top), one)


def test_its_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.dirichlet(np.ones(3), 5), rng.random(5)])
    k = kernel()
    _, gradient = k(x, eval_gradient=True)
    for i in range(len(k.theta)):
        step = np.eye(len(k.theta))[i] * 1e-5
        rise = k.clone_with_theta(k.theta + step)(x) - k.clone_with_theta(k.theta - step)(x)
        np.testing.assert_allclose(gradient[:, :, i], rise / 2e-5, atol=1e-6)


def test_information_at_the_target_is_the_closed_form():
    mean, deviation, best = np.array([0.0, 0.5, 2.0]), np.array([1.0, 0.3, 0.5]), -0.4
    gamma = (mean - best) / deviation
    # Wang and Jegelka 2017, Eq. 6
    expected = gamma * norm.pdf(gamma) / (2 * norm.cdf(gamma)) - norm.logcdf(gamma)
    assert information_gain(mean, deviation, np.full(3, 0.9999), best) == pytest.approx(expected, abs=0.04)


def test_information_of_a_smaller_model_is_the_fall_in_entropy():
    gamma, rho = 0.4, 0.8
    z = np.linspace(-9, 9, 200_001)
    density = norm.pdf(z) * norm.cdf((gamma + rho * z) / np.sqrt(1 - rho**2)) / norm.cdf(gamma)
    entropy = -np.trapezoid(density * np.log(np.maximum(density, 1e-300)), z)
    expected = 0.5 * np.log(2 * np.pi * np.e) - entropy
    assert information_gain(np.array([0.4]), np.ones(1), np.array([rho]), 0.0)[0] == pytest.approx(expected, abs=1e-4)


def test_information_falls_with_the_correlation():
    mean, deviation = np.zeros(5), np.ones(5)
    gains = information_gain(mean, deviation, np.array([0.0, 0.3, 0.6, 0.9, -0.9]), -1.0)
    assert gains[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(gains[:4]) > 0).all()
    assert gains[4] == pytest.approx(gains[3], abs=1e-6)
    assert information_gain(np.zeros(1), np.zeros(1), np.ones(1), -1.0).tolist() == [0.0]


def test_small_runs_save_large_ones(golden_folder):
    """256 mixtures at 1M and 60M: chance needs 128 large runs, one fidelity alone 12 to 13."""
    small, large = swarm(golden_folder, "test", "1m"), swarm(golden_folder, "test", "60m")
    losses = [small.loss_of(PILE_CC), large.loss_of(PILE_CC)]
    found = search_fidelities(
        normalised_rows(large.mixtures),
        lambda i, s: float(losses[s][i]),
        [0.0, 1.0],
        [1 / 60, 1.0],
        3.0,
        first=16,
    )
    assert found.cost <= 3.0
    assert len(set(found.tried)) == len(found.tried)
    ranks = (losses[1][:, None] > losses[1]).sum(axis=1)
    assert ranks[found.recommended] < 13
    large_runs = [i for i, s in found.tried if s]
    assert 1 <= len(large_runs) <= 2
    assert ranks[large_runs].min() <= 2


def test_cheap_runs_that_mislead_are_left():
    rng = np.random.default_rng(3)
    pool = rng.dirichlet(np.ones(2), 30)
    truth = (pool[:, 0] - 0.7) ** 2
    noise = rng.normal(size=30)
    found = search_fidelities(
        pool, lambda i, s: float(truth[i] if s else noise[i]), [0.0, 1.0], [0.2, 1.0], 12.0, first=5
    )
    assert sum(s for _, s in found.tried) >= 5
    assert truth[found.recommended] <= np.sort(truth)[7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fidelities": [0.5, 0.2, 1.0]}, "must ascend"),
        ({"fidelities": [0.0, 0.5]}, "must ascend"),
        ({"costs": [0.0, 1.0]}, "costs above 0"),
        ({"budget": 0.1}, "do not fit a pool of 3"),
        ({"evaluate": lambda i, s: float("nan")}, "must not be counted"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"evaluate": lambda i, s: 1.0, "fidelities": [0.0, 1.0], "costs": [0.1, 1.0], "budget": 2.0} | change
    with pytest.raises(BudgetError, match=message):
        search_fidelities(np.eye(3), given["evaluate"], given["fidelities"], given["costs"], given["budget"], first=2)
