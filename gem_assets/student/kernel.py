"""Token hashes to cluster scores: the inner loop of web-scale labelling.

The tokeniser (``embedding/features.py``) fills a block of hashes that fits the CPU's cache; the kernel here sums the
weight rows of each document, scales by 1/sqrt(weight) and adds the bias. Rows of a block are known before they are
needed, so the cache misses on the weight table overlap. float32, 96 bytes a word at 24 clusters.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.embedding.features import (
    TextBuffers,
    Texts,
    TokenRules,
    block_bounds,
    jit,
    text_buffers,
    tokenise,
)

#: Repetitions of a word in a document beyond this many are not counted.
MAX_COUNT: Final = 255


@jit
def _score_kernel(
    hashes: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    shift: np.uint32,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    scores: NDArray[np.float32],
    n_features: NDArray[np.int32],
) -> None:
    """Scores = sum of rows / sqrt(number of tokens) + bias."""
    width = weights.shape[1]
    for d in range(indptr.shape[0] - 1):
        n = indptr[d + 1] - indptr[d]
        n_features[d] = n
        row_sum = scores[d]
        for t in range(indptr[d], indptr[d + 1]):
            row = np.int64(hashes[t] >> shift)
            for j in range(width):
                row_sum[j] += weights[row, j]
        scale = np.float32(1.0 / np.sqrt(np.float64(max(n, 1))))
        for j in range(width):
            row_sum[j] = row_sum[j] * scale + bias[j]


@jit
def _score_log_kernel(
    hashes: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    shift: np.uint32,
    weights: NDArray[np.float32],
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
    width = weights.shape[1]
    for d in range(indptr.shape[0] - 1):
        n = 0
        for t in range(indptr[d], indptr[d + 1]):
            row = np.int64(hashes[t] >> shift)
            count = seen[row]
            rows[n] = row
            n += int(count == 0)
            seen[row] = count + np.uint8(count < MAX_COUNT)
        n_features[d] = indptr[d + 1] - indptr[d]
        row_sum = scores[d]
        square = np.float32(0)
        for t in range(n):
            row = rows[t]
            weight = log_weight[seen[row]]
            seen[row] = 0
            square += weight * weight
            for j in range(width):
                row_sum[j] += weight * weights[row, j]
        scale = np.float32(1.0 / np.sqrt(np.float64(max(square, np.float32(1)))))
        for j in range(width):
            row_sum[j] = row_sum[j] * scale + bias[j]


def log_weights() -> NDArray[np.float32]:
    """Weight of a word by its count in the document: 1 + ln(count), up to ``MAX_COUNT``."""
    return (1 + np.log(np.maximum(np.arange(MAX_COUNT + 1), 1))).astype(np.float32)


class Scorer:
    """Cluster scores of documents under fixed weights; safe to use from several threads.

    Parameters
    ----------
    weights : float32 array, shape (2^b, K)
        A row for each hash bucket.
    bias : float32 array, shape (K,)
        Added to every document's scores.
    rules : TokenRules
        What is read from a document.
    log_counts : bool
        Weigh a repeated word by 1 + ln(count) instead of its count.
    """

    def __init__(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], rules: TokenRules, log_counts: bool
    ) -> None:
        self.weights = np.ascontiguousarray(weights, np.float32)
        self.bias = np.ascontiguousarray(bias, np.float32)
        self.rules = rules
        self.log_counts = log_counts
        self._bits = weights.shape[0].bit_length() - 1

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
        scores = np.zeros((len(block), self.weights.shape[1]), np.float32)
        n_features = np.empty(len(block), np.int32)
        if self.log_counts:
            longest = int(np.diff(block.indptr).max(initial=0))
            _score_log_kernel(
                block.hashes,
                block.indptr,
                np.uint32(32 - self._bits),
                self.weights,
                self.bias,
                log_weights(),
                np.zeros(self.weights.shape[0], np.uint8),
                np.empty(longest + 1, np.int64),
                scores,
                n_features,
            )
        else:
            _score_kernel(
                block.hashes, block.indptr, np.uint32(32 - self._bits), self.weights, self.bias, scores, n_features
            )
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
