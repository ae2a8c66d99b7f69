"""Keep token shares inside what the text can bear.

A cluster of ``N`` tokens that may be repeated ``R`` times can fill at most ``R·N/D`` of a budget of ``D``
tokens. The shares nearest to the wished ones in Kullback-Leibler divergence under such caps are the wished
ones, scaled by one common factor and cut at their caps: water-filling. Cost ``O(K log K)``.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gem_assets.mixing.config import MixingConfig
    from gem_assets.mixing.supply import ClusterSupply


class InfeasibleMixtureError(ValueError):
    """No mixture meets the caps; the message says which number has to give."""


def share_caps(
    tokens: NDArray[np.int64] | NDArray[np.float64], budget: int, repetition_cap: float
) -> NDArray[np.float64]:
    """Largest token share of each cluster, ``R·N_i/D``; float64 ``(K,)``, may exceed 1."""
    return repetition_cap * np.asarray(tokens, np.float64) / budget


def budget_of(supply: "ClusterSupply", config: "MixingConfig") -> int:
    """Tokens to train on: those of the settings, or every token of the inventory once."""
    return supply.total_tokens if config.token_budget is None else config.token_budget


def caps_of(supply: "ClusterSupply", config: "MixingConfig") -> NDArray[np.float64]:
    """Largest token share of each cluster under the settings, ``(K,)``."""
    return share_caps(supply.tokens, budget_of(supply, config), config.repetition_cap)


def check_shares(shares: NDArray[np.float64], what: str = "shares") -> None:
    """Refuse shares that are not finite, not positive somewhere, or negative anywhere."""
    if shares.ndim != 1 or len(shares) == 0:
        raise ValueError(f"{what} must be one row of numbers, one per cluster, not shape {shares.shape}")
    bad = ~np.isfinite(shares)
    if np.any(bad):
        raise ValueError(f"{what} of position {np.argmax(bad)} is {shares[np.argmax(bad)]}; it must be finite")
    if np.any(shares < 0):
        raise ValueError(f"{what} of position {np.argmin(shares)} is {shares.min()}; it must not be negative")
    if shares.sum() <= 0:
        raise ValueError(f"all {what} are zero; nothing to mix")


def apply_caps(shares: NDArray[np.float64], caps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the capped shares closest to the wished ones.

    Solves ``min KL(p‖shares)`` subject to ``Σp = 1`` and ``p ≤ caps``; the solution is ``p_i = min(caps_i,
    s·shares_i)`` with one ``s ≥ 1``. Ratios between uncapped clusters are kept, and a cluster wished at zero
    stays at zero.

    Raises InfeasibleMixtureError if the caps of the wished clusters sum to less than 1.

    Parameters
    ----------
    shares
        Wished shares, ``(K,)``, non-negative; scaled to sum 1 before use.
    caps
        Largest shares, ``(K,)``, non-negative; ``inf`` for none.
    """
    check_shares(shares)
    if caps.shape != shares.shape or np.any(np.isnan(caps)) or np.any(caps < 0):
        raise ValueError("caps must be non-negative numbers, one per share")
    wished = shares / shares.sum()
    active = wished > 0
    # a share of 1 is never exceeded, so a cap above it caps nothing; keeps inf out of the sums
    limit = np.where(active, np.minimum(caps, 1.0), 0.0)
    room = float(limit.sum())
    if room < 1.0 - 1e-9:
        raise InfeasibleMixtureError(
            f"the caps let the mixture fill only {room:.6g} of the token budget; lower token_budget to at "
            "most that "
            "part of it, raise repetition_cap, or give more clusters a share"
        )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        saturation = np.where(active, limit / wished, np.inf)
    order = np.argsort(saturation, kind="stable")
    capped_before = np.concatenate([[0.0], np.cumsum(limit[order])])
    free_after = np.concatenate([np.cumsum(wished[order][::-1])[::-1], [0.0]])
    scale = np.inf
    for n_capped in range(int(active.sum())):
        candidate = (1.0 - capped_before[n_capped]) / free_after[n_capped]
        if candidate <= saturation[order[n_capped]]:
            scale = max(candidate, 0.0)
            break
    # 0 * inf is excluded by `active`
    filled = np.where(active, np.minimum(limit, np.where(active, wished, 1.0) * scale), 0.0)
    return filled / filled.sum()
