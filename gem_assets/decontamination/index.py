"""Inverted index of benchmark items: from an n-gram to the places where items hold it.

The n-grams are sorted, and a table over their first bits tells where to look, so a look-up reads two cache lines. The
arrays are written as plain ``.npy`` files: workers map them and share one copy. Memory is about 30 bytes for each
n-gram, and three times that while the index is built.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import characters
from gem_assets.corpus.text.features import jit, text_buffers
from gem_assets.decontamination.items import BenchmarkError, Item
from gem_assets.decontamination.words import ngrams_of, words_of_all

SHARED_BY: Final = 50
"""An n-gram that more items hold is a phrase of the benchmark, such as the wording of its questions."""
NOT_SEARCHED_SCHEMA: Final = pa.schema([(name, pa.string()) for name in ("benchmark", "split", "item", "reason")])


class Grams(NamedTuple):
    """What a look-up needs.

    Attributes
    ----------
    known
        Hashes of the n-grams, sorted uint64 (g,).
    buckets
        Where the n-grams begin that share their first bits, int32 (2^bits + 1,).
    shift
        64 less those bits.
    """

    known: NDArray[np.uint64]
    buckets: NDArray[np.int32]
    shift: int


@dataclass(frozen=True)
class Index:
    """Items and their n-grams.

    Attributes
    ----------
    known, buckets
        See :class:`Grams`.
    posting_starts, postings
        N-gram g begins at the words ``postings[posting_starts[g]:posting_starts[g + 1]]``, counted over all items in a
        row; int32, sorted.
    item_starts
        Where the words of each item begin, int64 (items + 1,).
    item_grams
        N-gram that begins at each word, int32; -1 where none does, or where it is shared by too many items.
    """

    known: NDArray[np.uint64]
    buckets: NDArray[np.int32]
    posting_starts: NDArray[np.int32]
    postings: NDArray[np.int32]
    item_starts: NDArray[np.int64]
    item_grams: NDArray[np.int32]

    @property
    def grams(self) -> Grams:
        """What a look-up needs."""
        return Grams(self.known, self.buckets, 64 - int(len(self.buckets) - 1).bit_length() + 1)

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` file for each array."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the files that :meth:`save` wrote."""
        parts = {field.name: folder / f"{field.name}.npy" for field in fields(cls)}
        # an empty array cannot be mapped
        return cls(**{name: np.load(path, mmap_mode="r" if path.stat().st_size > 256 else None, allow_pickle=False)
                      for name, path in parts.items()})  # fmt: skip


@dataclass(frozen=True)
class Searchable:
    """Items that are searched, in the order of the index, and those that are not.

    Attributes
    ----------
    not_searched
        ``NOT_SEARCHED_SCHEMA``: without text, too short, a duplicate, or without an n-gram of its own.
    """

    index: Index
    items: tuple[Item, ...]
    not_searched: pa.Table


def build_index(items: Sequence[Item], ngram: int, max_ngrams: int) -> Searchable:
    """Build the index of some items.

    Parameters
    ----------
    ngram
        Words of an n-gram.
    max_ngrams
        Most n-grams of all items together.

    Raises
    ------
    BenchmarkError
        When there are more n-grams than that.
    """
    left_out: list[tuple[Item, str]] = []
    words, bounds = _words([item.text for item in items])
    lengths = np.diff(bounds)
    total = int(np.maximum(lengths - ngram + 1, 0).sum())
    if total > max_ngrams:
        raise BenchmarkError(
            f"the benchmarks hold {total:,} n-grams, more than decontamination.max_ngrams = {max_ngrams:,} allows. "
            f"Raise it if {30 * total / 2**20:,.0f} MiB for the index are there, or search for fewer benchmarks"
        )
    kept: list[int] = []
    first: dict[bytes, int] = {}
    for number, item in enumerate(items):
        own = words[bounds[number] : bounds[number + 1]]
        if len(own) < ngram:
            what = f"it has {len(own)} words, fewer than the n-gram of {ngram}" if len(own) else "it has no text"
            left_out.append((item, what))
            continue
        before = first.setdefault(blake2b(own.tobytes(), digest_size=16).digest(), number)
        if before != number:
            other = items[before]
            left_out.append((item, f"its text is that of {' '.join(filter(None, (other.benchmark, other.split)))} "
                                   f"{other.id}, which is searched"))  # fmt: skip
            continue
        kept.append(number)
    whole = len(kept) == len(items)
    starts = np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64)
    chosen = words if whole else np.concatenate([words[:0], *(words[bounds[i] : bounds[i + 1]] for i in kept)])
    del words
    index = _index(chosen, starts, ngram)
    found = tuple(items[i] for i in kept)
    empty = _without_ngram(index)
    left_out.extend((found[i], f"each of its n-grams is in more than {SHARED_BY} items") for i in empty.tolist())
    return Searchable(index, found, _table(left_out))


def _words(texts: Iterable[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    parts = [words_of_all(one.data, one.offsets, characters()) for one in text_buffers(list(texts))]
    if not parts:
        return np.zeros(0, np.uint64), np.zeros(1, np.int64)
    (found,) = parts
    return found


def _index(words: NDArray[np.uint64], starts: NDArray[np.int64], ngram: int) -> Index:
    keys, places = _all_ngrams(words, starts, ngram)
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    del order
    begins = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), keys[1:] != keys[:-1]]))
    counts = np.diff(np.append(begins, len(keys)))
    for run in np.flatnonzero(counts > SHARED_BY).tolist():
        own = places[begins[run] : begins[run] + counts[run]]
        # one item may repeat itself as often as it likes
        if len(np.unique(np.searchsorted(starts, own, side="right"))) <= SHARED_BY:
            continue
        places[begins[run] : begins[run] + counts[run]] = -1
    stays = places >= 0
    if not stays.all():
        keys, places = keys[stays], places[stays]
        begins = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), keys[1:] != keys[:-1]]))
        counts = np.diff(np.append(begins, len(keys)))
    known = keys[begins]
    del keys
    item_grams = np.full(len(words), -1, np.int32)
    item_grams[places] = np.repeat(np.arange(len(known), dtype=np.int32), counts)
    bits = max(1, min(26, len(known).bit_length()))
    firsts = np.arange(2**bits, dtype=np.uint64) << np.uint64(64 - bits)
    buckets = np.append(np.searchsorted(known, firsts), len(known)).astype(np.int32)
    return Index(known, buckets, np.append(begins, len(places)).astype(np.int32), places, starts, item_grams)


@jit
def _all_ngrams(
    words: NDArray[np.uint64], starts: NDArray[np.int64], ngram: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the n-grams of all items, and the word at which each begins."""
    total = 0
    for item in range(starts.shape[0] - 1):
        total += max(starts[item + 1] - starts[item] - ngram + 1, 0)
    keys, places = np.empty(total, np.uint64), np.empty(total, np.int32)
    n = 0
    for item in range(starts.shape[0] - 1):
        begin, end = starts[item], starts[item + 1]
        own = ngrams_of(words[begin:end], end - begin, ngram, keys[n:])
        for i in range(own):
            places[n + i] = begin + i
        n += own
    return keys, places


def _without_ngram(index: Index) -> NDArray[np.int64]:
    """Return the items of which no n-gram is searched."""
    if not len(index.item_grams):
        return np.zeros(0, np.int64)
    held = np.add.reduceat(index.item_grams >= 0, index.item_starts[:-1])
    return np.flatnonzero(held == 0)


def _table(left_out: Sequence[tuple[Item, str]]) -> pa.Table:
    rows = [dict(zip(NOT_SEARCHED_SCHEMA.names, (i.benchmark, i.split, i.id, why), strict=True)) for i, why in left_out]
    return pa.Table.from_pylist(rows, schema=NOT_SEARCHED_SCHEMA)
