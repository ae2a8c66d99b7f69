import json

import numpy as np
import pytest

from gem_assets.mixing.caps import InfeasibleMixtureError
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.methods.end_upsampling import (
    UpsamplingError,
    publish_end_upsampling,
    raised,
    two_phases,
    upsampled_recipe,
)
from gem_assets.mixing.recipe import RecipeEvidence
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from tests.mixing.online.test_single_run import TOKENS, frame


def of_three(repetition_cap):
    counts = np.array([600, 300, 100])
    supply = ClusterSupply(np.arange(3), counts // 10, counts, counts * 4)
    names = {0: "web", 1: "news", 2: "maths"}
    return MixtureFrame(supply, names, "v", "bytes", MixingConfig(repetition_cap=repetition_cap))


def test_raised_clusters_take_their_share_in_proportion():
    found = raised(np.array([0.6, 0.2, 0.15, 0.05]), [2, 3], 0.6)
    assert found == pytest.approx([0.3, 0.1, 0.45, 0.15])
    assert raised(np.array([0.5, 0.5]), [1], 1.0) == pytest.approx([0.0, 1.0])


def test_a_recipe_of_two_phases():
    base = np.array([0.6, 0.3, 0.1])
    found = upsampled_recipe(base, raised(base, [2], 0.5), of_three(4.0), 0.2)
    assert [p.fraction for p in found.phases] == [0.8, 0.2]
    assert found.phases[1].shares == pytest.approx([1 / 3, 1 / 6, 0.5])
    assert found.shares == pytest.approx([0.8 * 0.6 + 0.2 / 3, 0.8 * 0.3 + 0.2 / 6, 0.8 * 0.1 + 0.1])
    assert found.entry(2).implied_epochs == pytest.approx(1.8)
    assert found.evidence is not None
    assert "move 40 %" in found.evidence.notes[0]


def test_the_last_phase_gets_what_the_caps_have_left():
    # 100 tokens of the last cluster may be read twice, 80 are read in the first phase: 120 of 200 are left
    base = np.array([0.6, 0.3, 0.1])
    (_, _), (_, second) = two_phases(base, np.array([0.0, 0.1, 0.9]), of_three(2.0), 0.2)
    assert second == pytest.approx([0.0, 0.4, 0.6])


def test_what_cannot_be_is_refused():
    base = np.array([0.6, 0.3, 0.1])
    with pytest.raises(UpsamplingError, match="name clusters by position"):
        raised(base, [3], 0.5)
    with pytest.raises(UpsamplingError, match="must be in"):
        raised(base, [0], 0.0)
    with pytest.raises(UpsamplingError, match="both need a share"):
        raised(np.array([1.0, 0.0]), [1], 0.5)
    with pytest.raises(UpsamplingError, match="inside"):
        two_phases(base, base, of_three(4.0), 1.0)
    with pytest.raises(UpsamplingError, match="cluster 2 is over its cap"):
        two_phases(np.array([0.0, 0.0, 1.0]), base, of_three(4.0))
    with pytest.raises(InfeasibleMixtureError, match="cannot be filled"):
        two_phases(base, np.array([0.0, 0.0, 1.0]), of_three(1.0))


def test_the_last_part_is_spent_on_the_other_recipe(tmp_path):
    held = frame()
    base = held.recipe("proportional", held.supply.token_shares, RecipeEvidence(method="proportional"))
    final = held.recipe("lexical", np.array([0.1, 0.5, 0.4, 0.0]), RecipeEvidence(method="lexical"))
    recipe = publish_end_upsampling(base, final, held, tmp_path)
    assert [p.fraction for p in recipe.phases] == [0.85, 0.15]
    assert recipe.shares == pytest.approx(0.85 * base.shares + 0.15 * final.shares)
    assert len(json.loads((tmp_path / "evidence.json").read_text())["phases"]) == 2
    with pytest.raises(ValueError, match="recipe proportional is of other clusters"):
        publish_end_upsampling(base, final, frame(TOKENS[:3]), tmp_path)
