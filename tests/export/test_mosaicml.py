"""MDS files by an independent reader, and by the package where it is installed."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from gem_assets.export import mosaicml
from gem_assets.export.config import ExportConfig
from gem_assets.export.documents import Part
from gem_assets.export.registry import export
from tests.export.worlds import LENGTH, SHARES, World, documents_of


def read(folder: Path) -> np.ndarray:
    """(n, length) samples of an MDS data set with one column of fixed size."""
    rows = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        assert (shard["format"], shard["version"], shard["compression"]) == ("mds", 2, None)
        raw = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(raw) == shard["raw_data"]["bytes"]
        count = int(np.frombuffer(raw, np.uint32, 1)[0])
        offsets = np.frombuffer(raw, np.uint32, count + 1, 4)
        described = json.loads(raw[4 * (count + 2) : offsets[0]])
        assert described["column_sizes"] == shard["column_sizes"]
        assert (count, offsets[-1]) == (shard["samples"], len(raw))
        rows += [np.frombuffer(raw[a:b], np.int32) for a, b in pairwise(offsets)]
    return np.stack(rows)


def test_sequences_hold_the_documents_in_a_row(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("mosaicml", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for cluster in SHARES:
        samples = read(tmp_path / "data" / f"cluster_{cluster:05d}")
        assert samples.shape[1] == LENGTH
        texts = world.texts(cluster)
        documents = documents_of(samples.ravel())
        assert len(documents) >= texts.total() - 3
        assert all(world.decode(d) in texts for d in documents)


def test_a_long_cluster_takes_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaicml, "_SHARD_BYTES", 8192)
    ids = np.arange(5000, dtype=np.uint32)
    parts = [Part([], [], [], np.array([len(x)]), x) for x in np.array_split(ids, 7)]
    documents, tokens = mosaicml.write_mds(tmp_path, iter(parts), 64)
    assert (documents, tokens) == (7, 5000)
    assert len(list(tmp_path.glob("shard.*.mds"))) > 2
    assert read(tmp_path).ravel().tolist() == ids[: 5000 // 64 * 64].tolist()


def test_the_package_reads_and_chooses_the_same(world: World, config: ExportConfig, tmp_path: Path) -> None:
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming is not installed")
    rooted = config.model_copy(update={"root": str(tmp_path)})
    report = export("mosaicml", world.mixture, world.batches(), tmp_path, world.tokenizer, rooted)
    spec = yaml.safe_load((tmp_path / "streams.yaml").read_text())
    streams = [streaming.Stream(**s) for s in spec.pop("streams").values()]
    data = streaming.StreamingDataset(streams=streams, batch_size=1, **spec)
    assert [int(s.choose) * LENGTH for s in data.streams] == [c.implied_tokens for c in report.clusters]
    assert sum(1 for _ in data) == spec["epoch_size"]
