import dataclasses
import json

import numpy as np
import pytest

from gem_assets.mixing.config import ContinualConfig, MixingConfig
from gem_assets.mixing.continual.continuation import Continuation, group_losses
from gem_assets.mixing.method_data import MethodData
from gem_assets.mixing.methods.critical_ratio import (
    ContinualError,
    RatioRuns,
    critical_ratio_recipe,
    domain_mask,
    publish_ratio_recipe,
)
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.pool import TokenPool
from tests.proxy.worlds import markov_world

TOKENS = np.array([4000, 4000, 1500, 500])
CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
    training=TrainingConfig(tokens=64 * 64, batch=4, precision="fp32", cool_down=0.2),
)
CONTINUAL = ContinualConfig(clusters=(2,), ratios=(0.0, 0.5, 1.0), checks=3)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three clusters with text, and one that had none when the tokens were prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    pool, evaluation = markov_world()
    TokenPool.of([*(pool.domain(k) for k in range(3)), np.zeros(0, np.uint16)], pool.vocab).save(folder)
    dataclasses.replace(evaluation, names=("0", "1", "2")).save(folder)
    return folder


def frame(**changes):
    supply = ClusterSupply(np.arange(4), TOKENS // 100, TOKENS, TOKENS * 4)
    names = {k: f"cluster {k}" for k in range(4)}
    return MixtureFrame(supply, names, "v1", "bytes", MixingConfig(**({"repetition_cap": 10} | changes)))


def planted(drop=0.1, ratios=(0.0, 0.1, 0.2, 0.4, 0.6, 0.8)):
    """General loss ``2.5 - drop·t + 0.4 R^1.5``: safe up to ``(drop·t/0.4)^(2/3)``, t of the tokens gone."""
    tokens, r = (a.ravel() for a in np.meshgrid([1000.0, 2000.0, 4000.0], np.array(ratios)))
    general = 2.5 - drop * tokens / 4000 + 0.4 * r**1.5
    return RatioRuns(r, tokens, general, 3 - r, (2.5, 3.0))


def test_the_planted_ratio_becomes_the_domain_s_share(tmp_path):
    domain = np.array([False, False, True, True])
    recipe = publish_ratio_recipe(planted(), domain, frame(), tmp_path)
    safe = (0.1 / 0.4) ** (2 / 3)
    assert recipe.shares[domain].sum() == pytest.approx(safe, abs=1e-3)
    # natural proportions on either side
    assert recipe.shares[2] / recipe.shares[3] == pytest.approx(3)
    assert recipe.shares[0] == pytest.approx(recipe.shares[1])
    assert "0.397 of domain text" in recipe.evidence.verdict
    tables = json.loads((tmp_path / "evidence.json").read_text())
    assert [row["tokens"] for row in tables["laws"]] == [1000, 2000, 4000]
    assert tables["laws"][0]["critical_ratio"] == pytest.approx((0.025 / 0.4) ** (2 / 3), abs=1e-3)
    assert tables["runs"][0] == {"ratio": None, "tokens": 0.0, "general_loss": 2.5, "domain_loss": 3.0}
    assert len(tables["runs"]) == 19


def test_caps_and_the_largest_ratio_tried_hold_it_back(tmp_path):
    domain = np.array([False, False, True, True])
    capped = publish_ratio_recipe(planted(), domain, frame(repetition_cap=1.5), tmp_path)
    assert capped.shares[domain].sum() == pytest.approx(0.3)
    assert any("hold the domain at 0.300" in note for note in capped.evidence.notes)
    allowing = frame(continual=ContinualConfig(allowed_rise=0.35))
    held = publish_ratio_recipe(planted(), domain, allowing, tmp_path)
    assert held.shares[domain].sum() == pytest.approx(0.8)
    assert any("held at 0.8" in note for note in held.evidence.notes)


def test_where_the_general_loss_rises_without_domain_text_nothing_is_safe(tmp_path):
    domain = np.array([False, False, True, True])
    recipe = publish_ratio_recipe(planted(drop=-0.1), domain, frame(), tmp_path)
    assert (recipe.shares[domain] == 0).all()
    assert "no part of domain text is safe" in recipe.evidence.verdict


def test_runs_forget_general_text_with_the_ratio(prepared, tmp_path):
    said = []
    recipe = critical_ratio_recipe(prepared, frame(continual=CONTINUAL), CONFIG, tmp_path, report=said.append)
    runs = json.loads((tmp_path / "evidence.json").read_text())["runs"][1:]
    last = {row["ratio"]: row for row in runs if row["tokens"] == max(r["tokens"] for r in runs)}
    assert last[0.0]["general_loss"] < last[0.5]["general_loss"] < last[1.0]["general_loss"]
    assert last[0.0]["domain_loss"] > last[0.5]["domain_loss"] > last[1.0]["domain_loss"]
    assert len(runs) == 9
    assert said[-1] == "ratio 3 of 3"
    assert recipe.shares[3] <= recipe.shares[0]


def test_continuations_start_from_the_same_place(prepared):
    data = MethodData.load(prepared, None, 16)
    model = Continuation(data, np.full(3, 1 / 3), CONFIG, part=0.5, checks=2)
    assert model.steps == 32
    start = model.restart()
    first = [model.advance(np.eye(3)[0]) for _ in range(2)]
    assert first[1][0] < start[0]
    np.testing.assert_array_equal(model.restart(), start)
    np.testing.assert_array_equal(model.advance(np.eye(3)[0]), first[0])


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ((), r"mixing.continual.clusters names no cluster.*clusters = \[0\]"),
        ((1, 9), "names 9; the clusters are 0 to 3"),
        ((0, 1, 2, 3), "names all clusters"),
    ],
)
def test_settings_that_name_no_domain_are_refused(named, why):
    with pytest.raises(ContinualError, match=why):
        domain_mask(np.arange(4), named)


def test_a_domain_without_text_or_windows_is_refused(prepared, tmp_path):
    without = frame(continual=ContinualConfig(clusters=(2, 3)))
    with pytest.raises(ContinualError, match=r"clusters 3 of mixing\.continual\.clusters hold less text"):
        critical_ratio_recipe(prepared, without, CONFIG, tmp_path)
    data = MethodData.load(prepared, None, 16)
    assert group_losses(data, np.array([1, 2]), np.array([3.0, 1.0])) == pytest.approx([0, 0.75, 0.25])
    with pytest.raises(ValueError, match="no held-out window is of the clusters 7"):
        group_losses(data, np.array([7]), np.ones(1))
