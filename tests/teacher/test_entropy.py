import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.entropy_term import entropy_gap, entropy_objective, entropy_step, fit_entropy
from gem_assets.teacher.esteps import softmax_rows
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.mstep import Theta
from gem_assets.teacher.start import seed_theta
from tests.teacher.conftest import mixture
from tests.teacher.test_esteps import problem


@given(
    st.builds(problem, st.integers(2, 50), st.integers(2, 6), st.sampled_from([0.3, 3.0, 50.0]), st.integers(0, 999)),
    st.sampled_from([0.5, 5.0, 100.0]),
)
@settings(max_examples=80, deadline=None)
def test_steps_never_fall_and_the_gap_bounds_what_is_left(log_density: np.ndarray, beta: float) -> None:
    gamma = softmax_rows(log_density / 5)[0]
    value = entropy_objective(gamma, log_density, beta)
    bound = value + entropy_gap(gamma, log_density, beta)
    size = max(1.0, abs(value), abs(bound))
    for _ in range(15):
        step = entropy_step(log_density, gamma, beta)
        assert step.objective >= value - 1e-9 * size
        assert step.objective <= bound + 1e-9 * size
        gamma, value = step.gamma, step.objective


def test_fixed_point_is_the_inverse_prior() -> None:
    log_density, beta = problem(300, 4, 2.0, 1), 3.0
    gamma = softmax_rows(log_density.copy())[0]
    for _ in range(500):
        gamma = entropy_step(log_density, gamma, beta).gamma
    expected = softmax_rows(log_density - beta * np.log(gamma.mean(axis=0)))[0]
    np.testing.assert_allclose(gamma, expected, atol=1e-6)
    assert entropy_gap(gamma, log_density, beta) == pytest.approx(0, abs=1e-8)


def test_fit_rises_and_more_weight_gives_more_balance() -> None:
    x = mixture(2000, 24, 9, skew=1.2)
    start: Theta = seed_theta(x, 6, np.random.default_rng(0), 1.0, 1e4)
    sizes = []
    for beta in (0.01, 200.0):
        fit = fit_entropy(x, start, beta, max_iter=40)
        values = [line.objective for line in fit.end.trace if line.claimed]
        assert np.all(np.diff(values) >= -1e-8 * abs(values[-1]))
        sizes.append(balance(fit.labels, 6).n_eff)
    assert sizes[1] > sizes[0]
