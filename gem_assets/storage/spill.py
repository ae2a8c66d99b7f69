"""Arrays with one entry per document, kept on disk instead of in memory, and sorting of their keys.

An array of :class:`Spill` is a mapped file without a name: its pages are the system's to take back, and
:meth:`Spill.settle` gives them back at once. A stage that goes over such arrays in blocks and settles after each one
needs the memory of a block, however many documents there are. A kill leaves nothing behind.

:func:`sorted_parts` sorts any number of keys in the memory of :data:`PART_ROWS` of them: keys are dealt out by their
leading bits and each part is sorted by itself, as a hash join does when it exceeds memory (Kitsuregawa et al. 1983,
GRACE). Keys have to be spread evenly, as digests are. A key that stands often is sorted in one part, so the memory is
that of the larger of ``PART_ROWS`` and the most places of one key: 40 bytes each.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Words = NDArray[np.uint64]
KeyBlocks = Callable[[], Iterable[tuple[Rows, Words]]]

DIGEST: Final = "S16"
BLOCK_ROWS: Final = 1 << 16
PART_ROWS: Final = 1 << 18
_MOST_BITS: Final = 12
_SMALL: Final = 1 << 20
_PUT_ROWS: Final = 1 << 14


class Spill:
    """Gives arrays on the disk.

    Parameters
    ----------
    folder
        Where their files lie. None for the system's temporary folder, which may be memory.
    small
        Bytes below which an array lies in memory.
    """

    def __init__(self, folder: Path | None = None, small: int = _SMALL) -> None:
        self._folder = folder
        self._small = small
        # weak: what a sort has dealt out goes, with its disk space, once nobody looks into it
        self._maps: list[weakref.ref[mmap.mmap]] = []

    def zeros(self, shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array of zeros; its disk space is taken now.

        Raises OSError when the disk is full: a mapped file that cannot grow would kill the process later.
        """
        dims = (shape,) if isinstance(shape, int) else shape
        size = int(np.prod(dims, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size < max(self._small, 1):
            return np.zeros(dims, dtype)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                for start in range(0, size, _SMALL):
                    file.write(bytes(min(_SMALL, size - start)))
                file.flush()
            mapped = mmap.mmap(file.fileno(), size)
        self._maps.append(weakref.ref(mapped))
        return np.frombuffer(mapped, dtype).reshape(dims)

    def read(self, path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an existing file as an array that cannot be written to."""
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(weakref.ref(mapped))
        return np.frombuffer(mapped, dtype).reshape(shape)

    def settle(self) -> None:
        """Take the pages of all arrays out of this process; what was written stays."""
        self._maps = [one for one in self._maps if one() is not None]
        for one in self._maps:
            if (mapped := one()) is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def put(self, target: NDArray[Any], rows: Rows, values: NDArray[Any]) -> None:
        """Set ``target[rows] = values`` from the first row to the last, settling on the way."""
        if not self._maps:
            target[rows] = values
            return
        order = np.argsort(rows)
        for start in range(0, len(rows), _PUT_ROWS):
            part = order[start : start + _PUT_ROWS]
            target[rows[part]] = values[part]
            self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a file goes with the last array that looks into it
        self._maps.clear()


def blocks_of(n: int, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover ``range(n)``."""
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def sorted_parts(keys: KeyBlocks, n: int, width: int, spill: Spill) -> Iterator[tuple[Rows, Words]]:
    """Yield rows and keys, sorted by key and then by row, part by part; equal keys are always in one part.

    Parameters
    ----------
    keys
        Gives blocks of rows, ascending over all blocks, and their keys (n, width). Called twice.
    width
        64-bit words of a key, most significant first.
    """
    bits = min(max(n - 1, 0).bit_length() - (PART_ROWS - 1).bit_length(), _MOST_BITS)
    if bits <= 0:
        found = list(keys())
        if found:
            yield _sorted(np.concatenate([rows for rows, _ in found]), np.concatenate([words for _, words in found]))
        return
    shift = np.uint64(64 - bits)
    counts = np.zeros(1 << bits, np.int64)
    for _, words in keys():
        counts += np.bincount((words[:, 0] >> shift).astype(np.int64), minlength=len(counts))
        spill.settle()
    ends = np.cumsum(counts)
    at = ends - counts
    dealt_rows = spill.zeros(int(ends[-1]), np.int64)
    dealt_words = spill.zeros((int(ends[-1]), width), np.uint64)
    for rows, words in keys():
        part = (words[:, 0] >> shift).astype(np.int64)
        order = np.argsort(part, kind="stable")
        here = np.bincount(part, minlength=len(counts))
        # the place of each key: where its part has got to, and how many of this block came before it
        places = np.repeat(at - (np.cumsum(here) - here), here) + np.arange(len(order))
        dealt_rows[places], dealt_words[places] = rows[order], words[order]
        at += here
        spill.settle()
    for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
        if end > start:
            yield _sorted(dealt_rows[start:end], dealt_words[start:end])
            spill.settle()


def groups(words: Words) -> tuple[Rows, Rows]:
    """Return, for sorted keys, where each group of equal ones starts and the group of every key."""
    differs = np.ones(len(words), bool)
    differs[1:] = (words[1:] != words[:-1]).any(axis=1)
    return np.flatnonzero(differs), np.cumsum(differs) - 1


def digest_words(digests: NDArray[np.bytes_]) -> Words:
    """Return digests (n,) of 16 bytes as (n, 2) words that sort as the bytes do."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 2).astype(np.uint64)


def words_digest(words: Words) -> NDArray[np.bytes_]:
    """Turn :func:`digest_words` back."""
    return words.astype(">u8").view(DIGEST).reshape(-1)


def digest_blocks(digests: NDArray[np.bytes_], left_out: NDArray[np.bool_] | None = None) -> KeyBlocks:
    """Return digests as blocks of keys for :func:`sorted_parts`, without the rows that are left out."""

    def blocks() -> Iterator[tuple[Rows, Words]]:
        for part in blocks_of(len(digests)):
            rows = np.arange(part.start, part.stop)
            if left_out is not None:
                rows = rows[~left_out[part]]
            yield rows, digest_words(digests[part][rows - part.start])

    return blocks


def distinct_digests(digests: NDArray[np.bytes_], spill: Spill) -> NDArray[np.bytes_]:
    """Sort digests in place and return the distinct ones, at the front of the same array."""
    end = 0
    for _, words in sorted_parts(digest_blocks(digests), len(digests), 2, spill):
        starts, _ = groups(words)
        digests[end : end + len(starts)] = words_digest(words[starts])
        end += len(starts)
    return digests[:end]


def find_digests(asked: NDArray[np.bytes_], among: NDArray[np.bytes_], spill: Spill) -> tuple[Rows, Rows]:
    """Return which of ``asked`` stand ``among`` sorted distinct digests, ascending by digest, and where they stand."""
    if not len(among) or not len(asked):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(asked, kind="stable")
    hits: list[Rows] = []
    places: list[Rows] = []
    for part in blocks_of(len(asked), _PUT_ROWS):
        chosen = order[part]
        at = np.minimum(np.searchsorted(among, asked[chosen]), len(among) - 1)
        same = among[at] == asked[chosen]
        hits.append(chosen[same])
        places.append(at[same])
        spill.settle()
    return np.concatenate(hits), np.concatenate(places)


def _sorted(rows: Rows, words: Words) -> tuple[Rows, Words]:
    order = np.lexsort(words.T[::-1])
    return rows[order], words[order]
