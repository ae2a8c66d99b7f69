import os
import sys

import numpy as np
import pytest

from gem_assets.embedding.base import Embedder
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder, load_embedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ship", "oil", "grain", "code", "##s", "the", "rises", "falls"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Folder of a two-layer BERT with random weights and a vocabulary of thirteen pieces."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **shape)).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab={w: i for i, w in enumerate(WORDS)}, model_max_length=64).save_pretrained(folder / "bert")
    sentence_transformers.SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "st"))
    return folder / "st"


@pytest.fixture
def config(encoder):
    return EmbeddingConfig(method="sentence-transformers", model=str(encoder), batch_size=2, device="cpu")


TEXTS = ["ship ships", "oil " * 30, "", "the grain rises", "code", "the grain falls", None]


def test_vectors_are_unit_rows_in_document_order(config):
    embedder = fit_embedder([], config)
    assert isinstance(embedder, Embedder)
    vectors = embedder.transform(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (7, embedder.dimension) == (7, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(embedder.transform(TEXTS[::-1])[::-1], vectors, atol=1e-5)
    assert np.allclose(vectors[2], vectors[6])
    assert not np.allclose(vectors[3], vectors[5])


def test_half_precision_is_close(config):
    full = fit_embedder([], config).transform(TEXTS)
    half = fit_embedder([], config.model_copy(update={"dtype": "bfloat16"})).transform(TEXTS)
    assert (full * half).sum(axis=1).min() > 0.99
    assert not np.array_equal(full, half)


def test_saved_encoder_needs_only_its_folder(config, encoder, tmp_path):
    embedder = fit_embedder([], config)
    embedder.save(tmp_path)
    hidden = encoder.with_name("moved")
    encoder.rename(hidden)
    try:
        opened = load_embedder(tmp_path)
    finally:
        hidden.rename(encoder)
    assert np.allclose(opened.transform(TEXTS), embedder.transform(TEXTS), atol=1e-5)


def test_missing_package_names_the_extra(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"gem-assets\[sentence-transformers\]"):
        fit_embedder([], config)
