"""What a fit claims about the objective itself: its scale, its special cases, and what it reads at a time."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.teacher import fitting
from gem_assets.teacher.ascent import Ascent, Plan
from gem_assets.teacher.config import EStepName
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import softmax_rows, uniform
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.mstep import Sums, Theta, maximise
from gem_assets.teacher.start import fixed_rule, seed_theta
from tests.teacher.conftest import mixture

FAST = {"n_init": 1, "anneal_iter": 12, "threads": 1}


def ascend(x: np.ndarray, theta: Theta, lam: float, e_step: EStepName = "dual", iterations: int = 8) -> list[float]:
    plan = Plan(fixed_rule(lam), 1.0, 1e4, max_iter=iterations, tol=1e-12, gap_tol=1e-9)
    end = Ascent(DenseEngine(x, uniform(theta.k), e_step), plan, "test").run(theta)
    return [line.objective for line in end.trace if line.claimed]


@given(
    n=st.integers(12, 150),
    d=st.integers(4, 80),
    k=st.integers(2, 8),
    lam=st.sampled_from([0.0, 3.0, 400.0, 30_000.0]),
    seed=st.integers(0, 10**6),
    e_step=st.sampled_from(["dual", "proximal", "mirror"]),
)
@settings(max_examples=25, deadline=None)
def test_the_objective_never_falls_on_any_problem_with_any_e_step(
    n: int, d: int, k: int, lam: float, seed: int, e_step: EStepName
) -> None:
    x = mixture(n, d, 4, spread=0.8, skew=1.0, seed=seed)
    values = ascend(x, seed_theta(x, k, np.random.default_rng(seed), 1.0, 1e4), lam, e_step)
    assert len(values) > 1
    assert np.all(np.diff(values) >= -1e-8 - 1e-11 * np.abs(values[-1]))


def test_without_balance_the_fit_is_plain_em() -> None:
    x = mixture(400, 16, 5, seed=3)
    theta = start = seed_theta(x, 4, np.random.default_rng(1), 1.0, 1e4)
    expected = []
    for _ in range(30):
        scores = x.astype(np.float64) @ theta.directions().T + theta.constants()
        gamma, likelihood = softmax_rows(scores)
        expected.append(likelihood.mean())
        theta = maximise(Sums(gamma.sum(axis=0), gamma.T @ x), theta, 1.0, 1e4)
    found = ascend(x, start, 0.0, iterations=6)
    # the stretch before the claim takes plain steps too, while it looks whether lambda stands still
    first = int(np.argmin(np.abs(np.array(expected) - found[0])))
    np.testing.assert_allclose(found, expected[first : first + 6], rtol=1e-10)


def test_lambda_is_per_document_so_repeating_the_corpus_changes_nothing() -> None:
    x = mixture(900, 24, 8, skew=1.0)
    once = GemTeacher(6, lam=700.0, **FAST).fit(x)
    twice = GemTeacher(6, lam=700.0, anchor=0.0, **FAST).fit(np.concatenate([x, x]), previous=once)
    assert twice.objective_[-1] == pytest.approx(once.objective_[-1], abs=1e-3)
    assert np.mean(twice.labels_[:900] == once.labels_) > 0.995
    np.testing.assert_array_equal(twice.labels_[:900], twice.labels_[900:])


def test_lambda_taken_literally_as_a_sum_over_documents_does_not_balance() -> None:
    x = mixture(4000, 32, 12, skew=1.5, spread=1.2)
    sizes = {
        name: balance(GemTeacher(8, lam=lam, **FAST).fit(x).labels_, 8).n_eff
        for name, lam in (("none", 0.0), ("literal", 1000.0 / 4000), ("per document", 1000.0))
    }
    assert abs(sizes["literal"] - sizes["none"]) < 0.1
    assert sizes["per document"] > sizes["none"] + 0.5


@pytest.mark.parametrize("path", ["dense", "sparse"])
def test_a_wanted_distribution_is_followed_on_both_paths(path: str) -> None:
    x = mixture(3000, 32, 16, spread=1.0)
    target = (0.4, 0.3, 0.2, 0.1)
    teacher = GemTeacher(4, lam=20_000.0, target=target, path=path, **FAST).fit(x)
    np.testing.assert_allclose(np.bincount(teacher.labels_) / 3000, target, atol=0.02)
    assert teacher.gap_ < 1e-8


def test_rows_in_a_file_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n, d = 70_000, 192
    path = tmp_path / "rows.f32"
    rows = np.memmap(path, dtype=np.float32, mode="w+", shape=(n, d))
    for start in range(0, n, 10_000):
        rows[start : start + 10_000] = mixture(10_000, d, 8, spread=0.4, seed=start % 3)
    rows.flush()
    monkeypatch.setattr(fitting, "SAMPLE_MOST", 4_000)
    options = {**FAST, "path": "sparse", "init_rows": 512, "max_iter": 2}
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(n, d))
    lines: list[str] = []
    tracemalloc.start()
    teacher = GemTeacher(4, **options).fit(mapped, progress=lambda line: lines.append(line.stage))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "sample" in lines
    assert teacher.gap_ < 1e-8
    assert peak < rows.nbytes / 2
