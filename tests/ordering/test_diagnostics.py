"""Guideline figures on orders whose behaviour is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.ordering.config import CurveConfig
from gem_assets.ordering.diagnostics import Diagnostics, diagnose, rank_scale, window_share_error
from gem_assets.ordering.operators import order

SCORES = np.random.default_rng(0).permutation(500).astype(float)


def measured(**fields: object) -> Diagnostics:
    return diagnose(SCORES[order(SCORES, CurveConfig.model_validate(fields))])


def test_boundary() -> None:
    curriculum = measured(strategy="curriculum")
    folded = measured(strategy="folding", layers=3)
    assert (curriculum.boundary_head, curriculum.boundary_tail) == pytest.approx((0.049, 0.951), abs=0.001)
    assert (folded.boundary_head, folded.boundary_tail) == pytest.approx((0.147, 0.849), abs=0.005)
    assert measured(strategy="saw").boundary_tail == pytest.approx(curriculum.boundary_tail)
    assert measured(strategy="random").boundary_head == pytest.approx(0.5, abs=0.1)


def test_cyclic() -> None:
    assert measured(strategy="curriculum").cyclic_gap == pytest.approx(0.9)
    assert measured(strategy="folding", layers=3).cyclic_gap == pytest.approx(0.3, abs=0.01)
    assert measured(strategy="curriculum").cyclic_descent == 0
    assert measured(strategy="folding", layers=3).cyclic_descent == pytest.approx(1.95, abs=0.1)
    assert measured(strategy="saw", layers=3, sections=3, folding_ratio=0.1).cyclic_descent > 0.3


def test_continuity() -> None:
    assert measured(strategy="curriculum").continuity_step == pytest.approx(1 / 499)
    assert measured(strategy="zigzag", layers=3).continuity_step == pytest.approx(3 / 499)
    assert measured(strategy="folding", layers=3).continuity_step == pytest.approx(0.996, abs=0.001)
    assert measured(strategy="stair", sections=2, layers=3, folding_ratio=0.225).continuity_step == pytest.approx(
        0.443, abs=0.01
    )
    assert measured(strategy="saw", sections=3, layers=2, folding_ratio=0.075).continuity_step == pytest.approx(
        0.150, abs=0.005
    )


def test_local_diversity() -> None:
    curriculum, jittered = measured(strategy="curriculum"), measured(strategy="curriculum", window=16)
    assert curriculum.diversity == pytest.approx(0.0058, abs=0.0002)
    assert jittered.diversity == pytest.approx(0.012, abs=0.001)
    assert measured(strategy="random").diversity == pytest.approx(0.268, abs=0.01)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=1, max_size=80), st.integers(1, 12))
def test_figures_stay_on_the_rank_scale(scores: list[float], batch: int) -> None:
    got = diagnose(scores, batch=batch)
    values = got.as_dict()
    assert all(0 <= values[name] <= 1 for name in values if name not in ("n", "cyclic_descent", "cyclic_gap"))
    assert 0 <= got.cyclic_gap < 1
    ranks = rank_scale(scores)
    assert ranks.mean() == pytest.approx(0.5)


def test_a_constant_score_has_no_order() -> None:
    got = diagnose(np.ones(40))
    assert (got.boundary_head, got.continuity_step, got.diversity, got.cyclic_gap) == (0.5, 0, 0, 0)


def test_window_share_error_sees_a_missing_cluster() -> None:
    tokens = np.full(8, 10)
    shares = {0: 0.5, 1: 0.5}
    assert window_share_error(np.array([0, 1] * 4), tokens, shares, window=2) == 0
    assert window_share_error(np.array([0, 0, 1, 1] * 2), tokens, shares, window=2) == 0.5


@pytest.mark.parametrize("scores", [[], [float("nan")], [[1.0, 2.0]]])
def test_sequences_that_cannot_be_measured_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"scores"):
        diagnose(scores)
