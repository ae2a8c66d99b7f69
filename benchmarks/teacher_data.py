"""Vectors for the teacher's benchmarks: real passages where the corpora stand beside the checkout, else synthetic.

Passages of at most 400 characters from every corpus, embedded by TF-IDF and a truncated SVD fitted on them; 200,000
rows from 83 MB of text. Kept in the system's temporary folder under a digest of what went in.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder

PASSAGE_CHARS = 400
FIT_PASSAGES = 30_000
CORPORA = (
    "labeled/ag_news_test.parquet",
    "labeled/reuters21578.parquet",
    "labeled/web_topics_formats.parquet",
    "multidomain/webmix_dev.parquet",
    "snapshots/tldr_recrawls.parquet",
)


def shared_corpora() -> Path | None:
    """Folder of the real corpora, or None."""
    root = Path(os.environ.get("GEM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"
    return root if root.is_dir() else None


def passages(text: str) -> list[str]:
    """Pieces of at most 400 characters that end at a blank, without a last piece of less than 100."""
    pieces: list[str] = []
    while len(text) >= 100 or (text and not pieces):
        end = len(text) if len(text) <= PASSAGE_CHARS else text.rfind(" ", 100, PASSAGE_CHARS)
        end = end if end > 0 else PASSAGE_CHARS
        pieces.append(text[:end])
        text = text[end:].lstrip()
    return pieces


def real_vectors(corpora: Path, n: int, d: int) -> NDArray[np.float32]:
    """``n`` distinct passages of all corpora, embedded in ``d`` dimensions, in a seeded order."""
    config = EmbeddingConfig(
        method="lsa", dimension=d, idf_power=1.0, max_features=50_000, fit_documents=FIT_PASSAGES, svd_iterations=2
    )
    key = hashlib.sha256(repr((n, PASSAGE_CHARS, CORPORA, config)).encode()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"gem-teacher-vectors-{key}.npy"
    if cache.exists():
        return np.load(cache)
    pieces: dict[str, None] = {}
    for name in CORPORA:
        for text in pq.read_table(corpora / name, columns=["text"])["text"].to_pylist():
            pieces.update(dict.fromkeys(passages(text)))
    texts = pa.array(pieces, pa.large_string())
    order = np.random.default_rng(0).permutation(len(texts))
    texts = texts.take(pa.array(order[:n]))
    vectors = fit_embedder(texts.slice(0, FIT_PASSAGES), config).transform(texts)
    vectors = vectors[np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3]
    with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".npy", delete=False) as handle:
        np.save(handle, vectors)
    Path(handle.name).replace(cache)
    return vectors


def synthetic_vectors(n: int, d: int, components: int = 400, seed: int = 0) -> NDArray[np.float32]:
    """A mixture of noisy directions whose sizes fall as a power law."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((components, d)) / np.sqrt(d)
    sizes = (1.0 + np.arange(components)) ** -0.7
    rows = centres[rng.choice(components, n, p=sizes / sizes.sum())]
    rows += 1.2 * rng.standard_normal((n, d)) / np.sqrt(d)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def benchmark_vectors(n: int, d: int) -> tuple[NDArray[np.float32], str]:
    """Vectors and where they come from."""
    corpora = shared_corpora()
    if corpora is None:
        return synthetic_vectors(n, d), "synthetic mixture of 400 components (no ../shared)"
    vectors = real_vectors(corpora, n, d)
    return vectors, f"{len(vectors):,} passages of the shared corpora, LSA {d}"
