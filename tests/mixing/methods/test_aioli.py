import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.methods.aioli import Aioli, normalise, smoothed_one_hot, unmix


@pytest.fixture
def fixtures(golden_folder):
    return json.loads((golden_folder / "unit_fixtures.json").read_text())


def test_unmixing(fixtures):
    case = fixtures["aioli_learnparams"]
    drops = np.array(case["mean_loss_drop_rows_are_eval_domain_cols_are_played_mixture"])
    assert np.abs(unmix(drops, case["one_hot_factor"]) - case["A"]).max() < 1e-6


def test_update(fixtures):
    case = fixtures["aioli_update"]
    for eta, expected in case["weights_by_eta"].items():
        state = Aioli(3, eta=float(eta), ema=None)
        drops = np.array(case["A"]) @ smoothed_one_hot(3, state.mass).T
        assert np.abs(state.update(drops) - expected).max() < 1e-6


@given(st.integers(2, 6), st.floats(0.55, 1.0), st.integers(0, 99))
@settings(deadline=None)
def test_unmixing_inverts_what_a_linear_law_shows(count, mass, seed):
    matrix = np.random.default_rng(seed).normal(size=(count, count))
    drops = matrix @ smoothed_one_hot(count, mass).T
    assert np.allclose(unmix(drops, mass), matrix, atol=1e-8)


def test_domain_that_helps_all_gains_weight():
    drops = np.array([[0.3, 0.05, 0.05], [0.3, 0.1, 0.05], [0.3, 0.05, 0.1]])
    for ema in (0.1, None):
        state = Aioli(3, eta=2.0, ema=ema)
        for _ in range(5):
            state.update(drops)
        assert np.argmax(state.weights) == 0


def test_running_average_restarts_from_uniform_and_the_other_accumulates():
    drops = np.diag([0.5, 0.1, 0.1])
    averaged, cumulative = Aioli(3, ema=0.1), Aioli(3, ema=None)
    first = averaged.update(drops).copy()
    assert np.allclose(averaged.update(drops), first)
    start = cumulative.update(drops).copy()
    assert np.allclose(start, first)
    assert cumulative.update(drops)[0] > start[0]


def test_weights_hardly_move_for_a_small_step():
    state = Aioli(3, eta=0.2)
    state.update(np.random.default_rng(0).random((3, 3)))
    assert np.abs(state.weights - 1 / 3).max() < 0.05


def test_nothing_learned_is_even_and_nonsense_is_refused():
    assert np.allclose(normalise(np.zeros((2, 2))), 0.25)
    with pytest.raises(ValueError, match=r"must exceed 0\.333"):
        smoothed_one_hot(3, 0.3)
    with pytest.raises(ValueError, match="ema"):
        Aioli(3, ema=1.0)
