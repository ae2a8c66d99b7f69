"""Megatron files by an independent reader, and by Megatron's own where it is installed."""

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gem_assets.export import megatron
from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from tests.export.worlds import SHARES, World, documents_of
from tests.ordering.worlds import recipe


def read(prefix: Path) -> list[np.ndarray]:
    """Documents of an indexed data set, by byte offsets alone."""
    raw = prefix.with_suffix(".idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, ends = struct.unpack_from("<QBQQ", raw, 9)
    assert (version, code) == (1, 8)
    lengths = np.frombuffer(raw, np.int32, sequences, 34)
    pointers = np.frombuffer(raw, np.int64, sequences, 34 + 4 * sequences)
    documents = np.frombuffer(raw, np.int64, ends, 34 + 12 * sequences)
    assert len(raw) == 34 + 12 * sequences + 8 * ends
    assert documents.tolist() == list(range(sequences + 1))
    tokens = prefix.with_suffix(".bin").read_bytes()
    return [np.frombuffer(tokens, np.uint16, n, p) for n, p in zip(lengths.tolist(), pointers.tolist(), strict=True)]


def test_every_document_can_be_read_back(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("megatron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for cluster in SHARES:
        documents = read(tmp_path / "data" / f"cluster_{cluster:05d}")
        assert all(d[-1] == 0 for d in documents)
        assert Counter(world.decode(d[:-1]) for d in documents) == world.texts(cluster)


def test_blend_is_pairs_of_weight_and_prefix(world: World, config: ExportConfig, tmp_path: Path) -> None:
    rooted = config.model_copy(update={"root": "/corpora/x/"})
    export("megatron", world.mixture, world.batches(), tmp_path, world.tokenizer, rooted)
    words = (tmp_path / "blend-phase0.txt").read_text().split()
    assert dict(zip(words[1::2], map(float, words[::2]), strict=True)) == {
        f"/corpora/x/data/cluster_{c:05d}": s for c, s in SHARES.items()
    }
    for prefix in words[1::2]:
        with pytest.raises(ValueError, match="could not convert"):
            float(prefix)


def test_phases_are_runs_with_a_blend_each(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.5, 2: 0.5}, 64_000, (0.75, [0.6, 0.4]), (0.25, [0.2, 0.8]))
    config = config.model_copy(update={"batch_sequences": 50})
    export("megatron", mixture, world.batches(), tmp_path, world.tokenizer, config)
    arguments = (tmp_path / "arguments.txt").read_text()
    assert "--train-samples 2000" in arguments
    assert "--phase-transition-iterations 30" in arguments
    assert (tmp_path / "blend-phase1.txt").read_text().split()[::2] == ["0.2", "0.8"]


def test_wide_vocabularies_take_four_bytes(world: World, tmp_path: Path) -> None:
    prefix = tmp_path / "x"
    part = megatron.Part(["a"], ["t"], [None], np.array([3]), np.array([70_000, 5, 0], dtype=np.uint32))
    megatron.write_indexed(prefix, iter([part]), np.dtype(np.int32))
    dtype, lengths = megatron.read_index(prefix.with_suffix(".idx"))
    assert (dtype, lengths.tolist()) == (np.dtype(np.int32), [3])
    assert np.fromfile(prefix.with_suffix(".bin"), np.int32).tolist() == [70_000, 5, 0]


def test_an_index_reaches_beyond_two_to_the_31_tokens(tmp_path: Path) -> None:
    lengths = np.full(3000, 1_000_003, dtype=np.int64)
    megatron.write_index(tmp_path / "x.idx", lambda: iter([lengths[:1700], lengths[1700:]]), np.dtype(np.int32))
    raw = (tmp_path / "x.idx").read_bytes()
    pointers = np.frombuffer(raw, np.int64, 3000, 34 + 4 * 3000)
    assert pointers[-1] == 2999 * 4 * 1_000_003 > 2**33
    assert (np.diff(pointers) == 4 * 1_000_003).all()
    _, read_lengths = megatron.read_index(tmp_path / "x.idx")
    assert read_lengths.sum(dtype=np.int64) == lengths.sum() > 2**31


def test_a_document_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2147483648 tokens"):
        megatron.write_index(tmp_path / "x.idx", lambda: iter([np.array([5, 2**31])]), np.dtype(np.uint16))


def test_a_foreign_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.idx").write_bytes(b"\x00" * 64)
    with pytest.raises(ValueError, match=r"x.idx is not a Megatron index"):
        megatron.read_index(tmp_path / "x.idx")


def test_megatrons_own_reader_agrees(world: World, config: ExportConfig, tmp_path: Path) -> None:
    reader = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed")
    export("megatron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for cluster in SHARES:
        data = reader.IndexedDataset(str(tmp_path / "data" / f"cluster_{cluster:05d}"))
        assert Counter(world.decode(data[i][:-1]) for i in range(len(data))) == world.texts(cluster)


def test_documents_are_in_no_particular_order(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("megatron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    stored = [world.decode(d[:-1]) for d in read(tmp_path / "data" / "cluster_00000")]
    given = [
        t for t, c in zip(*(world.documents.column(n).to_pylist() for n in ("text", "cluster")), strict=True) if not c
    ]
    place = {t: i for i, t in enumerate(given)}
    assert abs(np.corrcoef([place[t] for t in stored], np.arange(len(stored)))[0, 1]) < 0.15
    assert len(documents_of(np.array([1, 0, 2, 3, 0]))) == 2
