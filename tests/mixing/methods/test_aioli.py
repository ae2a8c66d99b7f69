import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.methods.aioli import (
    Aioli,
    normalise,
    smoothed_one_hot,
    static_optimum_two,
    step_from,
    unmix,
)


@pytest.fixture
def fixtures(golden_folder):
    return json.loads((golden_folder / "unit_fixtures.json").read_text())


@pytest.fixture
def published(golden_folder):
    return json.loads((golden_folder / "aioli" / "law_results.json").read_text())


def test_unmixing(fixtures):
    case = fixtures["aioli_learnparams"]
    drops = np.array(case["mean_loss_drop_rows_are_eval_domain_cols_are_played_mixture"])
    assert np.abs(unmix(drops, case["one_hot_factor"]) - case["A"]).max() < 1e-6


def test_update(fixtures):
    case = fixtures["aioli_update"]
    for eta, expected in case["weights_by_eta"].items():
        found = step_from(np.full(3, 1 / 3), normalise(np.array(case["A"])), float(eta))
        assert np.abs(found - expected).max() < 1e-6


@given(st.integers(2, 6), st.floats(0.55, 1.0), st.integers(0, 99))
@settings(deadline=None)
def test_unmixing_inverts_what_a_linear_law_shows(count, mass, seed):
    matrix = np.random.default_rng(seed).normal(size=(count, count))
    drops = matrix @ smoothed_one_hot(count, mass).T
    assert np.allclose(unmix(drops, mass), matrix, atol=1e-8)


def test_static_optimum_of_the_published_laws(published, fixtures):
    laws = published["arxiv_books_stackexchange/params_static.pkl"]
    fitted = {d: laws[d]["5000"] for d in ("arxiv", "book", "stackexchange")}
    grid = np.array([(i, j, 400 - i - j) for i in range(401) for j in range(401 - i)]) / 400
    for seed, expected in fixtures["aioli_static_optimum"]["seeds"].items():
        total = sum(np.exp(v[seed][1] + grid[:, :2] @ np.array(v[seed][2:])) for v in fitted.values())
        best = int(np.argmin(total))
        assert grid[best].tolist() == expected[:3]
        assert total[best] == pytest.approx(expected[3], abs=5e-5)


def test_two_domains_in_closed_form(published, fixtures):
    laws = published["arxiv_stackexchange/params_static.pkl"]
    for seed, expected in fixtures["aioli_two_domain_closed_form"]["p_arxiv_star"].items():
        (_, k1, b1), (_, k2, b2) = (laws[d]["5000"][seed] for d in ("arxiv", "stackexchange"))
        found = static_optimum_two(np.array([k1, k2]), np.array([b1, b2]))
        assert found == pytest.approx(expected, abs=6e-4)
        shares = np.linspace(0.001, 0.999, 4000)
        objective = np.exp(k1 * shares + b1) + np.exp(k2 * (1 - shares) + b2)
        assert found == pytest.approx(shares[np.argmin(objective)], abs=5e-4)


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
    with pytest.raises(ValueError, match="negative"):
        static_optimum_two(np.array([-1.0, 0.5]), np.zeros(2))
