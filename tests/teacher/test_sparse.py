from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from gem_assets.teacher import fitting, kernels, products
from gem_assets.teacher.ascent import Ascent, Plan
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import EStep, uniform
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.mstep import Theta
from gem_assets.teacher.products import Products
from gem_assets.teacher.rows import StackedRows
from gem_assets.teacher.sparse import SparseEngine
from gem_assets.teacher.start import fixed_rule
from tests.teacher.conftest import mixture, unit

FAST = {"n_init": 1, "anneal_iter": 15, "threads": 1}


def some_theta(x: np.ndarray, k: int, seed: int = 0, kappa: float = 300.0) -> Theta:
    rng = np.random.default_rng(seed)
    mu = x[rng.choice(len(x), k, replace=False)].astype(np.float64)
    mu += 0.3 * rng.standard_normal(mu.shape) / np.sqrt(mu.shape[1])
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    return Theta(mu, kappa * rng.uniform(0.3, 3.0, k), rng.normal(0, 5, k))


@pytest.mark.parametrize("bfloat16", [True, False])
@given(d=st.integers(5, 90), k=st.integers(2, 70), seed=st.integers(0, 10**6), window=st.floats(0.5, 30))
@settings(max_examples=40, deadline=None)
def test_no_cluster_inside_the_window_is_missed(bfloat16: bool, d: int, k: int, seed: int, window: float) -> None:
    x = mixture(128, d, 6, seed=seed)
    theta = some_theta(x, k, seed)
    scores = Products(x, [slice(0, 128)], bfloat16)
    prepared = scores.prepare(theta.directions(), theta.constants() + theta.b)
    ends, columns = kernels.find_candidates(prepared.block(slice(0, 128)), prepared.error, scores.rounding, window)
    exact = x.astype(np.float64) @ theta.directions().T + theta.constants() + theta.b
    for i in range(128):
        needed = np.flatnonzero(exact[i] >= exact[i].max() - window)
        listed = columns[ends[i] : ends[i + 1]]
        assert set(needed) <= set(listed)
        assert np.all(np.diff(listed) > 0)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_one_e_step_and_its_sums_are_those_of_the_dense_engine(bfloat16: bool) -> None:
    x = mixture(5000, 64, 30, skew=0.7)
    theta, lam = some_theta(x, 40), 20_000.0
    dense, sparse = DenseEngine(x, uniform(40)), SparseEngine(x, uniform(40), bfloat16=bfloat16)
    a, b = dense.e_step(theta, lam, 1e-10), sparse.e_step(theta, lam, 1e-10)
    assert b.objective == pytest.approx(a.objective, rel=1e-7)
    np.testing.assert_allclose(b.pi, a.pi, atol=1e-6)
    np.testing.assert_allclose(b.b, a.b, atol=0.05)
    np.testing.assert_allclose(sparse.sums().mass, dense.sums().mass, atol=5e-3)
    np.testing.assert_allclose(sparse.sums().resultant, dense.sums().resultant, atol=5e-3)
    assert np.mean(sparse.labels() == dense.labels()) > 0.999
    # running sums of rows with one cluster survive a change of parameters
    moved = some_theta(x, 40, seed=1)
    dense.e_step(moved, lam, 1e-10)
    sparse.e_step(moved, lam, 1e-10)
    np.testing.assert_allclose(sparse.sums().resultant, dense.sums().resultant, atol=5e-3)


def test_the_certificate_is_that_of_all_scores_in_float64() -> None:
    x = mixture(3000, 48, 20, skew=0.7)
    theta, lam = some_theta(x, 32), 9000.0
    engine = SparseEngine(x, uniform(32))
    step = engine.certify(theta, lam, 1e-8)
    scores = x.astype(np.float64) @ theta.directions().T + theta.constants()
    dual = logsumexp(scores + step.b, axis=1).mean() - step.b.mean() + step.b @ step.b / (2 * lam)
    gamma = np.exp(scores + step.b - logsumexp(scores + step.b, axis=1, keepdims=True))
    pi = gamma.mean(axis=0)
    primal = np.mean(np.sum(gamma * (scores - np.log(np.maximum(gamma, 1e-300))), axis=1))
    primal -= lam / 2 * np.sum((pi - 1 / 32) ** 2)
    assert step.gap <= 1e-8
    assert step.objective == pytest.approx(primal, abs=1e-8)
    assert dual - primal <= 1.1e-8
    found, dropped = engine.sparse_responsibilities(20.0)
    np.testing.assert_allclose(found.toarray(), gamma, atol=1e-6)
    assert dropped >= (gamma.sum() - found.sum()) / 3000 - 1e-6
    np.testing.assert_array_equal(engine.labels(), gamma.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_whole_sparse_fit_agrees_with_the_dense_one(bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "native_bfloat16", lambda: bfloat16)
    x = mixture(4000, 48, 40, skew=0.5, spread=0.7)
    options = {**FAST, "churn_tol": 0.0, "tol": 1e-6, "max_iter": 300, "lam": 30_000.0}
    dense = GemTeacher(24, path="dense", **options).fit(x)
    sparse = GemTeacher(24, path="sparse", **options).fit(x)
    assert sparse.objective_[-1] == pytest.approx(dense.objective_[-1], rel=1e-6)
    assert np.mean(sparse.labels_ == dense.labels_) >= 0.999
    assert np.all(np.diff(sparse.objective_) >= -1e-7 * abs(sparse.objective_[-1]))
    assert sparse.gap_ < 1e-8
    np.testing.assert_array_equal(sparse.predict(x), sparse.labels_)


def test_sparse_fit_does_not_depend_on_threads_or_on_how_rows_are_held() -> None:
    x = mixture(9000, 32, 40, spread=0.8)
    options = {**FAST, "path": "sparse", "max_iter": 6}
    one = GemTeacher(30, **options).fit(x)
    three = GemTeacher(30, **{**options, "threads": 3}).fit(x)
    shards = GemTeacher(30, **options).fit(StackedRows(np.split(x, [100, 4000])))
    for other in (three, shards):
        assert other.mu_.tobytes() == one.mu_.tobytes()
        assert other.b_.tobytes() == one.b_.tobytes()
        np.testing.assert_array_equal(other.labels_, one.labels_)


def test_large_inputs_take_the_sparse_path_through_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "DENSE_SCORES", 100_000)
    x = mixture(12_000, 48, 40, spread=0.8)
    teacher = GemTeacher(20, init_rows=400, max_iter=15, **FAST).fit(x)
    assert {"sample", "climb"} <= {line.stage for line in teacher.trace_}
    assert balance(teacher.labels_, 20).n_eff_over_k > 0.95
    assert teacher.gap_ < 1e-8


def test_soft_clusters_stay_with_the_dense_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "DENSE_SCORES", 10_000)
    teacher = GemTeacher(20, init_rows=400, max_iter=3, **FAST).fit(
        unit(np.random.default_rng(0).normal(size=(5000, 8)))
    )
    assert "sample" not in {line.stage for line in teacher.trace_}
    assert balance(teacher.labels_, 20).empty == 0


@pytest.mark.parametrize("far", [12, 1, 2])
def test_offsets_that_leave_their_lists_bring_new_lists(far: int) -> None:
    x = mixture(4000, 32, 10, skew=1.5)
    theta = some_theta(x, 12 if far == 12 else 24, kappa=500.0)
    offsets = np.zeros(theta.k)
    offsets[:far] = np.random.default_rng(3).normal(0, 300, far)
    start = theta.with_offsets(offsets)
    dense, sparse = DenseEngine(x, uniform(theta.k)), SparseEngine(x, uniform(theta.k))
    expected = dense.e_step(start, 50_000.0, 1e-8)
    found = sparse.e_step(start, 50_000.0, 1e-8)
    assert found.objective == pytest.approx(expected.objective, rel=1e-6)
    np.testing.assert_allclose(found.pi, expected.pi, atol=1e-5)


def test_lists_mended_for_a_few_clusters_are_those_made_anew() -> None:
    x = mixture(6000, 48, 24, skew=1.0)
    theta = some_theta(x, 32, kappa=400.0)
    dense, sparse = DenseEngine(x, uniform(32)), SparseEngine(x, uniform(32))
    sparse.e_step(theta, 30_000.0, 1e-8)
    mu, kappa = theta.mu.copy(), theta.kappa.copy()
    # two clusters become much sharper and much wider, which only their offsets can make good
    kappa[3] *= 8
    kappa[7] /= 3
    moved = Theta(mu, kappa, theta.b)
    expected, found = dense.e_step(moved, 30_000.0, 1e-8), sparse.e_step(moved, 30_000.0, 1e-8)
    assert found.objective == pytest.approx(expected.objective, rel=1e-7)
    np.testing.assert_allclose(sparse.sums().resultant, dense.sums().resultant, atol=5e-3)
    # and the shortened lists serve a small step further on
    mu[5:6] = unit(mu[5:6] + 0.02 * mu[6:7])
    near = Theta(mu, kappa, found.b)
    expected, found = dense.e_step(near, 30_000.0, 1e-8), sparse.e_step(near, 30_000.0, 1e-8)
    assert found.objective == pytest.approx(expected.objective, rel=1e-7)


def test_a_fall_is_looked_at_in_full_before_it_counts_as_a_defect() -> None:
    class Forgetful(SparseEngine):
        """Loses a nat in its 25th E-step unless it was told to look at everything."""

        calls = 0
        looked = 0

        def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
            self.calls += 1
            step = super().e_step(theta, lam, gap_tol)
            return replace(step, objective=step.objective - 1.0) if self.calls == 25 else step

        def renew(self) -> None:
            self.looked += 1
            super().renew()

    x = mixture(3000, 32, 12)
    plan = Plan(fixed_rule(5000.0), 1.0, 1e4, max_iter=30, tol=-1.0, gap_tol=1e-8)
    engine = Forgetful(x, uniform(12))
    end = Ascent(engine, plan, "climb").run(some_theta(x, 12))
    assert engine.looked == 1
    climbed = [line.objective for line in end.trace if line.claimed]
    assert np.all(np.diff(climbed) >= -1e-6)
