import numpy as np
import pytest
from scipy.optimize import minimize

from gem_assets.mixing.methods.mixmin import mixmin


def categorical(seed=0, n=4000):
    """Texts of one token, drawn from a known mixture of four sources."""
    rng = np.random.default_rng(seed)
    sources = rng.dirichlet(np.ones(30), 4)
    truth = np.array([0.5, 0.3, 0.2, 0.0])
    tokens = rng.choice(30, n, p=truth @ sources)
    return np.log(sources[:, tokens].T), truth


def test_finds_the_most_likely_mixture():
    logs, truth = categorical()
    found = mixmin(logs)

    def negative(v):
        shares = np.exp(v - v.max())
        return -float(np.mean(np.log(np.exp(logs) @ (shares / shares.sum()))))

    direct = minimize(negative, np.zeros(4), method="BFGS").x
    direct = np.exp(direct - direct.max()) / np.exp(direct - direct.max()).sum()
    assert np.abs(found - direct).max() < 2e-3
    assert np.abs(found - truth).max() < 0.06


def test_long_texts_do_not_overflow_and_count_by_token():
    rng = np.random.default_rng(1)
    logs = -3000 + 40 * rng.normal(size=(50, 3))
    logs[:, 1] += 500
    shares = mixmin(logs, np.full(50, 1000.0))
    assert np.argmax(shares) == 1
    assert shares.sum() == pytest.approx(1)


def test_a_source_that_cannot_write_a_text_is_no_obstacle():
    logs = np.log(np.array([[0.5, 1e-300], [0.4, 0.1]]))
    logs[0, 1] = -np.inf
    assert mixmin(logs)[0] > 0.9


def test_impossible_texts_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="text 1 is impossible"):
        mixmin(np.array([[0.0, 0.0], [-np.inf, -np.inf]]))
    with pytest.raises(ValueError, match="finite"):
        mixmin(np.array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="positive length"):
        mixmin(np.zeros((2, 2)), np.array([1.0, 0.0]))
