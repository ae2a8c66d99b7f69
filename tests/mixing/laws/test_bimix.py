import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gem_assets.mixing.laws.bimix import BiMixParameters, bimix_optimum, fit_bimix


def test_fit_recovers_the_law():
    truth = BiMixParameters(alpha=0.06, scale=40.0, beta=0.4, floor=1.7)
    share, steps = (g.ravel() for g in np.meshgrid([0.05, 0.1, 0.3, 0.7], [1e3, 5e3, 2e4, 5e4]))
    found = fit_bimix(share, steps, truth.loss(share, steps))
    assert found.alpha == pytest.approx(0.06, rel=1e-4)
    # the three parameters of the length trade off; their sum is what predicts
    assert found.loss(0.2, 1e5) == pytest.approx(truth.loss(0.2, 1e5), rel=2e-3)


@given(st.lists(st.tuples(st.floats(0.005, 1.0), st.floats(0.5, 6.0), st.floats(0.1, 3.0)), min_size=2, max_size=8))
@settings(deadline=None, max_examples=50)
def test_optimum_meets_its_conditions(domains):
    alpha, level, weight = (np.array(x) for x in zip(*domains, strict=True))
    shares = bimix_optimum(alpha, level, weight)
    assert shares.sum() == pytest.approx(1)
    # at the optimum another share is worth the same everywhere
    value = weight * alpha * level * shares ** (-alpha - 1)
    assert np.allclose(value, value[0], rtol=1e-6)


def test_optimum_agrees_with_a_numeric_optimiser():
    # exponents published for five domains; levels of the size of their losses
    alpha = np.array([0.058, 0.0088, 0.0285, 0.0892, 0.0371])
    level = np.array([2.1, 2.9, 2.4, 1.3, 2.7])

    def loss(logits):
        shares = np.exp(logits - logits.max())
        return float(np.sum(level * (shares / shares.sum()) ** -alpha))

    found = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-10}).x
    numeric = np.exp(found - found.max())
    assert np.abs(bimix_optimum(alpha, level) - numeric / numeric.sum()).max() < 1e-4


def test_published_optimum_is_consistent_with_the_closed_form():
    # from one published optimum the levels follow up to a factor; with them it must come out again
    alpha = np.array([0.058, 0.0088, 0.0285, 0.0892, 0.0371])
    published = np.array([0.2861, 0.0589, 0.1585, 0.2538, 0.2427])
    level = published ** (alpha + 1) / alpha
    assert np.abs(bimix_optimum(alpha, level) - published / published.sum()).max() < 1e-12


def test_a_domain_without_weight_gets_nothing():
    shares = bimix_optimum(np.array([0.1, 0.1, 0.1]), np.ones(3), np.array([1.0, 0.0, 1.0]))
    assert shares == pytest.approx([0.5, 0, 0.5])


@pytest.mark.parametrize("bad", [np.array([0.0, 0.5]), np.array([-0.1, 0.5])])
def test_bad_exponents_are_refused(bad):
    with pytest.raises(ValueError, match="positive exponents"):
        bimix_optimum(bad, np.ones(2))


def test_fit_refuses_a_zero_share_and_too_few_lengths():
    with pytest.raises(ValueError, match="every share must be above 0"):
        fit_bimix(np.array([0.0, 0.5, 0.5]), np.array([1.0, 2, 3]), np.ones(3))
    with pytest.raises(ValueError, match="3 training lengths"):
        fit_bimix(np.array([0.1, 0.5, 0.5]), np.array([1.0, 2, 2]), np.ones(3))
