import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from gem_assets.embedding.base import Embedder
from gem_assets.embedding.cca import CcaEmbedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder, load_embedder
from gem_assets.embedding.lsa import LsaEmbedder

CONFIG = EmbeddingConfig(dimension=64, base_dimension=128, max_features=20_000)


@pytest.fixture(scope="module")
def pages(shared_corpora):
    return pq.read_table(shared_corpora / "labeled/web_topics_formats.parquet").slice(0, 1500)


@pytest.fixture(scope="module")
def fitted(pages):
    return CcaEmbedder.fit(pages["text"], CONFIG)


def quality(vectors, labels):
    runs = [KMeans(23, n_init=1, random_state=seed).fit_predict(vectors) for seed in range(3)]
    return np.mean([normalized_mutual_info_score(labels, run) for run in runs])


def test_it_is_the_default_and_an_embedder(pages, fitted):
    assert isinstance(fit_embedder(pages["text"].slice(0, 400), EmbeddingConfig()), CcaEmbedder)
    assert isinstance(fitted, Embedder)
    assert fitted.dimension == 64
    vectors = fitted.transform(pages["text"])
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_web_topics_come_out_clearer_than_from_plain_lsa(pages, fitted):
    labels = pages["label"].to_pylist()
    plain = LsaEmbedder.fit(pages["text"], EmbeddingConfig(method="lsa", dimension=64, idf_power=1.0))
    ours, theirs = (quality(e.transform(pages["text"]), labels) for e in (fitted, plain))
    assert ours > theirs + 0.05
    assert ours > 0.3


def test_halves_of_a_document_find_each_other(pages, fitted):
    """Unseen documents: the second half's nearest first half is its own far more often than chance (1 in 300)."""
    table = pages["text"].slice(0, 300).to_pylist()
    held_in = CcaEmbedder.fit(pages["text"].slice(300), CONFIG)
    first, second = ([t[: len(t) // 2] for t in table], [t[len(t) // 2 :] for t in table])
    similarity = held_in.transform(first) @ held_in.transform(second).T
    assert (similarity.argmax(axis=0) == np.arange(300)).mean() > 0.3


def test_correlations_fall_and_stay_below_one(fitted):
    assert np.all(np.diff(fitted.correlations_) <= 0)
    assert 0 <= fitted.correlations_[-1] <= fitted.correlations_[0] <= 1


def test_vectors_are_centred(pages, fitted):
    plain = LsaEmbedder.fit(pages["text"], EmbeddingConfig(method="lsa", dimension=64))
    mean = np.linalg.norm(fitted.transform(pages["text"]).mean(axis=0))
    assert mean < np.linalg.norm(plain.transform(pages["text"]).mean(axis=0))


def test_same_bits_again_and_after_a_round_trip(pages, fitted, tmp_path):
    again = CcaEmbedder.fit(pa.chunked_array([pages["text"].combine_chunks()]), CONFIG)
    for name, embedder in (("a", fitted), ("b", again)):
        (tmp_path / name).mkdir()
        embedder.save(tmp_path / name)
    for file in ("embedder.json", "cca.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    opened = load_embedder(tmp_path / "a")
    assert np.array_equal(opened.transform(pages["text"]), fitted.transform(pages["text"]))


def test_a_vector_depends_on_its_document_alone_to_the_last_bit(pages, fitted):
    texts = pages["text"].slice(0, 64)
    one_by_one = np.concatenate([fitted.transform(texts.slice(i, 1)) for i in range(64)])
    assert np.array_equal(one_by_one, fitted.transform(texts))


def test_empty_and_unknown_documents_get_the_mean_direction(fitted):
    embedded = fitted.embed(["", "qqzzxxyyv", "football season", None])
    assert embedded.unknown.tolist() == [True, True, False, True]
    assert np.allclose(embedded.vectors[[0, 1, 3]], fitted.centre_ / np.linalg.norm(fitted.centre_), atol=1e-6)
    assert fitted.transform([]).shape == (0, 64)


def test_documents_too_short_to_halve_are_no_obstacle(pages):
    texts = [*pages["text"].slice(0, 400).to_pylist(), *["word"] * 50, *[""] * 50]
    embedder = CcaEmbedder.fit(texts, EmbeddingConfig(dimension=16, base_dimension=32))
    assert np.allclose(np.linalg.norm(embedder.transform(texts), axis=1), 1, atol=1e-5)


def test_too_few_documents_and_a_base_below_the_dimension_are_refused():
    with pytest.raises(ValueError, match="smaller embedding dimension"):
        fit_embedder(["one two", "two three", "three one"], EmbeddingConfig(dimension=64, max_features=100))
    with pytest.raises(ValueError, match="base_dimension is 32"):
        EmbeddingConfig(dimension=64, base_dimension=32)
