import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from gem_assets.embedding.base import Embedder
from gem_assets.embedding.cca_lsa import CombinedEmbedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder, load_embedder

CONFIG = EmbeddingConfig(method="cca+lsa", dimension=32, lsa_dimension=16, lsa_weight=0.5, base_dimension=48)


@pytest.fixture(scope="module")
def texts(shared_corpora):
    return pq.read_table(shared_corpora / "labeled/ag_news_test.parquet").slice(0, 1500)["text"]


@pytest.fixture(scope="module")
def fitted(texts):
    return fit_embedder(texts, CONFIG)


def test_rows_are_both_parts_in_their_proportion(texts, fitted):
    vectors = fitted.transform(texts)
    assert isinstance(fitted, CombinedEmbedder)
    assert isinstance(fitted, Embedder)
    assert vectors.shape == (1500, fitted.dimension) == (1500, 48)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    lengths = np.linalg.norm(vectors[:, 32:], axis=1) / np.linalg.norm(vectors[:, :32], axis=1)
    assert np.allclose(lengths, 0.5, atol=1e-4)
    cosine = np.sum(vectors[:, :32] * fitted.cca_.transform(texts), axis=1)
    assert np.allclose(cosine, 1 / np.sqrt(1.25), atol=1e-4)


def test_what_is_saved_gives_the_same_rows(texts, fitted, tmp_path):
    fitted.save(tmp_path)
    again = load_embedder(tmp_path)
    assert np.array_equal(again.transform(texts.slice(40, 20)), fitted.transform(texts)[40:60])
    assert json.loads((tmp_path / "embedder.json").read_text())["method"] == "cca+lsa"


def test_a_text_without_known_words_is_said_to_be_unknown(fitted):
    found = fitted.embed(["", "zzzzqqqq", "the market fell after the report"])
    assert found.unknown.tolist() == [True, True, False]
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
