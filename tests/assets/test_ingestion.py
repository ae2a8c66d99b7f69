"""Ingesting through the store: bad input, borrowed texts, and snapshots that dangle."""

import pyarrow.parquet as pq
import pytest

from gem_assets.assets.ingestion import NothingKeptError, ingest_once
from gem_assets.corpus.landing import LandingError
from gem_assets.settings import load_settings
from resources import EngineResource, StoreResource
from tests.tiny import land_parquet, passages, write_settings

ENGINE = EngineResource(kind="inline")


@pytest.fixture
def root(tmp_path):
    write_settings(tmp_path)
    return tmp_path


def ingest(root, snapshot):
    return ingest_once(StoreResource(root=str(root)), ENGINE, load_settings(root), snapshot)


def texts(stage):
    rows = [pq.read_table(p).to_pylist() for p in sorted(stage.artifact.path.glob("part-*.parquet"))]
    return {row["url"]: row["text"] for part in rows for row in part}


def test_snapshot_that_never_landed_is_named(root):
    with pytest.raises(LandingError, match="does not exist"):
        ingest(root, "2026-01")


def test_snapshot_without_success_is_refused(root):
    folder = land_parquet(root, "2026-01", passages()[:5])
    (folder / "_SUCCESS").unlink()
    with pytest.raises(LandingError, match="no _SUCCESS yet"):
        ingest(root, "2026-01")


@pytest.mark.parametrize("name", ["../escape", "a/b", ".."])
def test_snapshot_name_with_a_path_is_refused(root, name):
    with pytest.raises(LandingError, match="no name for a snapshot"):
        ingest(root, name)


def test_empty_snapshot_fails_and_writes_nothing(root):
    folder = root / "landing" / "2026-01"
    folder.mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    with pytest.raises(NothingKeptError, match="no files"):
        ingest(root, "2026-01")
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == []


def test_snapshot_of_damage_alone_fails_with_the_reasons(root):
    folder = root / "landing" / "2026-01"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").touch()
    (folder / "_SUCCESS").touch()
    with pytest.raises(NothingKeptError, match="empty_file 1"):
        ingest(root, "2026-01")


def test_second_ingest_of_the_same_bytes_stands(root):
    land_parquet(root, "2026-01", passages()[:30])
    first, again = ingest(root, "2026-01"), ingest(root, "2026-01")
    assert first.fresh
    assert not again.fresh
    assert first.identity == again.identity


def test_data_version_begins_with_the_landed_version(root):
    land_parquet(root, "2026-01", passages()[:30])
    stage = ingest(root, "2026-01")
    landed = stage.artifact.manifest.inputs[0]
    assert landed.asset == "landing"
    assert stage.artifact.manifest.data_version == f"{landed.data_version}:{stage.identity}"
    assert [file.path for file in landed.files] == ["pages.parquet"]


def test_settings_are_part_of_the_identity(root):
    land_parquet(root, "2026-01", passages()[:30])
    first = ingest(root, "2026-01")
    (root / "gem.toml").write_text(
        (root / "gem.toml").read_text().replace("min_text_chars = 80", "min_text_chars = 90")
    )
    assert ingest(root, "2026-01").identity != first.identity


def test_recrawl_without_news_keeps_nothing_and_is_sound(root):
    land_parquet(root, "2026-01", passages()[:30])
    ingest(root, "2026-01")
    land_parquet(root, "2026-02", passages()[:30])
    stage = ingest(root, "2026-02")
    assert stage.artifact.manifest.counts["kept"] == 0
    assert stage.artifact.manifest.counts["duplicates"] == 30


def test_text_that_its_keeper_lets_go_comes_back(root):
    rows = passages()
    land_parquet(root, "2026-01", rows[:30])
    land_parquet(root, "2026-02", rows[20:60])
    ingest(root, "2026-01")
    second = ingest(root, "2026-02")
    shared = [row["url"] for row in rows[20:30]]
    assert not set(shared) & set(texts(second))
    land_parquet(root, "2026-01", rows[:25])  # the first snapshot is landed again without five of the shared pages
    ingest(root, "2026-01")
    repaired = ingest(root, "2026-02")
    assert repaired.fresh
    assert set(shared[5:]) <= set(texts(repaired))
    assert not set(shared[:5]) & set(texts(repaired))
    assert not ingest(root, "2026-02").fresh
