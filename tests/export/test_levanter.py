"""Levanter's data section, by the trainer's own rule for blocks."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from gem_assets.export.report import RecipeRefusedError
from tests.export.worlds import SHARES, World
from tests.ordering.worlds import recipe


def section(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "data.yaml").read_text())["data"]


def test_urls_hold_every_document(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("levanter", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    components = section(tmp_path)["components"]
    for cluster, component in zip(SHARES, components.values(), strict=True):
        lines = [
            json.loads(line)
            for url in component["source"]["train_urls"]
            for line in gzip.decompress((tmp_path / url).read_bytes()).decode().splitlines()
        ]
        assert Counter(line["text"] for line in lines) == world.texts(cluster)
    assert set(section(tmp_path)["train_weights"]) <= set(components)


def test_weights_survive_the_trainers_arithmetic(world: World, config: ExportConfig, tmp_path: Path) -> None:
    report = export("levanter", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    data = section(tmp_path)
    block, weights = data["mixture_block_size"], data["train_weights"]
    total = sum(weights.values())
    counts = np.array([np.int32(w / total * block) for w in weights.values()])
    assert counts.sum() == block == total
    assert counts / block == pytest.approx(list(SHARES.values()), rel=0.004)
    assert report.naive_share_error is not None


def test_stages_start_at_whole_blocks(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.55, 2: 0.45}, 640_000, (0.7, [0.7, 0.3]), (0.3, [0.2, 0.8]))
    export("levanter", mixture, world.batches(), tmp_path, world.tokenizer, config)
    data = section(tmp_path)
    (zero, first), (start, last) = data["train_weights"]
    block = data["mixture_block_size"]
    assert (zero, start % block) == (0, 0)
    assert start == pytest.approx(14_000, abs=block / 2)
    assert [first[k] / block for k in first] == pytest.approx([0.7, 0.3], rel=0.004)
    assert [last[k] / block for k in last] == pytest.approx([0.2, 0.8], rel=0.004)


def test_a_share_below_one_in_a_block_is_refused(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.999995, 2: 0.000005}, 20_000_000)
    with pytest.raises(RecipeRefusedError, match=r"clusters \[2\] have less than one sequence"):
        export("levanter", mixture, world.batches(), tmp_path, world.tokenizer, config)


def test_phases_shorter_than_a_block_are_refused(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.331, 2: 0.669}, 12_800, (0.9, [0.3423, 0.6577]), (0.1, [0.2293, 0.7707]))
    with pytest.raises(RecipeRefusedError, match="whole blocks"):
        export("levanter", mixture, world.batches(), tmp_path, world.tokenizer, config)
