import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gem_assets.teacher.esteps import (
    DenseScores,
    dual_newton,
    mirror_step,
    primal,
    proximal_step,
    softmax_rows,
    uniform,
)
from gem_assets.teacher.rows import Blocks


def problem(n: int, k: int, scale: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, k)) + 3 * scale * rng.standard_normal(k)


problems = st.builds(
    problem,
    n=st.integers(1, 60),
    k=st.integers(2, 7),
    scale=st.sampled_from([0.1, 1.0, 20.0, 300.0]),
    seed=st.integers(0, 10_000),
)
lams = st.sampled_from([0.5, 10.0, 500.0, 20_000.0])


def solve(log_density: np.ndarray, lam: float, gap_tol: float = 1e-10):
    n, k = log_density.shape
    scores = DenseScores(log_density, Blocks(n, 16))
    return scores, dual_newton(scores, lam, uniform(k), gap_tol=gap_tol)


@given(problems, lams)
@settings(max_examples=150, deadline=None)
def test_dual_gap_certifies_the_primal_value(log_density: np.ndarray, lam: float) -> None:
    scores, step = solve(log_density, lam)
    gamma = scores.responsibilities(step.b)
    value = primal(gamma, log_density, uniform(scores.k), lam)
    size = max(1.0, abs(value))
    assert step.objective == pytest.approx(value, abs=1e-9 * size)
    dual = scores.statistics(step.b, gram=False).mean_lse - step.b.mean() + step.b @ step.b / (2 * lam)
    assert dual - value == pytest.approx(step.gap, abs=1e-8 * size)
    assert step.gap <= 1e-8


@given(problems, lams, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_no_responsibilities_beat_the_dual_solution(log_density: np.ndarray, lam: float, seed: int) -> None:
    scores, step = solve(log_density, lam)
    rng = np.random.default_rng(seed)
    target = uniform(scores.k)
    for _ in range(5):
        other = softmax_rows(log_density + lam * rng.standard_normal(scores.k) / scores.k)[0]
        assert primal(other, log_density, target, lam) <= step.objective + 1e-7 * max(1.0, abs(step.objective))


def test_dual_solution_agrees_with_a_general_purpose_minimiser() -> None:
    log_density, lam = problem(200, 4, 5.0, 3), 40.0
    scores, step = solve(log_density, lam)

    def dual(b: np.ndarray) -> float:
        return scores.statistics(b, gram=False).mean_lse - b.mean() + b @ b / (2 * lam)

    found = minimize(dual, np.zeros(4), tol=1e-12)
    np.testing.assert_allclose(step.b, found.x, atol=1e-4)
    np.testing.assert_allclose(step.b, -lam * (step.pi - 0.25), atol=1e-4)


@given(problems, lams)
@settings(max_examples=60, deadline=None)
def test_proximal_and_mirror_steps_never_lower_the_objective_nor_pass_the_dual(
    log_density: np.ndarray, lam: float
) -> None:
    scores, best = solve(log_density, lam)
    target = uniform(scores.k)
    start = softmax_rows(log_density / 10)[0]
    for stepper in (proximal_step, mirror_step):
        gamma, value = start, primal(start, log_density, target, lam)
        for _ in range(6):
            step = stepper(log_density, gamma, lam, target)
            slack = 1e-9 * max(1.0, abs(value))
            assert step.objective >= value - slack
            assert step.objective <= best.objective + 1e-7 * max(1.0, abs(value))
            gamma, value = step.gamma, step.objective


def test_proximal_reaches_the_exact_optimum_and_mirror_does_not() -> None:
    log_density, lam = problem(400, 5, 10.0, 1), 500.0
    scores, best = solve(log_density, lam)
    gamma = softmax_rows(log_density.copy())[0]
    curvature = None
    for _ in range(60):
        step = proximal_step(log_density, gamma, lam, uniform(scores.k), curvature)
        gamma, curvature = step.gamma, step.curvature
    assert best.objective - step.objective < 1e-5
    slow = softmax_rows(log_density.copy())[0]
    for _ in range(60):
        slow_step = mirror_step(log_density, slow, lam, uniform(scores.k))
        slow = slow_step.gamma
    assert best.objective - slow_step.objective > best.objective - step.objective


def test_squared_distance_is_at_most_the_divergence() -> None:
    rng = np.random.default_rng(0)
    for k in (2, 5, 30):
        p, q = rng.dirichlet(np.full(k, 0.5), 4000), rng.dirichlet(np.full(k, 0.5), 4000)
        divergence = np.sum(p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), axis=1)
        assert np.all(np.sum((p - q) ** 2, axis=1) <= divergence + 1e-12)
    # the constant 1 cannot be lowered: two clusters, near the even split
    p, q = np.array([0.5 + 1e-4, 0.5 - 1e-4]), np.array([0.5, 0.5])
    assert np.sum((p - q) ** 2) / np.sum(p * np.log(p / q)) == pytest.approx(1, abs=1e-6)


def test_lambda_zero_is_plain_em_and_a_large_one_makes_shares_equal() -> None:
    log_density = problem(500, 6, 3.0, 2)
    scores, plain = solve(log_density, 0.0)
    assert not plain.b.any()
    np.testing.assert_allclose(plain.pi, softmax_rows(log_density.copy())[0].mean(axis=0))
    _, tight = solve(log_density, 1e7)
    np.testing.assert_allclose(tight.pi, 1 / scores.k, atol=1e-5)


def test_other_targets_are_reached() -> None:
    log_density = problem(500, 3, 2.0, 5)
    target = np.array([0.6, 0.3, 0.1])
    scores = DenseScores(log_density, Blocks(500, 64))
    step = dual_newton(scores, 1e7, target, gap_tol=1e-10)
    np.testing.assert_allclose(step.pi, target, atol=1e-5)


def test_a_cluster_that_no_row_wants_does_not_break_newton() -> None:
    log_density = problem(300, 40, 1.0, 8)
    log_density[:, 7] -= 900.0
    log_density[:, 9] += 900.0
    _, step = solve(log_density, 50_000.0)
    assert step.gap <= 1e-8
    assert np.all(np.isfinite(step.b))


def test_blocks_do_not_change_the_sums() -> None:
    log_density = problem(100, 4, 1.0, 4)
    one = dual_newton(DenseScores(log_density, Blocks(100, 100)), 50.0, uniform(4))
    many = dual_newton(DenseScores(log_density, Blocks(100, 7)), 50.0, uniform(4))
    np.testing.assert_allclose(one.b, many.b, atol=1e-6)
