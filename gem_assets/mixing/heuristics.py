"""Shares from counts alone: the formulas behind the rules, and the mixtures that every swarm holds.

Each is a pure function from the supply to wished shares; the caps come after it.

``uniform`` and ``balanced`` differ in what they make equal. ``uniform`` gives every cluster the same number
of *tokens*. ``balanced`` gives every cluster the same number of *documents*: the GEM teacher balances the
mean responsibility over documents towards ``u = 1/K`` (Eq. 3), and what is left of imbalance after hard
labels, the student's drift and later snapshots is weighted out, each document of cluster ``k`` by ``u_k /
(n_k/N)``. In tokens that is a share in proportion to ``u_k`` times the tokens per document. Where the labels
are balanced already it is the natural mixture, so it repeats text only as far as balance was missed, and long
documents keep their length.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import budget_of
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.supply import ClusterSupply

Strategy = Callable[[ClusterSupply, MixingConfig], NDArray[np.float64]]


def proportional(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """Shares as the text comes: ``p_i = N_i / ΣN``."""
    return supply.token_shares


def uniform(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """The same number of tokens from every cluster that holds text."""
    return _normalised(np.where(supply.tokens > 0, 1.0, 0.0))


def temperature(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:
    """Flattened counts, ``p_i ∝ N_i^τ``; the rule of multilingual models (Conneau et al. 2020)."""
    flat = np.where(supply.tokens > 0, np.maximum(supply.tokens, 1).astype(np.float64) ** config.temperature, 0.0)
    return _normalised(flat)


def unimax(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:
    """As uniform as an epoch cap allows (UniMax, Chung et al. 2023).

    Clusters from the smallest to the largest each receive ``min(rest of the budget / clusters left, cap ·
    N_i)``. Where even the caps together stay below the budget the shares are those of the caps, hence
    proportional.
    """
    budget = budget_of(supply, config)
    return unimax_shares(supply.tokens.astype(np.float64), budget, config.unimax_epochs)


def unimax_shares(sizes: NDArray[np.float64], budget: float, epochs: float) -> NDArray[np.float64]:
    """UniMax on bare sizes, in any unit that ``budget`` shares; float64 ``(K,)``, sum 1."""
    given = np.zeros(len(sizes))
    rest = budget
    order = np.argsort(sizes, kind="stable")
    for position, index in enumerate(order):
        given[index] = min(rest / (len(order) - position), epochs * sizes[index])
        rest -= given[index]
    return _normalised(given)


def balanced(supply: ClusterSupply, config: MixingConfig) -> NDArray[np.float64]:  # noqa: ARG001
    """The same number of documents from every cluster that holds text (see the module's docstring)."""
    return _normalised(supply.tokens_per_doc)


HEURISTICS: Mapping[str, Strategy] = {
    "proportional": proportional,
    "uniform": uniform,
    "temperature": temperature,
    "unimax": unimax,
    "balanced": balanced,
}


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    if total <= 0:
        raise ValueError("the inventory holds no tokens; land and label a snapshot first")
    return weights / total
