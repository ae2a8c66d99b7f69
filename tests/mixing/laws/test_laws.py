import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.laws.base import SmoothLaw, checked_runs, folds, normalised_rows
from gem_assets.mixing.laws.exposure import EffectiveExposureLaw, LogExposureLaw, PowerSumLaw
from gem_assets.mixing.laws.gaussian import GaussianLaw
from gem_assets.mixing.laws.log_linear import DataMixingLaw, LogLinearLaw
from gem_assets.mixing.laws.registry import LAWS
from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.laws.trees import TreesLaw

K = 5
TRUTHS = {
    "log_linear": (LogLinearLaw, lambda p: 2.0 + np.exp(p @ np.array([-2.0, 0.3, 0.1, -0.5, 0.4]))),
    "data_mixing_law": (
        lambda seed: DataMixingLaw(seed, components=2),
        lambda p: 2.0 + np.exp(p @ np.array([-3.0, 0.0, 0, 0, 0])) + np.exp(p @ np.array([0.0, -3, 0, 0, 0])),
    ),
    "effective_exposure": (
        EffectiveExposureLaw,
        lambda p: 2.4 + (0.05 + p @ np.array([1.0, 0.3, 0.0, 0.1, 0.0])) ** -0.35,
    ),
    "log_exposure": (LogExposureLaw, lambda p: 3.0 - np.log(p + 0.01) @ np.array([0.2, 0.05, 0.0, 0.0, 0.1])),
    "bimix": (PowerSumLaw, lambda p: (p + 0.01) ** -0.1 @ np.array([1.0, 0.5, 0.0, 0.3, 0.2])),
    "gp": (GaussianLaw, lambda p: 3.0 + np.sqrt(p) @ np.array([-1.0, 0.2, 0.4, 0.0, 0.1])),
    "lightgbm": (TreesLaw, lambda p: 3.0 - p[:, 0] + 0.3 * p[:, 1]),
}
CONVEX = [name for name in TRUTHS if name not in ("gp", "lightgbm")]


def mixtures(n, seed=0, k=K):
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.7), n)


def fitted(name, n=60, noise=0.0):
    make, truth = TRUTHS[name]
    rows = mixtures(n)
    losses = truth(rows) + noise * np.random.default_rng(1).normal(size=n)
    return make(0).fit(rows, losses), truth


@pytest.mark.parametrize("name", TRUTHS)
def test_a_law_finds_what_obeys_it(name):
    law, truth = fitted(name, 100)
    fresh = mixtures(80, seed=9)
    assert spearman(law.predict(fresh), truth(fresh)) > (0.95 if name == "lightgbm" else 0.985)
    if name not in ("lightgbm", "gp"):
        assert np.abs(law.predict(fresh) - truth(fresh)).max() < 0.25 * np.ptp(truth(fresh))


@pytest.mark.parametrize("name", TRUTHS)
def test_same_runs_same_law(name):
    fresh = mixtures(20, seed=9)
    assert np.array_equal(fitted(name)[0].predict(fresh), fitted(name)[0].predict(fresh))


@pytest.mark.parametrize("name", CONVEX)
def test_gradients_are_those_of_the_prediction(name):
    law = fitted(name)[0]
    assert isinstance(law, SmoothLaw)
    point = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    gradient = law.gradient(point)
    for i, j in ((0, 1), (2, 4), (3, 0)):
        # rows are scaled to sum 1, so differences are taken along the simplex
        step = np.zeros(K)
        step[i], step[j] = 1e-6, -1e-6
        numeric = (law.predict((point + step)[None])[0] - law.predict((point - step)[None])[0]) / 2e-6
        assert gradient[i] - gradient[j] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", CONVEX)
@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_convex_laws_are_convex_and_finite_at_the_border(name, seed):
    law = LAWS_FITTED.setdefault(name, fitted(name, noise=0.02)[0])
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(K, 0.2), 2)
    a[np.argmin(a)] = 0
    a /= a.sum()
    ends = law.predict(np.array([a, b, (a + b) / 2]))
    assert np.isfinite(ends).all()
    assert ends[2] <= (ends[0] + ends[1]) / 2 + 1e-9


LAWS_FITTED: dict = {}


def test_transfer_is_read_off_the_coefficients():
    law = fitted("effective_exposure", 120)[0]
    assert np.argmax(law.coefficients_) == 0
    assert np.all(law.coefficients_ > 0)


def test_trees_below_forty_runs_are_not_a_constant():
    law = TreesLaw().fit(mixtures(30), 3.0 - mixtures(30)[:, 0])
    assert np.ptp(law.predict(mixtures(40, seed=3))) > 0.1


def test_the_joint_doubt_of_a_gaussian_is_of_the_mean_without_the_noise_of_runs():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(4), 80)
    noise = 0.05
    law = GaussianLaw(restarts=0).fit(rows, 3.0 - rows[:, 0] + noise * rng.standard_normal(80))
    mean, covariance = law.joint(rows[:5])
    predicted, deviation = law.predict_with_deviation(rows[:5])
    assert mean == pytest.approx(predicted)
    assert np.sqrt(deviation**2 - np.diag(covariance)) == pytest.approx(np.full(5, noise), rel=0.4)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_gaussian_doubts_grow_away_from_the_runs():
    rows = mixtures(40) * np.array([1, 1, 1, 0.02, 0.02])
    rows /= rows.sum(axis=1, keepdims=True)
    law = GaussianLaw().fit(rows, 3.0 - rows[:, 0])
    near, far = rows[:1], np.eye(K)[[4]]
    assert law.predict_with_deviation(far)[1][0] > 2 * law.predict_with_deviation(near)[1][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p[:3], y[:3]), "too few"),
        (lambda p, y: (p, y[:-1]), "do not fit"),
        (lambda p, y: (p, np.where(np.arange(len(y)) == 7, np.nan, y)), "run 7"),
        (lambda p, y: (np.vstack([p[:-1], 1.5 * p[-1:]]), y), "row 19 is not a mixture"),
        (lambda p, y: (np.vstack([p[:-1], [[1.5, -0.5, 0, 0, 0]]]), y), "row 19"),
    ],
)
def test_bad_runs_are_refused_by_name(change, message):
    rows, losses = mixtures(20), np.linspace(2, 3, 20)
    for law in (LogLinearLaw(), EffectiveExposureLaw(), TreesLaw()):
        with pytest.raises(ValueError, match=message):
            law.fit(*change(rows, losses))


def test_exponential_laws_need_positive_losses():
    with pytest.raises(ValueError, match="run 0 has loss -1"):
        LogLinearLaw().fit(mixtures(20), np.linspace(-1, 3, 20))


def test_effective_exposure_takes_scores_below_zero():
    rows = mixtures(60)
    law = EffectiveExposureLaw().fit(rows, -rows[:, 0])
    fresh = mixtures(40, seed=2)
    assert spearman(law.predict(fresh), -fresh[:, 0]) > 0.95


def test_constant_losses_are_predicted():
    for name in ("log_exposure", "effective_exposure", "bimix", "log_linear"):
        law = LAWS[name].make(0).fit(mixtures(30), np.full(30, 2.5))
        assert np.allclose(law.predict(mixtures(5, seed=3)), 2.5, atol=0.02)


def test_rounded_rows_are_scaled_and_folds_cover_all_runs():
    assert normalised_rows(np.array([[0.5, 0.497]])).sum() == pytest.approx(1.0)
    parts = folds(11, 4, seed=3)
    assert sorted(np.concatenate([t for _, t in parts]).tolist()) == list(range(11))
    assert all(set(a).isdisjoint(b) for a, b in parts)
    shares, values = checked_runs(np.array([[1, 0], [0, 1]]), np.array([1, 2]), 2)
    assert shares.dtype == values.dtype == np.float64
