"""Encoders that give NaN, infinity or zeros for some texts, and encoders that are replaced under their name."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gem_assets.embedding.base import has_direction
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.embedding.encode import EncoderFailsError, encode_shards, left_out_documents
from gem_assets.embedding.encoder_files import encoder_version
from gem_assets.embedding.space import fit_space
from gem_assets.student.escalation import escalate
from gem_assets.student.labeller import StudentPrediction

FAULTS = {"nan": float("nan"), "inf": float("inf"), "-inf": -float("inf"), "zero": 0.0, "huge": 1e30}


class Encoder:
    """Stands in for the package: letters counted; a text that names a fault gets it."""

    def __init__(self, name, device=None, model_kwargs=None):
        self.name = name

    def get_sentence_embedding_dimension(self):
        return 26

    def encode(self, texts, **_):
        rows = torch.tensor([[float(text.count(chr(97 + i))) for i in range(26)] for text in texts])
        for row, text in enumerate(texts):
            for fault, value in FAULTS.items():
                if text.startswith(f"{fault} "):
                    rows[row, :] = value
        return rows

    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True)


@pytest.fixture
def config(monkeypatch, tmp_path):
    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = Encoder
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    (tmp_path / "model").mkdir()
    return EmbeddingConfig(method="sentence-transformers", model=str(tmp_path / "model"), device="cpu")


def test_rows_without_a_direction_are_told_from_the_others(config):
    vectors = fit_embedder([], config).transform(["harbour", "nan x", "inf x", "-inf x", "zero x", "huge x", "lantern"])
    assert has_direction(vectors).tolist() == [True, False, False, False, False, True, True]
    assert np.allclose(np.linalg.norm(vectors[[0, 5, 6]], axis=1), 1)


def shard_of(folder, texts):
    path = folder / "part-00000.parquet"
    ids = [f"{i:032x}" for i in range(len(texts))]
    pq.write_table(pa.table({"doc_id": ids, "snapshot": ["s"] * len(texts), "text": texts}), path)
    return path


def test_documents_without_a_direction_are_named_and_the_rest_goes_on(config, tmp_path):
    texts = [f"a page about the harbour {i}" for i in range(197)] + ["nan x", "inf x", "zero x"]
    shard, space, out = shard_of(tmp_path, texts), tmp_path / "space", tmp_path / "out"
    space.mkdir()
    out.mkdir()
    report = fit_space({"s": [shard]}, config, space)
    assert np.isfinite(report.mean_cosine)
    files = encode_shards([shard], space, out)
    with pa.ipc.open_file(files[0]) as reader:
        table = reader.read_all()
    assert table.column("doc_id").to_pylist() == [f"{i:032x}" for i in range(197)]
    vectors = table.column("vector").combine_chunks().flatten().to_numpy().reshape(197, -1)
    assert has_direction(vectors).all()
    left_out = left_out_documents(files, 200, 0.02).to_pylist()
    assert [(row["doc_id"], row["reason"]) for row in left_out] == [
        *((f"{i:032x}", "not_finite") for i in (197, 198)),
        (f"{199:032x}", "zero"),
    ]
    with pytest.raises(EncoderFailsError, match=f"2 of 200 documents are not finite.*{197:032x}.*most_without_vector"):
        left_out_documents(files, 200, 0.005)


def test_an_encoder_that_fails_on_everything_is_refused(config, tmp_path):
    (tmp_path / "space").mkdir()
    with pytest.raises(ValueError, match="no usable vector"):
        fit_space({"s": [shard_of(tmp_path, ["nan x", "nan y"])]}, config, tmp_path / "space")


def test_a_text_without_a_direction_keeps_the_students_label(config):
    texts = ["harbour", "nan x", "lantern"]
    prediction = StudentPrediction(
        np.zeros(3, np.int16), np.full(3, 0.5, np.float32), np.zeros(3, np.float32), np.full(3, 5, np.int32)
    )
    asked = escalate(texts, prediction, fit_embedder([], config), lambda rows: np.ones(len(rows)), margin=1.0)
    assert asked.prediction.cluster.tolist() == [1, 0, 1]
    assert asked.escalated.tolist() == [True, False, True]


def test_an_encoder_is_what_its_files_hold(config, tmp_path):
    model, cache = Path(config.model), tmp_path / "cache"
    (model / "weights").write_bytes(b"one")
    first = encoder_version(config, cache)
    assert first is not None
    assert encoder_version(config, cache) == first
    # the same files elsewhere are the same encoder
    moved = model.rename(tmp_path / "moved")
    assert encoder_version(config.model_copy(update={"model": str(moved)}), cache) == first
    model.mkdir()
    (model / "weights").write_bytes(b"two")
    second = encoder_version(config, cache)
    assert second not in (None, first)
    (model / "more").write_bytes(b"")
    assert encoder_version(config, cache) not in (first, second)


def test_remembered_digests_are_done_without_where_they_are_torn(config, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    first = encoder_version(config, cache)
    for path in cache.iterdir():
        path.write_bytes(b"{")
    assert encoder_version(config, cache) == first
    assert json.loads(next(cache.iterdir()).read_bytes())["digest"] == first


def test_a_name_that_is_not_here_has_no_version(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert encoder_version(EmbeddingConfig(model="nobody/has-this-model"), tmp_path) is None
    assert encoder_version(EmbeddingConfig(model="no name at all"), tmp_path) is None
