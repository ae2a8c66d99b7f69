"""OLMo-core files by an independent reader, and by the package where it is installed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from tests.export.worlds import LENGTH, SHARES, World, documents_of
from tests.ordering.worlds import recipe


def test_arrays_without_header_hold_every_document(world: World, config: ExportConfig, tmp_path: Path) -> None:
    small = config.model_copy(update={"shard_bytes": 65_536})
    export("olmo-core", world.mixture, world.batches(), tmp_path, world.tokenizer, small)
    mix = yaml.safe_load((tmp_path / "mix.yaml").read_text())["mix"]
    for source, cluster in zip(mix, SHARES, strict=True):
        ids = np.concatenate([np.fromfile(tmp_path / p, np.uint16) for p in source["paths"]])
        assert Counter(world.decode(d) for d in documents_of(ids)) == world.texts(cluster)


def test_repetition_is_allowed_where_it_is_needed(world: World, config: ExportConfig, tmp_path: Path) -> None:
    report = export("olmo-core", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    mix = yaml.safe_load((tmp_path / "mix.yaml").read_text())["mix"]
    assert sum(s["weight"] for s in mix) == pytest.approx(1)
    assert [s["repetition_factor"] for s in mix] == [-1.0 if c.epochs > 1 else 1.0 for c in report.clusters]
    assert report.naive_share_error is None
    assert "the trainer stops" in report.naive
    sources = yaml.safe_load((tmp_path / "source_mixture.yaml").read_text())["sources"]
    for source, c in zip(sources, report.clusters, strict=True):
        assert source["max_repetition_ratio"] >= max(1, c.epochs)


def test_plain_shares_are_right_when_nothing_repeats(world: World, config: ExportConfig, tmp_path: Path) -> None:
    report = export("olmo-core", recipe({0: 0.5, 2: 0.5}, 9_600), world.batches(), tmp_path, world.tokenizer, config)
    assert report.naive_share_error == report.share_error


def test_the_package_counts_the_same_tokens(world: World, config: ExportConfig, tmp_path: Path) -> None:
    source = pytest.importorskip("olmo_core.data.source_mixture", reason="ai2-olmo-core is not installed")
    rooted = config.model_copy(update={"root": str(tmp_path)})
    report = export("olmo-core", world.mixture, world.batches(), tmp_path, world.tokenizer, rooted)
    sources = yaml.safe_load((tmp_path / "source_mixture.yaml").read_text())["sources"]
    mixture = source.SourceMixtureDatasetConfig(
        source_list=source.SourceMixtureList(sources=[source.SourceMixtureConfig(**s) for s in sources]),
        requested_tokens=round(report.token_budget),
        global_batch_size=LENGTH,
        quiet=True,
        render_tables=False,
    ).build(npdtype=np.uint16, sequence_length=LENGTH)
    got = [sum(p.tokens for p in s.path_tokens) for s in mixture.sources]
    assert got == pytest.approx([c.implied_tokens for c in report.clusters], abs=LENGTH)
