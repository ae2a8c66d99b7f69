"""Figures for the four guidelines of data ordering, from the sequence of scores alone.

Boundary (what the run starts and ends with), cyclic (whether it comes back to easy samples), continuity (whether
the score jumps) and local diversity (whether a batch holds different scores); Dai et al., arXiv 2605.30334, whose
own evidence for them is training curves. Here each is a number on the rank scale, 0 for the lowest score and 1 for
the highest, so that orders of different score columns compare. One sort of the scores and linear passes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gem_assets.types import Floats

_EDGE = 0.1
_LOW = 0.1


@dataclass(frozen=True)
class Diagnostics:
    """Guideline figures of one order; ranks run from 0 to 1, stretches of the run are fractions of it."""

    n: int
    boundary_head: float
    """Mean rank of the first tenth."""
    boundary_tail: float
    """Mean rank of the last tenth."""
    cyclic_gap: float
    """Longest stretch of the run without one of the lowest tenth; 0.9 for a plain curriculum."""
    cyclic_descent: float
    """Sum of all falls of the smoothed curve: how far in total the run goes back to easier samples."""
    continuity_step: float
    """Largest step between neighbours."""
    continuity_batch_step: float
    """Largest step between the mean ranks of neighbouring batches."""
    diversity: float
    """Mean standard deviation of rank inside a batch."""

    def as_dict(self) -> dict[str, float]:
        """Field names and values, for metadata tables."""
        return {name: float(getattr(self, name)) for name in self.__dataclass_fields__}


def rank_scale(scores: npt.ArrayLike) -> Floats:
    """Mid-ranks scaled to 0..1; equal scores share a rank, a constant column is 0.5 throughout."""
    values = np.asarray(scores, dtype=np.float64)
    n = len(values)
    if n < 2:
        return np.full(n, 0.5)
    grid = np.sort(values)
    low = np.searchsorted(grid, values, side="left")
    high = np.searchsorted(grid, values, side="right") - 1
    return (low + high) / (2.0 * (n - 1))


def diagnose(
    scores_in_order: npt.ArrayLike,
    batch: int = 10,
    segments: int = 100,
    seams: npt.NDArray[np.int64] | None = None,
) -> Diagnostics:
    """Measure an order by its sequence of scores.

    Parameters
    ----------
    scores_in_order
        (n,) scores; element k belongs to the sample trained k-th.
    batch
        Samples that one optimiser step sees together.
    segments
        Points of the smoothed curve that `cyclic_descent` is measured on.
    seams
        Where the sequence is put together from stretches of a longer order: indices of the first element of each
        stretch. Neighbours across a seam are none, and batches across one are left out.

    Raises
    ------
    ValueError
        If there is no sample, a score is not finite, or batch or segments are below 1.
    """
    values = np.asarray(scores_in_order, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"need a non-empty one-dimensional sequence of scores, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite")
    if batch < 1 or segments < 1:
        raise ValueError(f"batch and segments must be at least 1, got {batch} and {segments}")
    ranks = rank_scale(values)
    n = len(ranks)
    edge = max(1, round(_EDGE * n))
    curve = smooth(ranks, segments)
    apart = np.zeros(n, dtype=bool)
    if seams is not None:
        apart[seams] = True
    step, batch_step, diversity = _neighbours(ranks, batch, apart)
    return Diagnostics(
        n=n,
        boundary_head=float(ranks[:edge].mean()),
        boundary_tail=float(ranks[-edge:].mean()),
        cyclic_gap=_longest_gap(values),
        cyclic_descent=float(np.maximum(-np.diff(curve), 0).sum()),
        continuity_step=step,
        continuity_batch_step=batch_step,
        diversity=diversity,
    )


def smooth(values: Floats, segments: int) -> Floats:
    """Means of `segments` equal stretches (fewer when there are fewer values)."""
    segments = min(segments, len(values))
    edges = np.linspace(0, len(values), segments + 1).round().astype(np.int64)
    return np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def window_share_error(
    clusters: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64], shares: dict[int, float], window: int
) -> float:
    """Largest absolute deviation of a cluster's token share in any of the consecutive windows.

    Parameters
    ----------
    clusters, tokens
        (n,) cluster id and token count of the document trained k-th.
    shares
        Token share that each cluster should have.
    window
        Documents in a window; a last shorter one is left out unless it is the only one.
    """
    if not len(clusters):
        raise ValueError("an empty order has no shares")
    count = max(1, len(clusters) // window)
    edges = np.arange(count) * window
    end = min(count * window, len(clusters))
    total = np.add.reduceat(tokens[:end], edges).astype(np.float64)
    worst = 0.0
    for cluster, share in shares.items():
        part = np.add.reduceat(np.where(clusters[:end] == cluster, tokens[:end], 0), edges)
        worst = max(worst, float(np.abs(part / total - share).max()))
    return worst


def _longest_gap(values: Floats) -> float:
    n = len(values)
    # by value, not by rank: of tied lowest scores any one is a return
    threshold = np.partition(values, max(0, round(_LOW * n) - 1))[max(0, round(_LOW * n) - 1)]
    low = np.flatnonzero(values <= threshold)
    bounds = np.concatenate(([-1], low, [n]))
    return float((np.diff(bounds) - 1).max() / n)


def _neighbours(ranks: Floats, batch: int, apart: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Largest step between samples and between batch means, and mean deviation inside a batch."""
    step = _most(np.abs(np.diff(ranks))[np.logical_not(apart[1:])])
    batch = min(batch, len(ranks))
    whole = len(ranks) // batch * batch
    rows, seam = ranks[:whole].reshape(-1, batch), apart[:whole].reshape(-1, batch)
    intact: npt.NDArray[np.bool_] = np.logical_not(np.any(seam[:, 1:], axis=1))
    joined = intact[:-1] & intact[1:] & np.logical_not(seam[1:, 0])
    batch_step = _most(np.abs(np.diff(rows.mean(axis=1)))[joined])
    inside = rows[intact].std(axis=1)
    return step, batch_step, float(inside.mean()) if len(inside) else 0.0


def _most(values: Floats) -> float:
    return float(values.max()) if len(values) else 0.0
