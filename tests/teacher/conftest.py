"""Synthetic and real vectors for the teacher's tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def unit(x: NDArray[np.floating]) -> Vectors:
    """Rows divided by their norms."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def mixture(n: int, d: int, components: int, *, spread: float = 1.0, skew: float = 0.0, seed: int = 0) -> Vectors:
    """Noisy rows around random directions; ``skew`` > 0 makes component sizes a power law, ``spread`` the noise."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((components, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    sizes = (1.0 + np.arange(components)) ** -skew
    which = rng.choice(components, n, p=sizes / sizes.sum())
    return unit(centres[which] + spread * rng.standard_normal((n, d)) / np.sqrt(d))


@pytest.fixture(scope="session")
def make_mixture() -> Callable[..., Vectors]:
    return mixture


@pytest.fixture(scope="session")
def webmix(shared_corpora: Path) -> Vectors:
    """TF-IDF and a truncated SVD of the multi-domain corpus, 256 dimensions, rows with features only."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = pq.read_table(shared_corpora / "multidomain" / "webmix_dev.parquet", columns=["text"])["text"].to_pylist()
    tfidf = TfidfVectorizer(sublinear_tf=True, min_df=3, max_df=0.5, max_features=40_000)
    lsa = TruncatedSVD(256, random_state=0, n_iter=2).fit_transform(tfidf.fit_transform(texts))
    return unit(lsa[np.linalg.norm(lsa, axis=1) > 1e-9])
