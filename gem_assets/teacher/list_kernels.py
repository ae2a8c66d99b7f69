"""Compiled loops that edit the lists of the sparse engine: shorten them, replace some, add clusters to them.

Lists of a block of rows are their ends (B + 1,) and, one after the other, the columns of each row, ascending. All loops
run without the GIL.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.kernels import compiled


@compiled
def only_candidates(ends: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int32]:
    """The one listed cluster of every row, -1 where there are several."""
    single = np.empty(ends.size - 1, np.int32)
    for i in range(single.size):
        single[i] = columns[ends[i]] if ends[i + 1] - ends[i] == 1 else -1
    return single


@compiled
def move_singles(
    x: NDArray[np.float32],
    old: NDArray[np.int32],
    new: NDArray[np.int32],
    counts: NDArray[np.float64],
    resultant: NDArray[np.float64],
) -> None:
    """Keep ``counts`` (K,) and ``resultant`` (K, d) those of rows with one listed cluster; -1 stands for several."""
    d = x.shape[1]
    for i in range(old.size):
        was, now = old[i], new[i]
        if was == now:
            continue
        if was >= 0:
            counts[was] -= 1
            for j in range(d):
                resultant[was, j] -= x[i, j]
        if now >= 0:
            counts[now] += 1
            for j in range(d):
                resultant[now, j] += x[i, j]


@compiled
def trim_lists(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
    window: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The lists without what lies more than ``window`` below each row's best."""
    new_ends = np.empty_like(ends)
    new_ends[0] = 0
    new_columns = np.empty_like(columns)
    new_values = np.empty_like(values)
    used = 0
    for i in range(ends.size - 1):
        best = -np.inf
        for e in range(ends[i], ends[i + 1]):
            best = max(best, values[e] + b[columns[e]])
        for e in range(ends[i], ends[i + 1]):
            if values[e] + b[columns[e]] >= best - window:
                new_columns[used] = columns[e]
                new_values[used] = values[e]
                used += 1
        new_ends[i + 1] = used
    return new_ends, new_columns[:used].copy(), new_values[:used].copy()


@compiled
def lists_with(ends: NDArray[np.int32], columns: NDArray[np.int32], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which lists hold a ``marked`` (K,) cluster."""
    found = np.zeros(ends.size - 1, np.bool_)
    for i in range(found.size):
        for e in range(ends[i], ends[i + 1]):
            if marked[columns[e]]:
                found[i] = True
    return found


@compiled
def replace_lists(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    rows: NDArray[np.bool_],
    other_ends: NDArray[np.int32],
    other_columns: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The lists with those of the marked ``rows`` (B,) replaced, in order, by the other ones."""
    new_ends = np.empty_like(ends)
    new_ends[0] = 0
    new_columns = np.empty(columns.size + other_columns.size, np.int32)
    used = 0
    taken = 0
    for i in range(rows.size):
        if rows[i]:
            for e in range(other_ends[taken], other_ends[taken + 1]):
                new_columns[used] = other_columns[e]
                used += 1
            taken += 1
        else:
            for e in range(ends[i], ends[i + 1]):
                new_columns[used] = columns[e]
                used += 1
        new_ends[i + 1] = used
    return new_ends, new_columns[:used].copy()


@compiled
def merge_columns(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
    clusters: NDArray[np.int32],
    approx: NDArray[np.float32],
    error: NDArray[np.float32],
    window: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The lists with those of ``clusters`` (J,), ascending, added whose score may lie within ``window`` of the best.

    ``values`` holds the log densities of all listed clusters; ``approx`` (B, J) the scores of ``clusters``, offsets
    included, within ``error`` (J,).
    """
    rows, extra = approx.shape
    new_ends = np.empty_like(ends)
    new_ends[0] = 0
    new_columns = np.empty(columns.size + rows * extra, np.int32)
    used = 0
    for i in range(rows):
        best = -np.inf
        for e in range(ends[i], ends[i + 1]):
            best = max(best, values[e] + b[columns[e]])
        for j in range(extra):
            best = max(best, approx[i, j] - error[j])
        j = 0
        for e in range(ends[i], ends[i + 1]):
            while j < extra and clusters[j] <= columns[e]:
                if clusters[j] < columns[e] and approx[i, j] + error[j] >= best - window:
                    new_columns[used] = clusters[j]
                    used += 1
                j += 1
            new_columns[used] = columns[e]
            used += 1
        while j < extra:
            if approx[i, j] + error[j] >= best - window:
                new_columns[used] = clusters[j]
                used += 1
            j += 1
        new_ends[i + 1] = used
    return new_ends, new_columns[:used].copy()
