"""The default embedder: LSA, then the directions on which the two halves of a document agree.

A direction of LSA space is worth keeping as far as one half of a document predicts the other half on it. Topics do,
turns of phrase and chance words do not. Canonical correlation analysis between the halves (Hotelling 1936; on texts
Dhillon, Foster and Ungar 2011) finds these directions in closed form from two covariance matrices, with no labels and
no download, and the correlations say how much each counts. Spherical k-means NMI of textbook TF-IDF + SVD-100 with an
English stop word list / this, which has none / MiniLM: web pages .30 / .43 / .40, short news .50 / .59 / .59, Reuters
.50 / .50 / .51, a 26-domain mix .76 / .79 / .77 (``python -m benchmarks.embedding``). It writes ``cca.safetensors``
beside ``embedder.json``. Cost: the LSA of ``tfidf.py`` and r d multiplications per document.
"""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from gem_assets.corpus.text.features import Texts, as_large_strings, jit
from gem_assets.embedding.base import Embedded, Progress, load_fitted, save_fitted
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.counts import BucketCounts, count_texts
from gem_assets.embedding.tfidf import TfidfProjection, evenly_spaced, positive_peaks, rules_of, unit_rows

_WEIGHTS_FILE: Final = "cca.safetensors"


@jit
def _turn_kernel(
    rows: NDArray[np.float32], centre: NDArray[np.float32], directions: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Add (rows - centre) @ directions to ``out``, summed in the same order for every row.

    A BLAS product may round a row differently in another batch; here a vector depends on its document alone.
    """
    for i in range(rows.shape[0]):
        for r in range(rows.shape[1]):
            value = rows[i, r] - centre[r]
            for j in range(directions.shape[1]):
                out[i, j] += value * directions[r, j]


class CcaEmbedder:
    """LSA rows, centred, on the canonical directions between the halves of the fitted documents.

    A document without a single known feature gets the mean direction of the fitted documents.

    Attributes
    ----------
    base_centre_ : float32 array, shape (r,)
        Mean LSA row of the fitted documents.
    directions_ : float32 array, shape (r, d)
        Canonical directions, each times its correlation to the power ``config.correlation_power``.
    correlations_ : float32 array, shape (d,)
        Canonical correlations, falling; at most 1.
    centre_ : float32 array, shape (d,)
        Mean vector of the fitted documents.
    """

    def __init__(
        self,
        config: EmbeddingConfig,
        projection: TfidfProjection,
        base_centre: NDArray[np.float32],
        directions: NDArray[np.float32],
        correlations: NDArray[np.float32],
        centre: NDArray[np.float32] | None = None,
    ) -> None:
        self.config = config
        self.projection_ = projection
        self.base_centre_ = base_centre
        self.directions_ = directions
        self.correlations_ = correlations
        self.centre_ = np.zeros(directions.shape[1], np.float32) if centre is None else centre

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.directions_.shape[1])

    @classmethod
    def fit(cls, texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Self:
        """Fit on at most ``config.fit_documents`` evenly spaced documents.

        Raises ValueError if the sample has too few documents or features for ``config.dimension``.
        """
        sample = evenly_spaced(as_large_strings(texts), config.fit_documents)
        halves = count_texts(_halves(sample, config.max_chars), rules_of(config), config.hash_bits, progress)
        documents = _joined(halves, config.hash_bits)
        filled = int((np.diff(documents.indptr) > 0).sum())
        rank = max(config.dimension, min(config.base_dimension, filled))
        projection = TfidfProjection.fit(documents, rank, config)
        rows, known = projection.of_counts(halves)
        both = known[0::2] & known[1::2]
        directions, correlations = _canonical(rows[0::2][both], rows[1::2][both], config)
        rows, known = projection.of_counts(documents)
        base_centre = rows[known].mean(axis=0, dtype=np.float64).astype(np.float32)
        fitted = cls(config, projection, base_centre, directions, correlations)
        fitted.centre_ = fitted._turn(rows[known]).mean(axis=0, dtype=np.float64).astype(np.float32)
        return fitted

    def transform(self, texts: Texts) -> NDArray[np.float32]:
        """Unit rows, shape (n, d)."""
        return self.embed(texts).vectors

    def embed(self, texts: Texts) -> Embedded:
        """Unit rows and which of them are the fallback."""
        rows, known = self.projection_.of_texts(as_large_strings(texts), self.config)
        vectors = self._turn(rows)
        known &= vectors.any(axis=1)
        fallback = unit_rows(self.centre_[None, :])
        vectors[~known] = fallback if fallback.any() else np.eye(1, self.dimension, dtype=np.float32)
        return Embedded(vectors, ~known)

    def _turn(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = np.zeros((len(rows), self.dimension), np.float32)
        _turn_kernel(rows, self.base_centre_, self.directions_, vectors)
        return unit_rows(vectors)

    def save(self, directory: Path) -> None:
        """Write ``embedder.json`` and ``cca.safetensors`` into the directory."""
        own: dict[str, NDArray[Any]] = {
            "base_centre": self.base_centre_,
            "directions": self.directions_,
            "correlations": self.correlations_,
            "centre": self.centre_,
        }
        save_fitted(directory, _WEIGHTS_FILE, self.config, {**self.projection_.arrays(), **own})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what :meth:`save` wrote.

        Raises ValueError if it was fitted with another tokeniser than this library's.
        """
        config, arrays = load_fitted(directory, _WEIGHTS_FILE)
        projection = TfidfProjection(arrays["column_of"], arrays["weight_of"], arrays["table"])
        return cls(
            config,
            projection,
            arrays["base_centre"],
            arrays["directions"],
            arrays["correlations"],
            arrays["centre"],
        )


EMBEDDER = CcaEmbedder


def _halves(texts: pa.ChunkedArray, max_chars: int) -> pa.ChunkedArray:
    """First and second half of each document in turn, cut at a blank behind the middle where there is one."""
    chunks: list[pa.Array] = []
    for batch in texts.chunks:
        halves: list[str] = []
        for value in batch.to_pylist():
            text = value[:max_chars] if max_chars else value
            middle = len(text) // 2
            blank = text.find(" ", middle, middle + 200)
            cut = blank if blank >= 0 else middle
            halves += [text[:cut], text[cut:]]
        chunks.append(pa.array(halves, pa.large_string()))
    return pa.chunked_array(chunks, pa.large_string())


def _joined(halves: BucketCounts, bits: int) -> BucketCounts:
    """Counts of the documents that the halves came from."""
    # a copy: summing duplicates sorts in place, and the arrays are still those of the halves
    matrix: Any = csr_array(
        (halves.counts, halves.buckets, halves.indptr[::2]), shape=(len(halves) // 2, 1 << bits), copy=True
    )
    matrix.sum_duplicates()
    return BucketCounts(matrix.indices.astype(np.int32), matrix.data.astype(np.int32), matrix.indptr.astype(np.int64))


def _canonical(
    first: NDArray[np.float32], second: NDArray[np.float32], config: EmbeddingConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Directions (r, d), scaled, and their correlations (d,): K w = rho (S + ridge tr(S)/r I) w.

    S and K are the covariance of the halves and between them, made symmetric as neither half is special.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    mean = (a.mean(axis=0) + b.mean(axis=0)) / 2
    a, b = a - mean, b - mean
    with threadpool_limits(1, user_api="blas"):
        within = (a.T @ a + b.T @ b) / (2 * len(a))
        between = (a.T @ b + b.T @ a) / (2 * len(a))
        ridge = config.ridge * float(np.trace(within)) / len(within)
        values, vectors = eigh(between, within + ridge * np.eye(len(within)))
    order = np.argsort(-values, kind="stable")[: config.dimension]
    correlations = np.clip(values[order], 0, 1)
    directions = positive_peaks(vectors[:, order]) * correlations**config.correlation_power
    return np.ascontiguousarray(directions, dtype=np.float32), correlations.astype(np.float32)
