"""Measure whether a clustering is reproducible: with another seed, and on another half of the documents.

Both are mean adjusted Rand indices on the same rows, so they can be compared over methods and numbers of clusters.
Cost: one fit per seed, and two fits on half of the rows.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.baselines import Clustering
from gem_assets.teacher.metrics import stability
from gem_assets.teacher.start import draw_rows

#: Makes an unfitted clustering for a seed.
Maker = Callable[[int], Clustering]


def reseeding_stability(make: Maker, x: NDArray[np.float32], seeds: Sequence[int]) -> float:
    """Mean adjusted Rand index over all pairs of fits to the same rows (n, d) that differ in their seed.

    Raises
    ------
    ValueError
        For fewer than two seeds.
    """
    return stability([make(seed).fit(x).labels_ for seed in seeds])


def half_stability(make: Maker, x: NDArray[np.float32], seed: int = 0) -> float:
    """Adjusted Rand index, on all rows, of two fits to disjoint halves that ``seed`` draws."""
    return stability(half_labelings(make, x, seed))


def half_labelings(make: Maker, x: NDArray[np.float32], seed: int = 0) -> list[NDArray[np.int32]]:
    """Labels of all rows by each of the two fits to disjoint halves; the second fit draws with the next seed."""
    first = draw_rows(len(x), len(x) // 2, seed)
    second = np.setdiff1d(np.arange(len(x)), first)
    return [
        make(seed + number).fit(np.ascontiguousarray(x[half])).predict(x) for number, half in enumerate((first, second))
    ]
