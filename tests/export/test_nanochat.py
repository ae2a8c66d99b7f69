"""nanochat's shards, read as nanochat reads them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.export import nanochat
from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from gem_assets.export.report import RecipeRefusedError
from gem_assets.ordering.config import CurveConfig, MetadataPrefix, OrderingConfig
from gem_assets.ordering.training_order import build_order, order_files
from tests.export.worlds import SHARES, World
from tests.ordering.worlds import recipe


def shards(folder: Path) -> tuple[list[str], list[str]]:
    """Texts for training and validation: sorted files, row groups in order, the last file validates."""
    files = sorted((folder / "data").glob("*.parquet"))

    def texts(paths: list[Path]) -> list[str]:
        return [
            t
            for p in paths
            for g in range(pq.ParquetFile(p).num_row_groups)
            for t in pq.ParquetFile(p).read_row_group(g).column("text").to_pylist()
        ]

    return texts(files[:-1]), texts(files[-1:])


def test_any_part_of_the_order_holds_the_shares(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("nanochat", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    train, validation = shards(tmp_path)
    of_text = {t: c for c in SHARES for t in world.texts(c)}
    tokens = np.array([len(t.split()) + 1 for t in train])
    cluster = np.array([of_text[t] for t in train])
    for part in np.array_split(np.arange(len(train)), 4):
        for c, share in SHARES.items():
            assert tokens[part][cluster[part] == c].sum() / tokens[part].sum() == pytest.approx(share, abs=0.06)
    assert validation
    assert not set(validation) & set(train)


def test_an_order_built_before_is_kept(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.5, 2: 0.5}, 12_000)
    settings = OrderingConfig(
        score="q",
        curve=CurveConfig(strategy="curriculum"),
        metadata_prefix=MetadataPrefix(cooldown=0.25),
        memory_mb=128,
    )
    (tmp_path / "order").mkdir()
    build_order(world.batches(), mixture, settings, tmp_path / "order")
    order = pa.concat_tables(pq.read_table(p) for p in order_files(tmp_path / "order"))
    by_id = dict(zip(*(world.documents.column(n).to_pylist() for n in ("doc_id", "text")), strict=True))
    number = dict(zip(*(world.documents.column(n).to_pylist() for n in ("doc_id", "cluster")), strict=True))
    (tmp_path / "out").mkdir()
    export(
        "nanochat",
        mixture,
        world.batches(),
        tmp_path / "out",
        world.tokenizer,
        config,
        order=tmp_path / "order",
        prefix=settings.metadata_prefix,
    )
    train, validation = shards(tmp_path / "out")
    expected = [
        (f"URL: site{number[d]}.org\n\n" if m else "") + by_id[d]
        for d, m in zip(order.column("doc_id").to_pylist(), order.column("metadata").to_pylist(), strict=True)
    ]
    assert train == expected
    assert validation
    assert not set(validation) & {by_id[d] for d in order.column("doc_id").to_pylist()}


def test_an_order_without_any_document_left_cannot_validate(world: World, config: ExportConfig, tmp_path: Path) -> None:
    total = int(world.documents.column("n_tokens").to_numpy().sum())
    available = dict.fromkeys(SHARES, 0)
    for c, n in zip(*(world.documents.column(x).to_pylist() for x in ("cluster", "n_tokens")), strict=True):
        available[c] += n
    mixture = recipe({c: n / total for c, n in available.items()}, total)
    (tmp_path / "order").mkdir()
    build_order(world.batches(), mixture, OrderingConfig(score="q", memory_mb=128), tmp_path / "order")
    (tmp_path / "out").mkdir()
    with pytest.raises(RecipeRefusedError, match="every document is trained"):
        export("nanochat", mixture, world.batches(), tmp_path / "out", None, config, order=tmp_path / "order")


def test_an_order_of_other_documents_is_refused(world: World, config: ExportConfig, tmp_path: Path) -> None:
    mixture = recipe({0: 0.5, 2: 0.5}, 12_000)
    (tmp_path / "order").mkdir()
    build_order(world.batches(), mixture, OrderingConfig(score="q", memory_mb=128), tmp_path / "order")
    few = world.documents.slice(0, 400)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="not among those given"):
        export("nanochat", mixture, few.to_batches(), tmp_path / "out", None, config, order=tmp_path / "order")


def test_row_groups_and_shards_are_cut(tmp_path: Path) -> None:
    n = 5000
    table = pa.table(
        [[f"text {i}" for i in range(n)], [str(i) for i in range(n)], [1] * n, [2] * n], schema=nanochat._SHARD
    )
    written = nanochat._write(iter(table.to_batches(max_chunksize=700)), tmp_path, 3, 60_000)
    files = sorted(tmp_path.glob("*.parquet"))
    assert [f.name for f in files] == [f"shard_{3 + i:05d}.parquet" for i in range(written)]
    assert written > 1
    groups = [
        pq.ParquetFile(f).metadata.row_group(g).num_rows for f in files for g in range(pq.ParquetFile(f).num_row_groups)
    ]
    assert groups == [1024] * 4 + [5000 - 4096]
    assert pa.concat_tables(pq.read_table(f) for f in files).column("doc_id").to_pylist() == [str(i) for i in range(n)]
