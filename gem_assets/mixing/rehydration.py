"""Rehydration: undo deduplication by as much as quality allows (FineWeb2, Penedo et al. 2025).

Deduplication keeps one document of each cluster of near-duplicates and with it the size of the cluster. Where filtering
removes more than on average, documents of that cluster size are worse than average and count once; where it removes
least, they count ``R`` times:

    reps(s) = 1                                          if r_s ≥ g
    reps(s) = 1 + (R - 1) (r_s - g) / (min r - g)        otherwise

``r_s`` is the removal rate at cluster size ``s``, ``g`` the global one. The curve is smoothed by a moving average of
five bins (the two at each end keep their own value) and rounded half to even. Languages with fewer than five bins have
nothing to smooth and are rounded as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

WINDOW = 5


@dataclass(frozen=True)
class RemovalRates:
    """How much a filter removes at each size of a near-duplicate cluster; the last bin is the tail.

    Attributes
    ----------
    sizes
        Smallest cluster size of each bin, ascending.
    removed
        Part removed, percent.
    kept
        Documents left after filtering.
    overall
        Part removed over all sizes, percent.
    """

    sizes: NDArray[np.int64]
    removed: NDArray[np.float64]
    kept: NDArray[np.int64]
    overall: float

    def __post_init__(self) -> None:
        if not len(self.sizes) == len(self.removed) == len(self.kept) or len(self.sizes) == 0:
            raise ValueError("a removal table needs as many rates and counts as sizes, at least one")
        if np.any(np.diff(self.sizes) <= 0):
            raise ValueError(f"cluster sizes must ascend, not {self.sizes.tolist()}")
        bad = ~((self.removed >= 0) & (self.removed <= 100))
        if bad.any():
            raise ValueError(
                f"the removal rate at size {self.sizes[np.argmax(bad)]} is {self.removed[np.argmax(bad)]}, not a "
                "percentage"
            )

    @classmethod
    def from_published(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON of one language as FineWeb2 publishes it."""
        return cls(
            sizes=np.array([*record["cluster_sizes"], record["tail_threshold"]], np.int64),
            removed=np.array([*record["cluster_removal_rates"], record["tail_removal_rate"]], np.float64),
            kept=np.array(
                [*record["cluster_post_filtering_doc_counts"], record["tail_post_filtering_doc_counts"]], np.int64
            ),
            overall=float(record["global_removal_rate"]),
        )


@dataclass(frozen=True)
class Rehydration:
    """Repetitions by cluster size.

    ``repetitions`` maps a cluster size to how often such a document counts, up to the next size listed.
    """

    repetitions: dict[int, int]
    documents: int

    def of(self, size: int) -> int:
        """Repetitions of a document from a cluster of this size."""
        starts = [s for s in self.repetitions if s <= size]
        return self.repetitions[max(starts)] if starts else 1


def rehydrate(rates: RemovalRates, most: int) -> Rehydration:
    """Compute the repetitions, at most ``most`` of them.

    Raises ValueError if ``most`` is below 1.
    """
    if most < 1:
        raise ValueError(f"documents count at least once, not {most} times")
    least = float(rates.removed.min())
    if least >= rates.overall:
        raw = np.ones(len(rates.removed))
    else:
        above = 1 + (most - 1) * (rates.removed - rates.overall) / (least - rates.overall)
        raw = np.where(rates.removed >= rates.overall, 1.0, above)
    smooth = raw.copy()
    if len(raw) >= WINDOW:
        inner = slice(WINDOW // 2, -(WINDOW // 2))
        smooth[inner] = np.convolve(raw, np.ones(WINDOW) / WINDOW, mode="valid")
    rounded = np.round(smooth).astype(np.int64)
    starts = [0, *(np.flatnonzero(np.diff(rounded)) + 1).tolist()]
    return Rehydration(
        repetitions={int(rates.sizes[i]): int(rounded[i]) for i in starts},
        documents=int(rounded @ rates.kept),
    )
