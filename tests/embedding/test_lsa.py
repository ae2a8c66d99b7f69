import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import normalized_mutual_info_score

from gem_assets.corpus.text.features import TokenRules
from gem_assets.embedding.base import Embedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.counts import count_texts
from gem_assets.embedding.embedder import fit_embedder, load_embedder
from gem_assets.embedding.lsa import LsaEmbedder

CONFIG = EmbeddingConfig(method="lsa", dimension=64, max_features=20_000)


@pytest.fixture(scope="module")
def news(shared_corpora):
    return pq.read_table(shared_corpora / "labeled/ag_news_test.parquet").slice(0, 3000)


@pytest.fixture(scope="module")
def fitted(news):
    return LsaEmbedder.fit(news["text"], CONFIG)


def test_rows_are_unit_float32_in_document_order(news, fitted):
    vectors = fitted.transform(news["text"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3000, 64)
    assert fitted.dimension == 64
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(fitted.transform(news["text"].slice(17, 1))[0], vectors[17])
    backwards = fitted.transform(news["text"].take(pa.array(np.arange(2999, -1, -1))))
    assert np.array_equal(backwards[::-1], vectors)


def test_neighbours_share_the_topic_far_more_often_than_chance(news, fitted):
    vectors = fitted.transform(news["text"])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    labels = np.array(news["label"].to_pylist())
    assert (labels[similarity.argmax(axis=1)] == labels).mean() > 0.7


def test_clusters_follow_the_topics(news, fitted):
    from sklearn.cluster import KMeans

    vectors = fitted.transform(news["text"])
    found = KMeans(4, n_init=3, random_state=0).fit_predict(vectors)
    assert normalized_mutual_info_score(news["label"].to_pylist(), found) > 0.3


def test_fit_is_the_same_bits_whatever_the_chunks(news, fitted, tmp_path):
    again = LsaEmbedder.fit(pa.chunked_array([news["text"].combine_chunks()]).cast(pa.string()), CONFIG)
    for name, embedder in (("a", fitted), ("b", again)):
        (tmp_path / name).mkdir()
        embedder.save(tmp_path / name)
    for file in ("embedder.json", "lsa.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    other = LsaEmbedder.fit(news["text"], CONFIG.model_copy(update={"seed": 1}))
    assert not np.array_equal(other.projection_.table, fitted.projection_.table)


def test_save_and_load_give_the_same_vectors(news, fitted, tmp_path):
    fitted.save(tmp_path)
    opened = load_embedder(tmp_path)
    assert isinstance(opened, Embedder)
    assert np.array_equal(opened.transform(news["text"]), fitted.transform(news["text"]))


def test_document_without_a_known_feature_gets_the_mean_direction_and_is_told(fitted):
    embedded = fitted.embed(["", "qqzzxxyyv", "oil prices rose", None])
    assert embedded.unknown.tolist() == [True, True, False, True]
    expected = fitted.centre_ / np.linalg.norm(fitted.centre_)
    assert np.allclose(embedded.vectors[[0, 1, 3]], expected, atol=1e-6)
    assert fitted.transform([]).shape == (0, 64)


def test_common_component_removal_centres_the_space(news, fitted):
    centred = LsaEmbedder.fit(news["text"], CONFIG.model_copy(update={"remove_common_component": True}))
    before = np.linalg.norm(fitted.transform(news["text"]).mean(axis=0))
    vectors = centred.transform(news["text"])
    assert np.linalg.norm(vectors.mean(axis=0)) < before / 2
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(centred.transform([""])), 1, atol=1e-5)


def test_singular_directions_are_those_of_an_exact_svd(news):
    """With enough iterations the leading 10 directions are in the span of the first 12."""
    texts = news["text"].slice(0, 800)
    fitted = LsaEmbedder.fit(texts, CONFIG.model_copy(update={"svd_iterations": 12})).projection_
    counts = count_texts(texts, TokenRules(CONFIG.max_chars), CONFIG.hash_bits)
    columns = fitted.column_of[counts.buckets]
    kept = columns >= 0
    dense = np.zeros((len(counts), len(fitted.weight_of)))
    weights = (1 + np.log(counts.counts[kept])) * fitted.weight_of[columns[kept]]
    dense[counts.documents()[kept], columns[kept]] = weights
    dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)
    values, left = np.linalg.eigh(dense @ dense.T)
    right = dense.T @ left[:, ::-1][:, :10] / np.sqrt(values[::-1][:10])
    assert np.linalg.svd(right.T @ fitted.table[:, :12], compute_uv=False).min() > 0.97
    assert np.allclose(fitted.table.T @ fitted.table, np.eye(64), atol=1e-4)


def test_fit_sample_is_spread_over_the_corpus(news):
    few = LsaEmbedder.fit(news["text"], CONFIG.model_copy(update={"fit_documents": 500}))
    every_sixth = news["text"].take(pa.array(np.linspace(0, 2999, 500).astype(np.int64)))
    assert np.array_equal(few.projection_.table, LsaEmbedder.fit(every_sixth, CONFIG).projection_.table)


@pytest.mark.parametrize("method", ["lsa", "cca"])
def test_extra_features_and_non_latin_scripts_reach_the_vectors(shared_corpora, method):
    table = pq.read_table(shared_corpora / "multidomain/webmix_dev.parquet")
    foreign = table.filter(pc.is_in(table["lang"], pa.array(["zh", "ar", "ru", "es", "de"])))
    texts, langs = foreign["text"], np.array(foreign["lang"].to_pylist())
    for extra in ({}, {"bigrams": True}, {"char_ngrams": (3, 4)}):
        embedder = fit_embedder(texts, EmbeddingConfig(method=method, dimension=16, max_features=5000, **extra))
        vectors = embedder.transform(texts)
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -1)
        assert (langs[similarity.argmax(axis=1)] == langs).mean() > 0.95


def test_too_small_a_sample_says_what_to_do():
    with pytest.raises(ValueError, match="smaller embedding dimension"):
        fit_embedder(["one two", "two three", "three one"], EmbeddingConfig(dimension=64, max_features=100))


def test_another_tokeniser_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    description = json.loads((tmp_path / "embedder.json").read_text())
    description["tokeniser"] = "older"
    (tmp_path / "embedder.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="older"):
        load_embedder(tmp_path)


def test_directory_without_an_embedder_and_unknown_method_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_embedder(tmp_path)
    (tmp_path / "embedder.json").write_text('{"method": "magic"}')
    with pytest.raises(ValueError, match="magic"):
        load_embedder(tmp_path)


def test_artifact_is_plain_tensors(fitted, tmp_path):
    fitted.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["embedder.json", "lsa.safetensors"]
    assert load_file(tmp_path / "lsa.safetensors")["table"].shape[1] == 64


def test_progress_counts_documents(news):
    seen: list[tuple[int, int]] = []
    LsaEmbedder.fit(news["text"], CONFIG, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)


@pytest.mark.parametrize("wrong", [{"char_ngrams": (3, 2)}, {"dimension": 500, "max_features": 100}, {"nonsense": 1}])
def test_config_refuses_contradictions(wrong):
    with pytest.raises(ValueError):
        EmbeddingConfig(**wrong)
