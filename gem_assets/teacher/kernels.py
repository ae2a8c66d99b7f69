"""Compiled loops of the sparse engine: find the clusters that matter to a row, score them, sum over them.

All run without the GIL on blocks of rows, so threads work on several blocks at once. A row's list holds every cluster
whose score may lie within a window of the row's best; rows with one such cluster have responsibility 1 there and take
no part in anything below.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

#: Clusters looked at together when a row is searched.
CHUNK = 32


def compiled(function: F) -> F:
    """Compile without the GIL; keep the code on disk where a cache folder can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "arcp", "nsz", "nnan"}}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        return cast(F, numba.njit(**options)(function))


@compiled
def find_candidates(
    approx: NDArray[np.float32], error: NDArray[np.float32], rounding: float, window: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Clusters of every row whose score may lie within ``window`` of the row's best.

    ``approx`` (B, K) differs from the scores by at most ``error[k] + rounding * |approx|``. Returns list ends (B + 1,)
    and columns, ascending in each row.
    """
    rows, k = approx.shape
    slack = np.float32(rounding)
    ends = np.empty(rows + 1, np.int32)
    ends[0] = 0
    columns = np.empty(4 * rows + k, np.int32)
    used = 0
    chunks = (k + CHUNK - 1) // CHUNK
    upper = np.full(chunks * CHUNK, -np.inf, np.float32)
    lanes = np.empty(CHUNK, np.float32)
    for i in range(rows):
        # a running maximum in lanes, folded at the end: a plain one does not become vector code
        lanes[:] = -np.inf
        for chunk in range(chunks):
            base = chunk * CHUNK
            for c in range(min(CHUNK, k - base)):
                value = approx[i, base + c]
                margin = error[base + c] + slack * abs(value)
                upper[base + c] = value + margin
                low = value - margin
                lanes[c] = low if low > lanes[c] else lanes[c]
        width = CHUNK // 2
        while width > 0:
            for c in range(width):
                other = lanes[c + width]
                lanes[c] = other if other > lanes[c] else lanes[c]
            width //= 2
        floor = lanes[0] - np.float32(window)
        if used + k > columns.size:
            grown = np.empty(2 * columns.size + k, np.int32)
            grown[:used] = columns[:used]
            columns = grown
        for chunk in range(chunks):
            base = chunk * CHUNK
            hits = 0
            for c in range(CHUNK):
                hits += upper[base + c] >= floor
            if hits > 0:
                for c in range(base, min(base + CHUNK, k)):
                    if upper[c] >= floor:
                        columns[used] = c
                        used += 1
        ends[i + 1] = used
    return ends, columns[:used].copy()


@compiled
def score_lists(
    x: NDArray[np.float32],
    natural: NDArray[np.floating],
    constants: NDArray[np.float64],
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    all_rows: bool,
) -> NDArray[np.float64]:
    """Log densities of the listed clusters; where ``all_rows`` is false, lists of one cluster are left at 0."""
    values = np.zeros(columns.size, np.float64)
    d = x.shape[1]
    for i in range(ends.size - 1):
        first, last = ends[i], ends[i + 1]
        if last - first == 1 and not all_rows:
            continue
        for e in range(first, last):
            c = columns[e]
            total = natural[c, 0] * 0
            for j in range(d):
                total += x[i, j] * natural[c, j]
            values[e] = constants[c] + total
    return values


@compiled
def list_statistics(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
    temperature: float,
    drop: float,
    all_rows: bool,
    mass: NDArray[np.float64],
    gram: NDArray[np.float64],
) -> float:
    """Add responsibilities to ``mass`` (K,) and their products to ``gram`` (K, K); return the sum of log-sum-exps.

    Lists of one cluster are left out unless ``all_rows``; ``gram`` of size 0 is left alone.
    """
    total = 0.0
    weights = np.empty(b.size, np.float64)
    with_gram = gram.size > 0
    for i in range(ends.size - 1):
        first, last = ends[i], ends[i + 1]
        if last - first == 1 and not all_rows:
            continue
        best = -np.inf
        for e in range(first, last):
            best = max(best, values[e] + b[columns[e]])
        sum_ = 0.0
        for e in range(first, last):
            below = (values[e] + b[columns[e]] - best) / temperature
            w = np.exp(below) if below > -drop else 0.0
            weights[e - first] = w
            sum_ += w
        total += best + temperature * np.log(sum_)
        for e in range(first, last):
            w = weights[e - first] / sum_
            if w == 0.0:
                continue
            mass[columns[e]] += w
            if with_gram:
                for f in range(first, last):
                    gram[columns[e], columns[f]] += w * weights[f - first] / sum_
    return total


@compiled
def list_sums(
    x: NDArray[np.float32],
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
    drop: float,
    resultant: NDArray[np.float64],
) -> None:
    """Add responsibility times row to ``resultant`` (K, d) for rows with more than one listed cluster."""
    weights = np.empty(b.size, np.float64)
    d = x.shape[1]
    for i in range(ends.size - 1):
        first, last = ends[i], ends[i + 1]
        if last - first == 1:
            continue
        best = -np.inf
        for e in range(first, last):
            best = max(best, values[e] + b[columns[e]])
        sum_ = 0.0
        for e in range(first, last):
            below = values[e] + b[columns[e]] - best
            w = np.exp(below) if below > -drop else 0.0
            weights[e - first] = w
            sum_ += w
        for e in range(first, last):
            w = weights[e - first] / sum_
            if w > 0.0:
                c = columns[e]
                for j in range(d):
                    resultant[c, j] += w * x[i, j]


@compiled
def list_labels(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
) -> NDArray[np.int32]:
    """Best listed cluster of every row; the first of equals."""
    labels = np.empty(ends.size - 1, np.int32)
    for i in range(labels.size):
        best = -np.inf
        labels[i] = columns[ends[i]]
        for e in range(ends[i], ends[i + 1]):
            value = values[e] + b[columns[e]]
            if value > best and ends[i + 1] - ends[i] > 1:
                best = value
                labels[i] = columns[e]
    return labels


@compiled
def list_responsibilities(
    ends: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    b: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Softmax over each list, aligned with ``columns``."""
    gamma = np.empty(columns.size, np.float64)
    for i in range(ends.size - 1):
        best = -np.inf
        for e in range(ends[i], ends[i + 1]):
            best = max(best, values[e] + b[columns[e]])
        sum_ = 0.0
        for e in range(ends[i], ends[i + 1]):
            gamma[e] = np.exp(values[e] + b[columns[e]] - best)
            sum_ += gamma[e]
        for e in range(ends[i], ends[i + 1]):
            gamma[e] /= sum_
    return gamma
