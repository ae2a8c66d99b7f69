"""How trainers draw from weighted data sets, reimplemented from their public code to read an export as they do."""

from collections.abc import Sequence

import numba as nb
import numpy as np

from gem_assets.types import Floats, Ints

# data sets x samples that are stepped through; beyond it counts are the weights' own, which differ by less than one
_STEPS = 2_000_000_000
_DRAWS = 5_000_000
_HF_BLOCK = 1000


def greedy_counts(weights: Floats, samples: int) -> Ints:
    """(K,) samples of each data set when every step takes from the one that is furthest behind its weight.

    Megatron-LM's blending index, and nanotron's.
    """
    shares = weights / weights.sum()
    if len(weights) * samples > _STEPS:
        return largest_remainder(shares, samples)
    return _greedy(shares, samples)


@nb.njit(cache=True)
def _greedy(shares: Floats, samples: int) -> Ints:  # pragma: no cover - compiled
    counts = np.zeros(len(shares), dtype=np.int64)
    for step in range(samples):
        at = max(float(step), 1.0)
        best, behind = 0, shares[0] * at - counts[0]
        for i in range(1, len(shares)):
            error = shares[i] * at - counts[i]
            if error > behind:
                best, behind = i, error
        counts[best] += 1
    return counts


def largest_remainder(shares: Floats, total: int) -> Ints:
    """(K,) whole numbers that sum to `total` and lie within one of ``shares * total`` (Hamilton)."""
    exact = shares / shares.sum() * total
    counts = np.floor(exact).astype(np.int64)
    rest = exact - counts
    # ties go to the lower index
    for i in np.argsort(-rest, kind="stable")[: total - int(counts.sum())]:
        counts[i] += 1
    return counts


def block_counts(weights: Floats, block: int) -> Ints:
    """(K,) sequences of each data set in a block: truncated, the remainder to the largest (levanter)."""
    counts = (weights / weights.sum() * block).astype(np.int32).astype(np.int64)
    counts[int(np.argmax(counts))] += block - int(counts.sum())
    return counts


def epoch_choices(proportions: Floats, epoch_size: int, seed: int) -> Ints:
    """(K,) samples chosen of each stream: truncated, the shortfall to streams drawn by the seed (MosaicML)."""
    counts = (epoch_size * (proportions / proportions.sum())).astype(np.int64)
    shortfall = epoch_size - int(counts.sum())
    counts[np.random.default_rng(seed).choice(len(counts), shortfall, replace=False)] += 1
    return counts


def interleave_counts(probabilities: Sequence[float], documents: int, seed: int) -> Ints | None:
    """(K,) documents that `datasets.interleave_datasets` takes of each data set, or None for a run too long to follow.

    It draws a thousand choices at a time from ``default_rng(seed)``.
    """
    if documents > _DRAWS:
        return None
    rng = np.random.default_rng(seed)
    counts = np.zeros(len(probabilities), dtype=np.int64)
    for start in range(0, documents, _HF_BLOCK):
        drawn = rng.choice(len(probabilities), size=_HF_BLOCK, p=list(probabilities))[: documents - start]
        counts += np.bincount(drawn, minlength=len(probabilities))
    return counts
