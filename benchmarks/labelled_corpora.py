"""The labelled corpora as vectors, texts and labels, for the benchmarks of clusterings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder

#: Name, file, column of the labels.
CORPORA = (
    ("ag news", "labeled/ag_news_test.parquet", "label"),
    ("reuters", "labeled/reuters21578.parquet", "label"),
    ("web topics", "labeled/web_topics_formats.parquet", "label"),
    ("web formats", "labeled/web_topics_formats.parquet", "format"),
    ("webmix", "multidomain/webmix_dev.parquet", "label"),
    ("tldr", "snapshots/tldr_recrawls.parquet", "label"),
)


@dataclass(frozen=True)
class Corpus:
    """Unit rows (n, d) of a corpus's documents, with their texts, labels and file of origin."""

    name: str
    vectors: NDArray[np.float32]
    texts: list[str]
    labels: NDArray[np.str_]

    @property
    def classes(self) -> int:
        """Number of distinct labels."""
        return len(np.unique(self.labels))


def load_corpus(folder: Path, name: str, file: str, column: str, most: int, seed: int = 0) -> Corpus:
    """Read at most ``most`` documents, drawn with ``seed``, and embed them by the default space fitted on them.

    Labels that start with a bracket (none, several) are left out, as are exact repetitions of a text and documents
    without any feature.
    """
    table = pq.read_table(folder / file, columns=["text", column])
    table = table.filter(pc.invert(pc.starts_with(table[column], "(")))
    first = np.unique(np.array(table["text"].to_pylist(), dtype=object), return_index=True)[1]
    if len(first) > most:
        first = np.random.default_rng(seed).choice(first, most, replace=False)
    table = table.take(pa.array(np.sort(first)))
    texts = table["text"].cast(pa.large_string())
    vectors = fit_embedder(texts, EmbeddingConfig()).transform(texts)
    kept = np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3
    mask = pa.array(kept)
    return Corpus(
        name,
        np.ascontiguousarray(vectors[kept]),
        texts.filter(mask).to_pylist(),
        np.array(table[column].filter(mask).to_pylist()),
    )
