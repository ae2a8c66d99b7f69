import json

import numpy as np
import pytest

from gem_assets.mixing.config import ContinualConfig
from gem_assets.mixing.continual.continuation import Continuation
from gem_assets.mixing.method_data import MethodData
from gem_assets.mixing.methods.data_mixing_agent import ContinuedRun, data_mixing_agent_recipe
from gem_assets.mixing.recipe import Recipe
from tests.mixing.methods.test_critical_ratio import CONFIG, frame, prepared

__all__ = ["prepared"]


def test_the_course_goes_where_the_target_is(prepared, tmp_path):
    said = []
    asked = frame(continual=ContinualConfig(trajectories=12, checks=3), repetition_cap=50)
    recipe = data_mixing_agent_recipe(prepared, {"2": 1.0}, asked, CONFIG, tmp_path, report=said.append)
    assert Recipe.read(tmp_path / "recipe.json") == recipe
    assert [p.fraction for p in recipe.phases] == pytest.approx([1 / 3] * 3)
    assert recipe.shares == pytest.approx(np.mean([p.shares for p in recipe.phases], axis=0))
    assert recipe.shares[3] == 0
    # the target's own domain holds 15 % of the text
    assert recipe.shares[2] > 0.3
    evidence = recipe.evidence
    assert evidence.n_runs == 14
    assert evidence.target == "2"
    assert "no proof for another model" in evidence.verdict
    assert said[-1] == "course 14"
    course = json.loads((tmp_path / "evidence.json").read_text())["course"]
    losses = [row["loss"] for row in course]
    assert losses == sorted(losses, reverse=True)


def test_what_it_steers_keeps_the_caps(prepared, tmp_path):
    asked = frame(continual=ContinualConfig(trajectories=8, checks=2), repetition_cap=2)
    recipe = data_mixing_agent_recipe(prepared, {"2": 1.0}, asked, CONFIG, tmp_path)
    assert recipe.shares[2] <= 0.3 + 1e-9


def test_its_feedback_is_the_losses_that_are_kept(prepared):
    data = MethodData.load(prepared, None, 16).only(np.array([2, 0]))
    model = Continuation(data, np.full(3, 1 / 3), CONFIG, part=0.25, checks=1)
    run = ContinuedRun(model)
    before = run.reset()
    assert before.shape == (2,)
    after = run.step(np.eye(3)[0])
    assert after[0] < before[0]
    assert after[1] > before[1]
