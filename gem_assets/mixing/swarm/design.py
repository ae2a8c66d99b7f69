"""The mixtures of a swarm: drawn ones, and always the fixed ones that every recipe is compared with.

Uniform, proportional, UniMax and the optimum of stage 0 stand first, within the repetition caps as recipes have them,
then mixtures of the chosen sampler up to the wanted number. A fixed mixture that equals an earlier one (UniMax is
uniform when no cluster is small) is trained once, under the earlier name.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps, caps_of
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.heuristics import HEURISTICS
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.samplers import (
    NEAR,
    sample_d_optimal,
    sample_hierarchical,
    sample_low_discrepancy,
    sample_regmix,
)
from gem_assets.proxy.config import Sampler
from gem_assets.types import Floats

#: Fixed mixtures that need nothing but the inventory, in the order in which they stand.
BASELINES = ("uniform", "proportional", "unimax")
LEXICAL = "lexical"


def draw_mixtures(
    sampler: Sampler, prior: Floats, count: int, *, groups: NDArray[np.int64] | None = None, seed: int = 42
) -> Floats:
    """Draw mixtures around the natural shares, ``(count, K)``.

    ``groups``, ``(K,)``, is the group of each cluster; the sampler ``hierarchical`` needs it, the others do not look at
    it.

    Raises ValueError when the sampler's bounds leave too few distinct mixtures, or groups are missing.
    """
    match sampler:
        case "regmix":
            return sample_regmix(prior, count, seed=seed)
        case "hierarchical":
            if groups is None:
                raise ValueError("the sampler 'hierarchical' needs the group of each cluster")
            return sample_hierarchical(prior, groups, count, seed=seed)
        case "low_discrepancy":
            return sample_low_discrepancy(prior, count, seed=seed)
        case "d_optimal":
            return sample_d_optimal(prior, count, seed=seed)


@dataclass(frozen=True)
class SwarmDesign:
    """Mixtures to train proxies on.

    Attributes
    ----------
    labels
        Where each comes from: a fixed mixture's name, or the sampler's with a number.
    mixtures : float64 array, shape (n, K)
        Token shares, in the order of the supply's clusters.
    """

    labels: tuple[str, ...]
    mixtures: Floats


def fixed_mixtures(supply: ClusterSupply, config: MixingConfig, lexical_optimum: Floats) -> dict[str, Floats]:
    """Return the baselines and the optimum of stage 0, ``(K,)``; what equals an earlier one is left out."""
    found: dict[str, Floats] = {}
    for name, shares in {**baseline_mixtures(supply, config), LEXICAL: lexical_optimum}.items():
        if all(np.abs(shares - known).sum() > NEAR for known in found.values()):
            found[name] = np.asarray(shares, np.float64)
    return found


def baseline_mixtures(supply: ClusterSupply, config: MixingConfig) -> dict[str, Floats]:
    """Return the fixed mixtures within the repetition caps, shares in the order of the supply's clusters."""
    caps = caps_of(supply, config)
    return {name: apply_caps(HEURISTICS[name](supply, config), caps) for name in BASELINES}
