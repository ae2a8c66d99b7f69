import numpy as np
import pytest

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import baseline_mixtures, draw_mixtures, fixed_mixtures

TOKENS = np.array([900_000, 60_000, 30_000, 10_000])
SUPPLY = ClusterSupply(np.arange(4), TOKENS // 100, TOKENS, TOKENS * 4)


@pytest.mark.parametrize("sampler", ["regmix", "hierarchical", "low_discrepancy", "d_optimal"])
def test_every_sampler_draws_mixtures_of_its_own(sampler):
    drawn = draw_mixtures(sampler, SUPPLY.token_shares, 8, groups=np.array([0, 0, 1, 1]), seed=1)
    assert drawn.shape == (8, 4)
    assert np.allclose(drawn.sum(1), 1)
    assert len(np.unique(drawn.round(9), axis=0)) == 8


def test_the_fixed_mixtures_stand_in_their_order():
    optimum = np.array([0.4, 0.2, 0.36, 0.04])
    fixed = fixed_mixtures(SUPPLY, MixingConfig(repetition_cap=12), optimum)
    assert list(fixed) == ["uniform", "proportional", "unimax", "lexical"]
    assert np.allclose(fixed["proportional"], TOKENS / TOKENS.sum())
    assert np.allclose(fixed["lexical"], optimum)


def test_a_hierarchy_needs_groups():
    with pytest.raises(ValueError, match="needs the group of each cluster"):
        draw_mixtures("hierarchical", SUPPLY.token_shares, 4)


def test_baselines_keep_the_caps():
    found = baseline_mixtures(SUPPLY, MixingConfig(repetition_cap=2.0))
    epochs = np.array([p * TOKENS.sum() / TOKENS for p in found.values()])
    assert epochs.max() <= 2 + 1e-9


def test_a_fixed_mixture_that_is_another_one_stands_once():
    equal = ClusterSupply(np.arange(3), np.full(3, 10), np.full(3, 1000), np.full(3, 4000))
    fixed = fixed_mixtures(equal, MixingConfig(), np.array([0.5, 0.25, 0.25]))
    assert list(fixed) == ["uniform", "lexical"]
