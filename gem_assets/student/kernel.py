"""Compute cluster scores from token hashes: the inner loop of web-scale labelling.

The tokeniser (``corpus/text/features.py``) fills a block of hashes that fits the CPU's cache; the kernel here sums the
weight rows of each document, scales by 1/sqrt(weight) and adds the bias. The sum is bound by cache misses on the weight
table, so the table is small (a weight is a 16-bit integer, a row of 24 clusters one cache line) and its rows are asked
for while the words are counted.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.features import (
    TextBuffers,
    Texts,
    TokenRules,
    block_bounds,
    jit,
    text_buffers,
    tokenise,
)
from gem_assets.student.prefetch import prefetch_row

#: Repetitions of a word in a document beyond this many are not counted.
MAX_COUNT: Final = 255
_CACHE_LINE: Final = 64


@dataclass(frozen=True)
class WeightTable:
    """Weights as the kernel reads them: integers and one unit, rows padded to whole cache lines.

    Attributes
    ----------
    values : int8, int16 or float32 array, shape (2^b, w)
        The first K columns count, the rest are zero.
    unit : float
        A weight is its value times this.
    n_clusters : int
        K.
    """

    values: NDArray[Any]
    unit: float
    n_clusters: int

    @classmethod
    def of(cls, weights: NDArray[np.float32], bits: int) -> "WeightTable":
        """Round weights (2^b, K) to integers of 8 or 16 bits, the largest to the largest; 32 keeps them as they are."""
        if bits == 32:
            return cls.of_values(weights.astype(np.float32), 1.0)
        largest = (1 << (bits - 1)) - 1
        unit = float(np.abs(weights).max(initial=0)) / largest or 1.0
        rounded = np.rint(weights.astype(np.float64) / unit)
        return cls.of_values(rounded.astype(np.int8 if bits == 8 else np.int16), unit)

    @classmethod
    def of_values(cls, values: NDArray[Any], unit: float) -> "WeightTable":
        """Pad the values (2^b, K) of a saved table."""
        per_line = _CACHE_LINE // values.dtype.itemsize
        rows, n_clusters = values.shape
        width = -(-n_clusters // per_line) * per_line
        # numpy aligns to 16 bytes only; a row must not straddle two cache lines
        raw = np.zeros(rows * width * values.dtype.itemsize + _CACHE_LINE, np.uint8)
        start = -raw.ctypes.data % _CACHE_LINE
        padded = raw[start : start + rows * width * values.dtype.itemsize].view(values.dtype).reshape(rows, width)
        padded[:, :n_clusters] = values
        return cls(padded, unit, n_clusters)

    def unpadded(self) -> NDArray[Any]:
        """The values without the padding, shape (2^b, K)."""
        return np.ascontiguousarray(self.values[:, : self.n_clusters])

    def weights(self) -> NDArray[np.float32]:
        """The weights, float32 (2^b, K)."""
        return self.unpadded().astype(np.float32) * np.float32(self.unit)


@jit
def _score_kernel(
    hashes: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    shift: np.uint32,
    table: NDArray[Any],
    unit: np.float32,
    bias: NDArray[np.float32],
    scores: NDArray[np.float32],
    n_features: NDArray[np.int32],
) -> None:
    """Scores = sum of rows / sqrt(number of tokens) + bias."""
    width = table.shape[1]
    total = np.zeros(width, np.float32)
    for d in range(indptr.shape[0] - 1):
        n = indptr[d + 1] - indptr[d]
        n_features[d] = n
        total[:] = 0
        for t in range(indptr[d], indptr[d + 1]):
            prefetch_row(table, np.int64(hashes[t] >> shift))
        for t in range(indptr[d], indptr[d + 1]):
            row = np.int64(hashes[t] >> shift)
            for j in range(width):
                total[j] += np.float32(table[row, j])
        scale = np.float32(unit / np.sqrt(np.float64(max(n, 1))))
        for j in range(bias.shape[0]):
            scores[d, j] = total[j] * scale + bias[j]


@jit
def _score_log_kernel(
    hashes: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    shift: np.uint32,
    table: NDArray[Any],
    unit: np.float32,
    bias: NDArray[np.float32],
    log_weight: NDArray[np.float32],
    seen: NDArray[np.uint8],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    n_features: NDArray[np.int32],
) -> None:
    """Scores = sum of log_weight[count] * row over distinct rows / root of the sum of squared weights + bias.

    ``seen`` is zero before and after, ``rows`` has room for the longest document. One row read for each distinct
    word pays for the counting: this is as fast as the sum over all words.
    """
    width = table.shape[1]
    total = np.zeros(width, np.float32)
    for d in range(indptr.shape[0] - 1):
        n = 0
        for t in range(indptr[d], indptr[d + 1]):
            row = np.int64(hashes[t] >> shift)
            count = seen[row]
            rows[n] = row
            n += int(count == 0)
            seen[row] = count + np.uint8(count < MAX_COUNT)
            prefetch_row(table, row)
        n_features[d] = indptr[d + 1] - indptr[d]
        total[:] = 0
        square = np.float32(0)
        for t in range(n):
            row = rows[t]
            weight = log_weight[seen[row]]
            seen[row] = 0
            square += weight * weight
            for j in range(width):
                total[j] += weight * np.float32(table[row, j])
        scale = np.float32(unit / np.sqrt(np.float64(max(square, np.float32(1)))))
        for j in range(bias.shape[0]):
            scores[d, j] = total[j] * scale + bias[j]


def log_weights() -> NDArray[np.float32]:
    """Weight of a word by its count in the document: 1 + ln(count), up to ``MAX_COUNT``."""
    return (1 + np.log(np.maximum(np.arange(MAX_COUNT + 1), 1))).astype(np.float32)


class Scorer:
    """Cluster scores of documents under fixed weights; safe to use from several threads.

    Parameters
    ----------
    table : WeightTable
        A row for each of the 2^b hash buckets.
    bias : float32 array, shape (K,)
        Added to every document's scores.
    rules : TokenRules
        What is read from a document.
    log_counts : bool
        Weigh a repeated word by 1 + ln(count) instead of its count.
    """

    def __init__(self, table: WeightTable, bias: NDArray[np.float32], rules: TokenRules, log_counts: bool) -> None:
        self.table = table
        self.bias = np.ascontiguousarray(bias, np.float32)
        self.rules = rules
        self.log_counts = log_counts
        self._bits = table.values.shape[0].bit_length() - 1

    def blocks(self, texts: Texts, threads: int = 1) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
        """Scores (n, K) and token counts (n,) of consecutive blocks of documents, in order.

        Parameters
        ----------
        texts : Array, ChunkedArray or sequence of str
            Documents.
        threads : int
            Blocks worked on at once; the result does not depend on it.
        """
        jobs = (
            (buffers, lo, hi) for buffers in text_buffers(texts) for lo, hi in block_bounds(buffers.offsets, self.rules)
        )
        if threads <= 1:
            yield from (self._block(*job) for job in jobs)
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting = []
            for job in jobs:
                waiting.append(pool.submit(self._block, *job))
                if len(waiting) >= 4 * threads:
                    yield waiting.pop(0).result()
            yield from (job.result() for job in waiting)

    def _block(self, buffers: TextBuffers, lo: int, hi: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        block = tokenise(buffers, lo, hi, self.rules)
        scores = np.empty((len(block), self.table.n_clusters), np.float32)
        n_features = np.empty(len(block), np.int32)
        shift, unit = np.uint32(32 - self._bits), np.float32(self.table.unit)
        hashes, indptr, values, bias = block.hashes, block.indptr, self.table.values, self.bias
        if self.log_counts:
            seen = np.zeros(len(values), np.uint8)
            rows = np.empty(int(np.diff(indptr).max(initial=0)) + 1, np.int64)
            _score_log_kernel(hashes, indptr, shift, values, unit, bias, log_weights(), seen, rows, scores, n_features)
        else:
            _score_kernel(hashes, indptr, shift, values, unit, bias, scores, n_features)
        return scores, n_features


@jit
def decide(
    scores: NDArray[np.float32],
    cluster: NDArray[np.int16],
    confidence: NDArray[np.float32],
    margin: NDArray[np.float32],
) -> None:
    """Argmax of each row, its softmax probability, and that minus the runner-up's; the lower id wins a tie."""
    for d in range(scores.shape[0]):
        best = 0
        second = -1
        for k in range(1, scores.shape[1]):
            if scores[d, k] > scores[d, best]:
                second = best
                best = k
            elif second < 0 or scores[d, k] > scores[d, second]:
                second = k
        total = 0.0
        for k in range(scores.shape[1]):
            total += np.exp(np.float64(scores[d, k]) - np.float64(scores[d, best]))
        cluster[d] = best
        confidence[d] = np.float32(1.0 / total)
        runner_up = 0.0
        if second >= 0:
            runner_up = np.exp(np.float64(scores[d, second]) - np.float64(scores[d, best]))
        margin[d] = np.float32((1.0 - runner_up) / total)
