"""Hash-bucket counts of documents, on which both the embedder and the student are fitted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.features import Texts, TokenBlock, TokenRules, as_large_strings, jit, token_blocks


@jit
def _count_kernel(
    hashes: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    shift: np.uint32,
    seen: NDArray[np.int32],
    buckets: NDArray[np.int32],
    counts: NDArray[np.int32],
    out_indptr: NDArray[np.int64],
) -> int:
    """Distinct buckets of each document in order of first sight; ``seen`` is all zero before and after."""
    n = 0
    out_indptr[0] = 0
    for d in range(indptr.shape[0] - 1):
        start = n
        for t in range(indptr[d], indptr[d + 1]):
            bucket = np.int32(hashes[t] >> shift)
            if seen[bucket] == 0:
                buckets[n] = bucket
                n += 1
            seen[bucket] += 1
        for t in range(start, n):
            counts[t] = seen[buckets[t]]
            seen[buckets[t]] = 0
        out_indptr[d + 1] = n
    return n


@dataclass(frozen=True)
class BucketCounts:
    """Counts in CSR form: document i has ``counts[j]`` tokens in ``buckets[j]``, indptr[i] <= j < indptr[i + 1].

    Attributes
    ----------
    buckets : int32 array, shape (m,)
        Distinct within a document, in order of first sight.
    counts : int32 array, shape (m,)
        At least 1.
    indptr : int64 array, shape (n + 1,)
        Bounds of the documents.
    """

    buckets: NDArray[np.int32]
    counts: NDArray[np.int32]
    indptr: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def documents(self) -> NDArray[np.int64]:
        """Document of each entry, shape (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))


def count_block(block: TokenBlock, bits: int) -> BucketCounts:
    """Count one block's hashes in 2^bits buckets (the leading bits of the hash)."""
    buckets = np.empty(len(block.hashes), np.int32)
    counts = np.empty(len(block.hashes), np.int32)
    indptr = np.empty(len(block.indptr), np.int64)
    seen = np.zeros(1 << bits, np.int32)
    n = _count_kernel(block.hashes, block.indptr, np.uint32(32 - bits), seen, buckets, counts, indptr)
    return BucketCounts(buckets[:n], counts[:n], indptr)


def count_texts(
    texts: Texts, rules: TokenRules, bits: int, progress: Callable[[int, int], None] | None = None
) -> BucketCounts:
    """Count all documents; ``progress`` receives (documents done, documents in all)."""
    chunked = as_large_strings(texts)
    buckets: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    counts: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    for block in token_blocks(chunked, rules):
        counted = count_block(block, bits)
        # copies, so that the room for the block's repeated tokens is given back
        buckets.append(counted.buckets.copy())
        counts.append(counted.counts.copy())
        lengths.append(np.diff(counted.indptr))
        if progress is not None:
            progress(block.first + len(block), len(chunked))
    return BucketCounts(np.concatenate(buckets), np.concatenate(counts), np.concatenate(lengths).cumsum())
