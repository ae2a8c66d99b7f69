import numpy as np
import pytest

from gem_assets.mixing.methods.doge import DGA, DoGE

CENTRES = np.array([[3.0, 0.0], [0.0, 3.0], [-4.0, -4.0]])
TARGET = np.array([2.0, 1.0])


def descend(method, steps=400, rate=0.05):
    """Quadratic domains ``|θ - c_i|²/2``: the mixture that reaches the target is known in closed form."""
    theta = np.zeros(2)
    for _ in range(steps):
        gradients = theta - CENTRES
        target = theta - TARGET
        products = gradients @ target
        if isinstance(method, DoGE):
            weights = method.update(products, np.linalg.norm(gradients, axis=1), rate)
        else:
            weights = method.update(products)
        theta = theta - rate * weights @ gradients
    return theta


def test_dga_reaches_the_target_that_a_mixture_can_reach():
    # (2/3, 1/3, 0) puts the minimum of the mixture on the target
    method = DGA(np.full(3, 1 / 3), eta=0.05)
    theta = descend(method, 3000)
    assert np.linalg.norm(theta - TARGET) < 0.05
    assert method.weights == pytest.approx([2 / 3, 1 / 3, 0], abs=0.05)


def test_doge_moves_towards_aligned_domains_and_clips():
    method = DoGE(3, mu=1.0)
    method.update(np.array([1e9, 0.5, -1e9]), np.ones(3), 0.1)
    assert method.weights[0] / method.weights[2] == pytest.approx(np.exp(0.5))
    assert method.weights[1] / method.weights[2] == pytest.approx(np.exp(0.1 * 0.5 / (1 + 1e-6)))


def test_doge_reports_the_average():
    method = DoGE(2, mu=0.1)
    first = method.update(np.array([1.0, 0.0]), np.ones(2), 0.01).copy()
    second = method.update(np.array([0.0, 1.0]), np.ones(2), 0.01).copy()
    assert method.average == pytest.approx((first + second) / 2)


def test_dga_running_average_is_slower():
    fast, slow = DGA(np.full(2, 0.5)), DGA(np.full(2, 0.5), beta=0.1)
    for method in (fast, slow):
        method.update(np.array([1.0, 0.0]))
    assert 0.5 < slow.weights[0] < fast.weights[0]


def test_dga_over_basis_distributions():
    basis = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.25, 0.75]])
    method = DGA(np.array([0.4, 0.6]), basis=basis)
    assert method.mixture == pytest.approx([0.2, 0.2, 0.15, 0.45])


@pytest.mark.parametrize(
    "make", [lambda: DoGE(2, mu=0), lambda: DGA(np.ones(2), beta=0), lambda: DGA(np.ones(2), eta=-1)]
)
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_gradients_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match="domain 1"):
        DGA(np.ones(2)).update(np.array([0.0, np.inf]))
    with pytest.raises(ValueError, match="domain 0"):
        DoGE(2).update(np.array([np.nan, 0.0]), np.ones(2), 0.1)
