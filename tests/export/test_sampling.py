"""Trainers' sampling rules restated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.export import sampling

weights = st.lists(st.floats(0.001, 1), min_size=1, max_size=12)


@settings(deadline=None)
@given(weights, st.integers(0, 2000))
def test_greedy_counts_stay_near_their_weights(row: list[float], samples: int) -> None:
    shares = np.array(row)
    counts = sampling.greedy_counts(shares, samples)
    assert counts.sum() == samples
    assert np.abs(counts - shares / shares.sum() * samples).max() <= len(row)


def test_greedy_counts_follow_the_documented_example() -> None:
    # nanotron's docs: weights .1 .5 .3 .1 over 20 samples
    assert sampling.greedy_counts(np.array([0.1, 0.5, 0.3, 0.1]), 20).tolist() == [2, 10, 6, 2]


def test_very_long_runs_are_apportioned(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = sampling.greedy_counts(np.array([0.15, 0.35, 0.5]), 1000)
    monkeypatch.setattr(sampling, "_STEPS", 10)
    assert np.abs(sampling.greedy_counts(np.array([0.15, 0.35, 0.5]), 1000) - exact).max() <= 1


@settings(deadline=None)
@given(weights, st.integers(0, 5000))
def test_largest_remainder_is_within_one(row: list[float], total: int) -> None:
    shares = np.array(row)
    counts = sampling.largest_remainder(shares, total)
    assert counts.sum() == total
    assert np.abs(counts - shares / shares.sum() * total).max() < 1


def test_block_counts_truncate_to_the_largest() -> None:
    assert sampling.block_counts(np.array([0.599, 0.4, 0.001]), 100).tolist() == [60, 40, 0]


@settings(deadline=None)
@given(weights, st.integers(1, 3000), st.integers(0, 99))
def test_epoch_choices_fill_the_epoch(row: list[float], size: int, seed: int) -> None:
    counts = sampling.epoch_choices(np.array(row), size, seed)
    assert counts.sum() == size
    assert np.abs(counts - np.array(row) / sum(row) * size).max() <= 1 + 1e-9


def test_interleave_counts_stop_where_a_run_is_too_long() -> None:
    counts = sampling.interleave_counts([0.25, 0.75], 2500, 3)
    assert counts is not None
    assert counts.sum() == 2500
    assert counts[1] == pytest.approx(1875, abs=120)
    assert sampling.interleave_counts([0.5, 0.5], 10**9, 3) is None
