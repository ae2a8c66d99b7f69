"""Who keeps a text: exact duplicates, duplicates of other snapshots, near duplicates.

Works on digests and signatures alone, in one process, whatever the worker count was before. Documents stand in their
canonical order (file, then place in the file), and the first one of equals is kept, so the order of files on disk or
of finished workers changes nothing.

Near duplicates are decided greedily: a document is dropped if it resembles, by the estimate from the signatures, a
document kept before it. So every dropped document has a kept counterpart at or above the threshold, chains do not
pull in strangers, and deduplicating the result again drops nothing.

Memory does not grow with the number of documents: what is kept of each lies in a
:class:`~gem_assets.storage.spill.Spill`, which is read in blocks and sorted in parts. On disk it takes 90 bytes per
document and 12 bytes more per document and band; documents that share a bucket take 12 bytes per band and a copy of
their signature besides. The greedy pass looks up signatures of earlier documents wherever they lie, and releases them
after every 8,192 documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.config import NearDuplicates
from gem_assets.corpus.dedup.minhash import EMPTY, band_keys, band_layout
from gem_assets.storage.spill import (
    DIGEST,
    KeyBlocks,
    Rows,
    Spill,
    Words,
    blocks_of,
    digest_blocks,
    groups,
    sorted_parts,
    words_digest,
)

KEPT: Final = 0
EXACT_WITHIN: Final = 1
NEAR_WITHIN: Final = 2
EXACT_ACROSS: Final = 3

_SIGNATURES_AT_ONCE: Final = 1 << 14
_COMPARED_AT_ONCE: Final = 1 << 13


@dataclass(frozen=True)
class Verdicts:
    """What happens to every document.

    Attributes
    ----------
    kind
        int8 (n,): ``KEPT``, ``EXACT_WITHIN``, ``NEAR_WITHIN`` or ``EXACT_ACROSS``; the last three index
        ``DUPLICATE_KINDS`` from 1.
    keeper
        int64 (n,): the document of this snapshot that stands for it. It is kept itself, or its text is owned by
        another snapshot.
    dup_count
        int32 (n,): places with this very text, for kept documents.
    """

    kind: NDArray[np.int8]
    keeper: NDArray[np.int64]
    dup_count: NDArray[np.int32]


@dataclass(frozen=True)
class Equals:
    """Which documents have the same text.

    Attributes
    ----------
    first
        int64 (n,): the first document with the same text.
    count
        int32 (n,): documents with this text, at the first of them; else 0.
    distinct
        S16 (m,): the different digests, sorted.
    """

    first: NDArray[np.int64]
    count: NDArray[np.int32]
    distinct: NDArray[np.bytes_]


def find_equals(digests: NDArray[np.bytes_], spill: Spill, left_out: NDArray[np.bool_] | None = None) -> Equals:
    """Group documents by their content digests, 16 raw bytes each; those ``left_out`` equal nothing."""
    n = len(digests)
    first, count = spill.zeros(n, np.int64), spill.zeros(n, np.int32)
    distinct = spill.zeros(n, DIGEST)
    for part in blocks_of(n):
        first[part] = np.arange(part.start, part.stop)
    end = 0
    for rows, words in sorted_parts(digest_blocks(digests, left_out), n, 2, spill):
        starts, group = groups(words)
        leading = rows[starts]
        later = np.flatnonzero(leading[group] != rows)
        spill.put(first, rows[later], leading[group[later]])
        spill.put(count, leading, np.bincount(group).astype(np.int32))
        distinct[end : end + len(starts)] = words_digest(words[starts])
        end += len(starts)
        spill.settle()
    return Equals(first, count, distinct[:end])


def decide(
    equals: Equals,
    owned: NDArray[np.bool_],
    signatures: NDArray[np.uint32] | None,
    near: NearDuplicates,
    spill: Spill,
    left_out: NDArray[np.bool_] | None = None,
) -> Verdicts:
    """Return what happens to every document, in canonical order.

    Parameters
    ----------
    owned
        bool (n,): another snapshot keeps this text.
    signatures
        uint32 (n, num_perm), may be a memory map; None to look for exact duplicates only.
    left_out
        bool (n,): documents that are neither kept nor looked at; their verdict means nothing.
    """
    n = len(owned)
    stands_for = spill.zeros(n, np.int64)
    for part in blocks_of(n):
        stands_for[part] = np.arange(part.start, part.stop)
    if signatures is not None and near.enabled and n:
        ranked, settled = _ranked(equals.first, owned, left_out, spill)
        dropped, keepers = near_duplicates(signatures, ranked, settled, near, spill)
        for part in blocks_of(len(dropped)):
            stands_for[ranked[dropped[part]]] = ranked[keepers[part]]
            spill.settle()
    kind, keeper = spill.zeros(n, np.int8), spill.zeros(n, np.int64)
    for part in blocks_of(n):
        first, theirs = equals.first[part], owned[part]
        keeper[part] = stands_for[first]
        kind[part] = np.where(first == np.arange(part.start, part.stop), KEPT, EXACT_WITHIN)
        kind[part][keeper[part] != first] = NEAR_WITHIN
        kind[part][theirs] = EXACT_ACROSS
        spill.settle()
    return Verdicts(kind, keeper, equals.count)


def _ranked(
    first: NDArray[np.int64], owned: NDArray[np.bool_], left_out: NDArray[np.bool_] | None, spill: Spill
) -> tuple[Rows, int]:
    """Return one document of each text, and how many of them lead because other snapshots keep them.

    Texts of other snapshots come first: they stay whatever resembles them.
    """
    ranked, end, settled = spill.zeros(len(first), np.int64), 0, 0
    for wanted in (True, False):
        for part in blocks_of(len(first)):
            rows = np.arange(part.start, part.stop)
            chosen = (first[part] == rows) & (owned[part] == wanted)
            if left_out is not None:
                chosen &= ~left_out[part]
            rows = rows[chosen]
            ranked[end : end + len(rows)] = rows
            end += len(rows)
            spill.settle()
        settled = end if wanted else settled
    return ranked[:end], settled


def near_duplicates(
    signatures: NDArray[np.uint32], at: Rows, settled: int, near: NearDuplicates, spill: Spill
) -> tuple[Rows, Rows]:
    """Return the ranks of the documents that are dropped, and the rank of the one that stands for each.

    Parameters
    ----------
    signatures
        uint32 (n, num_perm); may be a memory map.
    at
        Rows of ``signatures``, first come first kept.
    settled
        The first so many are kept without being compared.
    near
        Threshold, and how much of a large bucket is looked at.
    """
    buckets, used = _buckets(signatures, at, near, spill)
    suspects = _suspects(buckets, spill)
    n, bands = len(suspects), buckets.shape[1]
    local = spill.zeros((n, signatures.shape[1]), np.uint32)
    shared = spill.zeros((n, bands), np.int32)
    for part in blocks_of(n, _SIGNATURES_AT_ONCE):
        local[part], shared[part] = signatures[at[suspects[part]]], buckets[suspects[part]]
        spill.settle()
    newest, older = spill.zeros(used + 1, np.int32), spill.zeros((n, bands), np.int32)
    looked_at, winner = spill.zeros(n, np.int32), spill.zeros(n, np.int64)
    needed = int(np.ceil(near.threshold * near.num_perm - 1e-9))
    compared = int(np.searchsorted(suspects, settled))
    dropped, keepers, end = spill.zeros(n, np.int64), spill.zeros(n, np.int64), 0
    for part in blocks_of(n, _COMPARED_AT_ONCE):
        _keep_first(
            local, shared, newest, older, looked_at, winner, part.start, part.stop, compared, needed, near.max_bucket
        )
        lost = np.flatnonzero(winner[part] != np.arange(part.start, part.stop))
        dropped[end : end + len(lost)] = suspects[part][lost]
        keepers[end : end + len(lost)] = suspects[winner[part][lost]]
        end += len(lost)
        spill.settle()
    return dropped[:end], keepers[:end]


@nb.njit(cache=True)
def _keep_first(
    signatures: NDArray[np.uint32],
    buckets: NDArray[np.int32],
    newest: NDArray[np.int32],
    older: NDArray[np.int32],
    looked_at: NDArray[np.int32],
    winner: NDArray[np.int64],
    start: int,
    stop: int,
    compared: int,
    needed: int,
    most: int,
) -> None:
    """Set ``winner`` of the documents from start to stop to the first kept one that each resembles, or to itself.

    Each bucket is a chain of kept documents, newest first, of which ``most`` are looked at. Documents before
    ``compared`` are kept as they are. Buckets, and the documents in chains, are counted from 1; 0 is none.
    """
    bands = buckets.shape[1]
    width = signatures.shape[1]
    for i in range(start, stop):
        best = i
        for band in range(bands):
            bucket = buckets[i, band]
            if i < compared or bucket == 0:
                continue
            other = newest[bucket] - 1
            steps = 0
            while other >= 0 and steps < most:
                if other < best and looked_at[other] != i + 1:
                    looked_at[other] = i + 1
                    differing = 0
                    for k in range(width):
                        if signatures[i, k] != signatures[other, k]:
                            differing += 1
                            if differing > width - needed:
                                break
                    if differing <= width - needed:
                        best = other
                other = older[other, band] - 1
                steps += 1
        winner[i] = best
        if best == i:
            for band in range(bands):
                bucket = buckets[i, band]
                if bucket > 0:
                    older[i, band] = newest[bucket]
                    newest[bucket] = i + 1


def _buckets(
    signatures: NDArray[np.uint32], at: Rows, near: NearDuplicates, spill: Spill
) -> tuple[NDArray[np.int32], int]:
    """Return the bucket of each document in each band, from 1 (0: alone in it), and how many buckets there are.

    No two bands have a bucket in common.
    """
    n, (bands, rows) = len(at), band_layout(near.threshold, near.num_perm)
    eligible = spill.zeros(n, bool)
    keys = spill.zeros((bands, n), np.uint64)
    for part in blocks_of(n, _SIGNATURES_AT_ONCE):
        block = np.asarray(signatures[at[part]])
        eligible[part] = ~(block == EMPTY).all(axis=1)
        for band in range(bands):
            keys[band, part] = band_keys(block, band, rows)
        spill.settle()
    buckets, used = spill.zeros((n, bands), np.int32), 0
    for band in range(bands):
        for ranks, words in sorted_parts(_key_blocks(keys[band], eligible), n, 1, spill):
            _, group = groups(words)
            crowded = np.bincount(group) > 1
            numbers = np.cumsum(crowded) + used
            shared = crowded[group]
            spill.put(buckets[:, band], ranks[shared], numbers[group[shared]].astype(np.int32))
            used += int(crowded.sum())
    return buckets, used


def _key_blocks(keys: NDArray[np.uint64], eligible: NDArray[np.bool_]) -> KeyBlocks:
    def blocks() -> Iterator[tuple[Rows, Words]]:
        for part in blocks_of(len(keys)):
            ranks = np.flatnonzero(eligible[part])
            yield ranks + part.start, keys[part][ranks, None]

    return blocks


def _suspects(buckets: NDArray[np.int32], spill: Spill) -> Rows:
    """Return the ranks of the documents that share a bucket with another one in one band at least."""
    found, end = spill.zeros(len(buckets), np.int64), 0
    for part in blocks_of(len(buckets)):
        ranks = np.flatnonzero(buckets[part].any(axis=1)) + part.start
        found[end : end + len(ranks)] = ranks
        end += len(ranks)
        spill.settle()
    return found[:end]
