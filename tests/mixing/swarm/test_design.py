import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import baseline_mixtures, design_swarm, draw_mixtures

TOKENS = np.array([900_000, 60_000, 30_000, 10_000])
SUPPLY = ClusterSupply(np.arange(4), TOKENS // 100, TOKENS, TOKENS * 4)


@pytest.mark.parametrize("sampler", ["regmix", "hierarchical", "low_discrepancy", "d_optimal"])
def test_the_fixed_mixtures_are_always_among_them(sampler):
    optimum = np.array([0.4, 0.2, 0.36, 0.04])
    config, groups = MixingConfig(repetition_cap=12), np.array([0, 0, 1, 1])
    design = design_swarm(SUPPLY, config, 12, sampler=sampler, groups=groups, lexical_optimum=optimum, seed=1)
    assert design.labels[:4] == ("uniform", "proportional", "unimax", "lexical")
    assert len(set(design.labels)) == len(design.labels) == len(design.mixtures) == 12
    assert np.allclose(design.mixtures.sum(1), 1)
    assert np.allclose(design.mixtures[1], TOKENS / TOKENS.sum())
    assert np.allclose(design.mixtures[3], optimum)


def test_a_hierarchy_needs_groups():
    with pytest.raises(ValueError, match="needs the group of each cluster"):
        draw_mixtures("hierarchical", SUPPLY.token_shares, 4)


def test_baselines_keep_the_caps():
    found = baseline_mixtures(SUPPLY, MixingConfig(repetition_cap=2.0))
    epochs = np.array([p * TOKENS.sum() / TOKENS for p in found.values()])
    assert epochs.max() <= 2 + 1e-9


def test_a_fixed_mixture_that_is_another_one_stands_once():
    equal = ClusterSupply(np.arange(3), np.full(3, 10), np.full(3, 1000), np.full(3, 4000))
    design = design_swarm(equal, MixingConfig(), 0, lexical_optimum=np.array([0.5, 0.25, 0.25]))
    assert design.labels == ("uniform", "lexical")
