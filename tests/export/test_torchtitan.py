"""torchtitan's configuration, built against stand-ins for its data API."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from tests.export.worlds import SHARES, World


def recorder(kind: str) -> Any:
    return lambda **fields: SimpleNamespace(kind=kind, **fields)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["ConcatThenSplitPackingConfig", "DatasetConcatConfig", "DatasetMixConfig", "SingleDatasetConfig"]
    data = ModuleType("torchtitan.components.data")
    for name in [*names, "WeightedDataset"]:
        setattr(data, name, recorder(name))
    data.IndexedJsonlSource = SimpleNamespace(Config=recorder("IndexedJsonlSource"))  # type: ignore[attr-defined]
    text = ModuleType("torchtitan.hf_datasets.text_datasets")
    text.TextProcessor = SimpleNamespace(Config=recorder("TextProcessor"))  # type: ignore[attr-defined]
    for name in ("torchtitan", "torchtitan.components", "torchtitan.hf_datasets"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "torchtitan.components.data", data)
    monkeypatch.setitem(sys.modules, "torchtitan.hf_datasets.text_datasets", text)


@pytest.mark.usefixtures("api")
def test_children_are_packed_before_they_are_mixed(world: World, config: ExportConfig, tmp_path: Path) -> None:
    report = export("torchtitan", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    mixed = runpy.run_path(str(tmp_path / "mixture.py"))["dataset_config"]()
    assert mixed.kind == "DatasetMixConfig"
    assert [c.weight for c in mixed.datasets] == list(SHARES.values())
    for child, entry in zip(mixed.datasets, report.clusters, strict=True):
        assert child.dataset.kind == "ConcatThenSplitPackingConfig"
        copies = child.dataset.dataset.datasets
        assert len(copies) * entry.tokens_available >= entry.target_tokens
        assert (len(copies) - 1) * entry.tokens_available < entry.target_tokens + 2 * config.sequence_length
        lines = [json.loads(x) for p in copies[0].source.patterns for x in Path(p).read_text().splitlines()]
        assert Counter(copies[0].processor.text_fn(x) for x in lines) == world.texts(entry.cluster)
