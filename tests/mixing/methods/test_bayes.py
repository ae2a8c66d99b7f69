import numpy as np
import pytest

from benchmarks.mixing_golden import PILE_CC, swarm
from gem_assets.mixing.laws.base import normalised_rows
from gem_assets.mixing.methods.bayes import expected_improvement, search_pool


def test_expected_improvement_is_the_mean_of_what_is_gained():
    rng = np.random.default_rng(0)
    mean, deviation = np.array([1.0, 0.0, 3.0]), np.array([0.5, 1.0, 0.1])
    drawn = mean[:, None] + deviation[:, None] * rng.normal(size=(3, 400_000))
    expected = np.maximum(0.8 - drawn, 0).mean(axis=1)
    assert expected_improvement(mean, deviation, 0.8) == pytest.approx(expected, abs=3e-3)
    assert expected_improvement(np.array([0.5, 2.0]), np.zeros(2), 1.0).tolist() == [0.5, 0.0]


def test_published_runs_are_searched_far_faster_than_by_chance(golden_folder):
    table = swarm(golden_folder, "test", "60m")
    losses, pool = table.loss_of(PILE_CC), normalised_rows(table.mixtures)
    needed = []
    for seed in range(5):
        found = search_pool(pool, lambda i: float(losses[i]), 30, seed=seed)
        assert len(set(found.tried)) == 30
        hit = np.flatnonzero(np.array(found.losses) <= losses.min())
        needed.append(int(hit[0]) + 1 if len(hit) else 256)
    # chance needs 128 of the 256 in the median
    assert np.median(needed) <= 16


def test_same_seed_same_search_and_best_is_the_lowest():
    rng = np.random.default_rng(1)
    pool = rng.dirichlet(np.ones(3), 40)
    runs = [search_pool(pool, lambda i: float(np.sum(pool[i] ** 2)), 8, first=3, seed=2) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].best == min(runs[0].tried, key=lambda i: np.sum(pool[i] ** 2))


def test_impossible_budgets_and_failed_runs_are_refused():
    pool = np.eye(3)
    with pytest.raises(ValueError, match="do not fit a pool of 3"):
        search_pool(pool, lambda i: 1.0, 4)
    with pytest.raises(ValueError, match="must not be counted"):
        search_pool(pool, lambda i: float("nan"), 2)
