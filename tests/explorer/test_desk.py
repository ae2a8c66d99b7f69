"""The mixing desk says what the library's own laws say, and what it cannot know."""

import numpy as np
import pytest

from gem_assets.explorer.desk import POINT, Desk
from gem_assets.explorer.errors import NothingYetError, RequestError
from gem_assets.explorer.views import Views
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.settings import load_settings
from gem_assets.storage.store import Store


@pytest.fixture(scope="module")
def desk(views):
    return views.desk()


def recipe(views, name):
    return Recipe.read(views.store.artifacts.current(f"recipes/{name}").path / RECIPE_NAME)


def without(views, root, asset):
    views.store.artifacts.remove(asset)
    return Desk.of(Store(root), load_settings(root))


def test_the_desk_and_the_learned_recipe_agree(views, desk):
    learned = recipe(views, "learned")
    told = desk.predict(learned.shares, {})
    assert abs(told["mean"]["loss"] - learned.evidence.predicted_loss) < 1e-9
    assert desk.law.startswith(f"{learned.evidence.n_runs} proxies")


def test_without_a_swarm_the_ngram_model_answers_as_the_lexical_recipe_does(own_root):
    views = Views(load_settings(own_root))
    desk, lexical = without(views, own_root, "proxy_swarm"), recipe(views, "lexical")
    told = desk.predict(lexical.shares, {"natural": desk.natural})
    assert abs(told["mean"]["loss"] - lexical.evidence.predicted_loss) < 1e-9
    assert np.allclose(told["mean"]["interval"], lexical.evidence.predicted_interval, atol=1e-9)
    gain = told["mean"]["against"]["natural"]
    assert np.allclose(gain["interval"], lexical.evidence.predicted_gain_interval, atol=1e-9)
    assert desk.law.startswith("lexical proxy")
    assert told["support"] is None


def test_without_any_evidence_it_says_what_to_run(own_root):
    views = Views(load_settings(own_root))
    views.store.artifacts.remove("proxy_swarm")
    with pytest.raises(NothingYetError, match="gem run"):
        without(views, own_root, "proxy_tokens")
    with pytest.raises(NothingYetError, match="gem run"):
        Desk.of(Store(own_root / "nothing"), load_settings(own_root))


@pytest.mark.parametrize(
    "shares",
    [[], [1.0], [0.0] * 4, [1.0, -0.1, 0.0, 0.0], [float("nan"), 1, 1, 1], [float("inf"), 1, 1, 1], [[1, 1, 1, 1]]],
)
def test_what_is_no_mixture_is_refused(desk, shares):
    with pytest.raises(RequestError, match="4 numbers"):
        desk.predict(shares, {})


def test_one_point_more_is_the_difference_of_two_predictions(desk):
    """For a law with gradients up to the curvature; the others give in proportion, so the sum stays 1."""
    mixture = desk.checked([4, 3, 2, 1])
    told = desk.one_point_more(mixture)
    step = 1e-6
    for k in range(4):
        moved = mixture * (1 - step / (1 - mixture[k]))
        moved[k] = mixture[k] + step
        assert moved.sum() == pytest.approx(1.0)
        for j, target in enumerate(desk.targets):
            slope = (target.law.predict(moved[None]) - target.law.predict(mixture[None]))[0] / step
            assert told[j, k] == pytest.approx(slope * POINT, abs=2e-4)


def test_a_mixture_that_a_proxy_was_trained_on_is_supported_and_a_corner_is_not(desk):
    assert desk.support(desk.runs[0])["nearest"] == 0
    assert desk.support(desk.runs[0])["inside"]
    corner = desk.support(np.array([0.0, 0.0, 0.0, 1.0]))
    assert not corner["inside"]
    assert corner["nearest"] > corner["usual"]


def test_epochs_and_the_cap_are_those_of_the_recipe(views, desk):
    balanced = recipe(views, "balanced")
    told = desk.predict(balanced.shares, {})
    assert np.allclose(told["epochs"], [entry.implied_epochs for entry in balanced.entries])
    assert told["over_cap"] == []
    assert desk.predict([1.0, 0, 0, 0], {})["over_cap"] == [0]


def test_another_budget_than_the_proxies_stand_for_is_said(desk):
    natural, budget = desk.natural.tolist(), desk.frame.budget
    assert desk.predict(natural, {})["reservation"] is None
    assert f"{3 * budget:,}" in desk.predict(natural, {}, 3 * budget)["reservation"]


def test_the_interval_holds_the_prediction_and_is_wider_for_a_mixture_nobody_tried(desk):
    near, far = (desk.predict(shares, {})["mean"] for shares in (desk.runs.mean(axis=0), [0.0, 0.0, 0.0, 1.0]))
    width = [bounds[1] - bounds[0] for bounds in (near["interval"], far["interval"])]
    assert 0 <= width[0] < width[1]
