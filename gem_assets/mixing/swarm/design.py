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
    with_anchors,
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

    Raises
    ------
    ValueError
        When the sampler's bounds leave too few distinct mixtures, or groups are missing.
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


def design_swarm(
    supply: ClusterSupply,
    config: MixingConfig,
    count: int,
    *,
    sampler: Sampler = "regmix",
    groups: NDArray[np.int64] | None = None,
    lexical_optimum: Floats | None = None,
    seed: int = 42,
) -> SwarmDesign:
    """Choose the mixtures of a swarm.

    Parameters
    ----------
    supply
        What there is of each cluster; its token shares are the prior.
    lexical_optimum
        Shares of the optimum of stage 0, ``(K,)``; left out when None.

    Raises
    ------
    ValueError
        When the sampler's bounds leave too few distinct mixtures.
    """
    fixed = baseline_mixtures(supply, config)
    if lexical_optimum is not None:
        fixed[LEXICAL] = np.asarray(lexical_optimum, np.float64)
    left = count - len(fixed)
    prior = supply.token_shares
    drawn = draw_mixtures(sampler, prior, left, groups=groups, seed=seed) if left > 0 else np.empty((0, len(prior)))
    rows = with_anchors(drawn, list(fixed.values()))
    labels: list[str] = []
    for number, row in enumerate(rows):
        same = (name for name, shares in fixed.items() if np.abs(row - shares).sum() <= NEAR)
        labels.append(next((name for name in same if name not in labels), f"{sampler}-{number:03d}"))
    return SwarmDesign(tuple(labels), rows)


def baseline_mixtures(supply: ClusterSupply, config: MixingConfig) -> dict[str, Floats]:
    """Return the fixed mixtures within the repetition caps, shares in the order of the supply's clusters."""
    caps = caps_of(supply, config)
    return {name: apply_caps(HEURISTICS[name](supply, config), caps) for name in BASELINES}
