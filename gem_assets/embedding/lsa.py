"""Latent semantic analysis: hashed TF-IDF, randomised truncated SVD, unit length (Deerwester et al. 1990).

The plain baseline of the fitted embedders; ``cca.py`` adds one step and is the default. It writes
``lsa.safetensors`` (bucket map, weights, table) beside ``embedder.json``. Cost: see ``tfidf.py``.
"""

from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.features import Texts, as_large_strings
from gem_assets.embedding.base import Embedded, Progress, load_fitted, save_fitted
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.counts import count_texts
from gem_assets.embedding.tfidf import TfidfProjection, evenly_spaced, rules_of, unit_rows

_WEIGHTS_FILE: Final = "lsa.safetensors"


class LsaEmbedder:
    """Unit TF-IDF rows on their leading right singular vectors.

    A document without a single known feature gets the mean direction of the fitted documents: it lands where the
    average document lands, with no opinion.

    ``centre_``, float32 ``(d,)``, is the mean of the fitted unit rows.
    """

    def __init__(self, config: EmbeddingConfig, projection: TfidfProjection, centre: NDArray[np.float32]) -> None:
        self.config = config
        self.projection_ = projection
        self.centre_ = centre

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.projection_.rank

    @classmethod
    def fit(cls, texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Self:
        """Fit on at most ``config.fit_documents`` evenly spaced documents.

        Raises ValueError if the sample has too few documents or features for ``config.dimension``.
        """
        sample = evenly_spaced(as_large_strings(texts), config.fit_documents)
        counts = count_texts(sample, rules_of(config), config.hash_bits, progress)
        projection = TfidfProjection.fit(counts, config.dimension, config)
        rows, known = projection.of_counts(counts)
        return cls(config, projection, rows[known].mean(axis=0, dtype=np.float64).astype(np.float32))

    def transform(self, texts: Texts) -> NDArray[np.float32]:
        """Unit rows, shape (n, d)."""
        return self.embed(texts).vectors

    def embed(self, texts: Texts) -> Embedded:
        """Unit rows and which of them are the fallback."""
        vectors, known = self.projection_.of_texts(as_large_strings(texts), self.config)
        if self.config.remove_common_component:
            vectors = unit_rows(vectors - self.centre_)
        known &= vectors.any(axis=1)
        vectors[~known] = unit_rows(self.centre_[None, :])
        return Embedded(vectors, ~known)

    def save(self, directory: Path) -> None:
        """Write ``embedder.json`` and ``lsa.safetensors`` into the directory."""
        save_fitted(directory, _WEIGHTS_FILE, self.config, {**self.projection_.arrays(), "centre": self.centre_})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what :meth:`save` wrote.

        Raises ValueError if it was fitted with another tokeniser than this library's.
        """
        config, arrays = load_fitted(directory, _WEIGHTS_FILE)
        projection = TfidfProjection(arrays["column_of"], arrays["weight_of"], arrays["table"])
        return cls(config, projection, arrays["centre"])


EMBEDDER = LsaEmbedder
