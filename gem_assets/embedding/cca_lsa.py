"""An embedder for topic and form together: canonical directions next to plain LSA.

The default keeps what two halves of a document agree on, which is its topic, and loses labels of *format* (news,
question and answer, listing): these show in how words are spread, and plain inverse document frequency with an SVD
keeps more of them. Put side by side, vectors of length 1 and ``lsa_weight``, both are there. Measured beside the
default by ``python -m benchmarks.embedding``: formats and short help pages reach the level of textbook TF-IDF again, at
part of the gain on topics. It writes one folder for each part beside ``embedder.json``. Cost: both parts.
"""

import json
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.features import Texts, as_large_strings
from gem_assets.embedding.base import DESCRIPTION_FILE, Embedded, Progress, describe
from gem_assets.embedding.cca import CcaEmbedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.lsa import LsaEmbedder
from gem_assets.embedding.tfidf import unit_rows


class CombinedEmbedder:
    """Rows of :class:`CcaEmbedder` and, weighted, of :class:`LsaEmbedder` with plain idf, side by side.

    Attributes
    ----------
    cca_ : CcaEmbedder
        The first ``config.dimension`` columns.
    lsa_ : LsaEmbedder
        The last ``config.lsa_dimension`` columns.
    """

    def __init__(self, config: EmbeddingConfig, cca: CcaEmbedder, lsa: LsaEmbedder) -> None:
        self.config = config
        self.cca_ = cca
        self.lsa_ = lsa

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.cca_.dimension + self.lsa_.dimension

    @classmethod
    def fit(cls, texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Self:
        """Fit both parts on the same documents, at most ``config.fit_documents`` and evenly spaced.

        Raises ValueError if the sample has too few documents or features for one of the dimensions.
        """
        cca = CcaEmbedder.fit(texts, config.model_copy(update={"method": "cca"}), progress)
        changes = {"method": "lsa", "dimension": config.lsa_dimension, "idf_power": 1.0}
        return cls(config, cca, LsaEmbedder.fit(texts, config.model_copy(update=changes), progress))

    def transform(self, texts: Texts) -> NDArray[np.float32]:
        """Unit rows, shape (n, d)."""
        return self.embed(texts).vectors

    def embed(self, texts: Texts) -> Embedded:
        """Unit rows and which of them are the fallback of both parts."""
        strings = as_large_strings(texts)
        topic, form = self.cca_.embed(strings), self.lsa_.embed(strings)
        rows = np.hstack([topic.vectors, np.float32(self.config.lsa_weight) * form.vectors])
        return Embedded(unit_rows(rows), topic.unknown & form.unknown)

    def save(self, directory: Path) -> None:
        """Write ``embedder.json`` and the folders ``cca`` and ``lsa`` into the directory."""
        for name, part in (("cca", self.cca_), ("lsa", self.lsa_)):
            (directory / name).mkdir()
            part.save(directory / name)
        describe(directory, self.config)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what :meth:`save` wrote.

        Raises ValueError if it was fitted with another tokeniser than this library's.
        """
        config = EmbeddingConfig.model_validate(json.loads((directory / DESCRIPTION_FILE).read_text())["config"])
        return cls(config, CcaEmbedder.load(directory / "cca"), LsaEmbedder.load(directory / "lsa"))


EMBEDDER = CombinedEmbedder
