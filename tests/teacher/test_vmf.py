import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.teacher.vmf import fit_kappa, kappa_bracket, log_norm, mean_length

DIMENSIONS = [2, 3, 16, 63, 64, 128, 256, 384, 1024, 4096]
KAPPAS = [1e-3, 0.9, 1.1, 20.0, 900.0, 2e4]


def exact_log_norm(kappa: float, d: int) -> float:
    with mp.workdps(50):
        nu, k = mp.mpf(d) / 2 - 1, mp.mpf(kappa)
        return float(nu * mp.log(k) - (nu + 1) * mp.log(2 * mp.pi) - mp.log(mp.besseli(nu, k, maxterms=10**6)))


def exact_mean_length(kappa: float, d: int) -> float:
    with mp.workdps(50):
        half = mp.mpf(d) / 2
        return float(mp.besseli(half, kappa, maxterms=10**6) / mp.besseli(half - 1, kappa, maxterms=10**6))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_log_norm_and_mean_length_agree_with_high_precision_bessel_functions(d: int) -> None:
    expected = [exact_log_norm(k, d) for k in KAPPAS]
    np.testing.assert_allclose(log_norm(KAPPAS, d), expected, rtol=0, atol=1e-9)
    lengths = [exact_mean_length(k, d) for k in KAPPAS]
    np.testing.assert_allclose(mean_length(KAPPAS, d), lengths, rtol=1e-9)


def test_published_reference_values() -> None:
    assert log_norm(900, 1024) == pytest.approx(1780.921302, abs=1e-6)
    assert log_norm(900, 768) == pytest.approx(1084.259975, abs=1e-6)
    assert log_norm(900, 384) == pytest.approx(70.908189, abs=1e-6)
    assert log_norm(200, 256) == pytest.approx(280.397744, abs=1e-6)
    assert mean_length([900.0], 1024)[0] == pytest.approx(0.581746, abs=1e-6)


def test_kappa_zero_is_the_uniform_density() -> None:
    for d in (3, 100):
        log_area = np.log(2) + d / 2 * np.log(np.pi) - float(mp.loggamma(d / 2))
        assert log_norm(0.0, d) == pytest.approx(-log_area, abs=1e-9)
        assert mean_length(0.0, d) == 0.0


@given(d=st.integers(16, 4096), length=st.floats(0.02, 0.99))
@settings(max_examples=200, deadline=None)
def test_fitted_kappa_has_the_wanted_mean_length_and_lies_in_its_bracket(d: int, length: float) -> None:
    kappa = float(fit_kappa(length, d))
    low, high = kappa_bracket(length, d)
    assert low * (1 - 1e-9) <= kappa <= high * (1 + 1e-9)
    assert float(mean_length(kappa, d)) == pytest.approx(length, rel=1e-8)


@given(d=st.integers(2, 512), length=st.floats(0.01, 0.98), nudge=st.floats(0.9, 1.1))
@settings(max_examples=100, deadline=None)
def test_fitted_kappa_maximises_the_likelihood(d: int, length: float, nudge: float) -> None:
    def likelihood(kappa: float) -> float:
        return float(log_norm(kappa, d)) + kappa * length

    kappa = float(fit_kappa(length, d))
    assert likelihood(kappa) >= likelihood(kappa * nudge) - 1e-9 * max(1.0, abs(likelihood(kappa)))


@given(d=st.integers(16, 4096), log_kappa=st.floats(-2, 4.3))
@settings(max_examples=200, deadline=None)
def test_mean_length_lies_between_the_bounds_of_amos(d: int, log_kappa: float) -> None:
    kappa, nu = 10.0**log_kappa, d / 2 - 1

    def bound(a: float, b: float) -> float:
        return kappa / (a + np.sqrt(kappa**2 + b**2))

    found = float(mean_length(kappa, d))
    assert found >= bound(nu + 0.5, nu + 1.5) * (1 - 1e-9)
    assert found <= min(bound(nu, nu + 2), bound(nu + 0.5, np.sqrt((nu + 0.5) * (nu + 1.5)))) * (1 + 1e-9)


def test_kappa_is_clipped_and_degenerate_lengths_are_survived() -> None:
    np.testing.assert_array_equal(fit_kappa([0.0, 1.0, 1.5], 64, 2.0, 500.0), [2.0, 500.0, 500.0])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        log_norm(1.0, 1)
    with pytest.raises(ValueError, match="at least 0"):
        log_norm([-1.0], 8)
    with pytest.raises(ValueError, match="NaN"):
        fit_kappa([np.nan], 8)
