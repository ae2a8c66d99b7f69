"""nanotron files by an independent reader, and by datatrove's where it is installed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from tests.export.worlds import LENGTH, SHARES, World, documents_of
from tests.ordering.worlds import recipe


def test_tokens_and_document_ends(world: World, config: ExportConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"tokenizer_name": "words"})
    report = export("nanotron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for entry in report.clusters:
        path = tmp_path / "data" / f"cluster_{entry.cluster:05d}" / "00000.ds"
        ids, ends = np.fromfile(path, np.uint16), np.fromfile(f"{path}.index", np.uint64).astype(int)
        documents = [ids[a : b - 1] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        assert Counter(world.decode(d) for d in documents) == world.texts(entry.cluster)
        name, count, _ = Path(f"{path}.metadata").read_text().split("\n")
        assert (name, int(count)) == ("words|2", entry.tokens_available)


def test_stages_are_two_lists_and_start_at_steps(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.45, 2: 0.55}, 64_000, (0.75, [0.6, 0.4]), (0.25, [0.0, 1.0]))
    config = config.model_copy(update={"batch_sequences": 50})
    export("nanotron", mixture, world.batches(), tmp_path, world.tokenizer, config)
    first, second = yaml.safe_load((tmp_path / "data_stages.yaml").read_text())["data_stages"]
    assert (first["start_training_step"], second["start_training_step"]) == (1, 31)
    assert first["data"]["dataset"] == {
        "dataset_folder": ["data/cluster_00000", "data/cluster_00002"],
        "dataset_weights": [0.6, 0.4],
    }
    assert second["data"]["dataset"] == {"dataset_folder": ["data/cluster_00002"], "dataset_weights": [1.0]}


def test_a_name_that_nanotron_would_split_is_refused(world: World, config: ExportConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"tokenizer_name": "a|b"})
    with pytest.raises(ValueError, match="splits the tokenizer's name"):
        export("nanotron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)


def test_datatrove_reads_the_same(world: World, config: ExportConfig, tmp_path: Path) -> None:
    reader = pytest.importorskip("datatrove.utils.dataset", reason="datatrove is not installed")
    export("nanotron", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for cluster in SHARES:
        folder = tmp_path / "data" / f"cluster_{cluster:05d}"
        data = reader.DatatroveFolderDataset(
            str(folder), seq_len=LENGTH, filename_pattern="*.ds", return_positions=True
        )
        ids = np.concatenate([data[i]["input_ids"].numpy() for i in range(len(data))])
        assert all(world.decode(d) in world.texts(cluster) for d in documents_of(ids))
