"""Row checks and row blocks, used by every pass over the vectors.

Blocks have a fixed size and their partial sums are added in block order, each product running on one BLAS thread, so
a result does not depend on how many threads worked on it.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gem_assets.parallel.machine import usable_cores

R = TypeVar("R")

#: How far from 1 the length of a row may be: vectors stored in half precision pass, raw embeddings do not.
NORM_TOLERANCE = 1e-2
NAMED_ROWS = 5


class RowError(ValueError):
    """Rows that cannot be clustered; the message names them."""


class Blocks:
    """Fixed blocks of rows, mapped over threads in order."""

    def __init__(self, n: int, size: int, pool: ThreadPoolExecutor | None = None) -> None:
        self.n = n
        self.slices = [slice(i, min(i + size, n)) for i in range(0, n, size)]
        self._pool = pool

    def map(self, fn: Callable[[slice], R]) -> Iterator[R]:
        """Results of ``fn`` on every block, in block order."""
        if self._pool is None or len(self.slices) == 1:
            return map(fn, self.slices)
        return self._pool.map(fn, self.slices)


@contextmanager
def worker_pool(threads: int) -> Generator[ThreadPoolExecutor | None]:
    """Threads for row blocks, with BLAS and torch held to one thread each; ``0`` means one per core."""
    count = threads or usable_cores()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            if count == 1:
                yield None
                return
            with ThreadPoolExecutor(count, "rows", initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
    finally:
        torch.set_num_threads(before)


class StackedRows:
    """Several arrays of rows read as one, so that shards in files can be fitted without being joined.

    Parameters
    ----------
    parts
        Arrays of shape (n_i, d), one dtype; usually memory-mapped.
    """

    ndim = 2

    def __init__(self, parts: Sequence[NDArray[np.floating]]) -> None:
        if not parts:
            raise RowError("no shards to stack")
        shapes = {(part.shape[1:], part.dtype) for part in parts}
        if len(shapes) != 1 or parts[0].ndim != 2:
            raise RowError(f"shards differ in width or dtype: {sorted(map(str, shapes))}")
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> NDArray[np.floating]:
        """Rows of a contiguous slice, or in the order of an array of row numbers."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step != 1:
                raise IndexError("stacked rows are read in order")
            rows = np.arange(first, last)
        where = np.searchsorted(self._ends, rows, side="right")
        out = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        for part in np.unique(where):
            mine = where == part
            out[mine] = self._parts[part][rows[mine] - (self._ends[part] - len(self._parts[part]))]
        return out


#: What a fit reads: an array, a memory map, or stacked shards.
Rows = NDArray[np.floating] | StackedRows


def check_rows(x: Rows, ids: Sequence[str] | None = None, *, block: int = 16_384) -> None:
    """Refuse rows that are not unit vectors.

    Parameters
    ----------
    x
        Vectors, shape (n, d); may be memory-mapped.
    ids
        Names of the rows for the message; row numbers when absent.

    Raises
    ------
    RowError
        If a row holds NaN or infinity, is zero, or is not of length 1, naming up to five such rows; or if ``x`` is
        not two-dimensional, empty, or of another length than ``ids``.
    """
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] < 2:
        raise RowError(f"vectors have to be of shape (n >= 1, d >= 2), got {x.shape}")
    if not np.issubdtype(x.dtype, np.floating):
        raise RowError(f"vectors have to be floating point, got {x.dtype}")
    if ids is not None and len(ids) != x.shape[0]:
        raise RowError(f"{len(ids)} ids for {x.shape[0]} rows")
    for start in range(0, x.shape[0], block):
        part = np.asarray(x[start : start + block], dtype=np.float32)
        norm = np.sqrt(np.einsum("ij,ij->i", part, part))
        if np.all(np.abs(norm - 1) < NORM_TOLERANCE):
            continue
        broken = ~np.isfinite(norm)
        _refuse(broken, start, ids, "hold NaN or infinity: embed them again or leave them out")
        _refuse(norm < 1e-6, start, ids, "are zero vectors: their text gave no features, leave them out")
        _refuse(
            np.abs(norm - 1) >= NORM_TOLERANCE,
            start,
            ids,
            f"are not of length 1 (lengths {norm.min():.4g}..{norm.max():.4g}): divide each row by its norm",
        )


def _refuse(bad: NDArray[np.bool_], start: int, ids: Sequence[str] | None, why: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size == 0:
        return
    named = ", ".join(str(ids[start + r]) if ids is not None else str(start + r) for r in rows[:NAMED_ROWS])
    more = "" if rows.size <= NAMED_ROWS else f" and {rows.size - NAMED_ROWS} more in this block"
    raise RowError(f"rows {named}{more} {why}")


def check_distinct(x: Rows, k: int) -> None:
    """Refuse fewer than ``k`` distinct rows.

    Raises
    ------
    RowError
        With the number of distinct rows and the way out.
    """
    n = x.shape[0]
    if n < k:
        raise RowError(f"{n} rows cannot make K = {k} clusters: ask for fewer clusters or give more documents")
    seen: set[bytes] = set()
    for start in range(0, n, 4096):
        seen.update(row.tobytes() for row in np.ascontiguousarray(x[start : start + 4096], dtype=np.float32))
        if len(seen) >= k:
            return
    raise RowError(
        f"only {len(seen)} distinct rows among {n} for K = {k} clusters: deduplicate, or ask for fewer clusters"
    )
