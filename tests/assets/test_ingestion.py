"""Ingesting through the store: bad input, borrowed texts, and snapshots that dangle."""

import contextlib
import gzip
import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import Field

from gem_assets.assets import ingestion
from gem_assets.assets.ingestion import NothingKeptError
from gem_assets.assets.raw_shards import raw_shards
from gem_assets.corpus.ingest import LandedFileChangedError
from gem_assets.corpus.landing import LandingError, land
from gem_assets.corpus.text.cleaning import content_digest
from gem_assets.lineage.walk import walk
from gem_assets.maintenance.doctor import examine
from gem_assets.maintenance.verify import verify
from gem_assets.orchestration.probe import probe
from gem_assets.settings import load_settings
from gem_assets.storage import faults
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.faults import StorageError
from gem_assets.takedown.blocklist import BlocklistError, parse_entry
from gem_assets.takedown.certificate import certify, request_takedown
from resources import EngineResource, StoreResource
from tests.direct import ingest_once
from tests.tiny import land_jsonl, land_parquet, passages, write_settings

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
    with pytest.raises(LandingError, match="not a name for a snapshot"):
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


class SwappingEngine(EngineResource):
    """Exchanges a landed file just before it is read, and puts the old one back after it."""

    def map(self, fn, items, label, **more):
        for item in items:
            path = Path(item.path)
            before, times = path.read_bytes(), path.stat()
            path.write_bytes(gzip.compress(gzip.decompress(before).replace(b"the", b"THE"), mtime=0))
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            yield fn(item)
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_bytes_that_change_for_the_time_of_reading_are_not_certified(root):
    land_jsonl(root, "2026-01", passages()[:30])
    store, settings = StoreResource(root=str(root)), load_settings(root)
    with pytest.raises(LandedFileChangedError, match=r"2026-01: pages\.jsonl.* changed between"):
        ingest_once(store, SwappingEngine(kind="inline"), settings, "2026-01")
    assert store.artifacts.partitions("raw_shards") == []
    assert [path.name for path in (root / "scratch").iterdir()] == ["shards"]
    stage = ingest(root, "2026-01")
    assert stage.artifact.manifest.counts["kept"] > 0
    assert not any("THE" in text for text in texts(stage).values())


@pytest.mark.parametrize("how", ["added", "gone", "link", "pipe"])
def test_files_that_come_or_go_between_hashing_and_reading_fail_the_snapshot(root, how, monkeypatch):
    folder = land_parquet(root, "2026-01", passages()[:30])
    (folder / "more.txt").write_text("A text of more than twenty characters, and then some.")
    hashed = ingestion.landed_digests

    def then_change(*about):
        found = hashed(*about)
        if how == "added":
            (folder / "new.txt").write_text("Another text of more than twenty characters, and then some.")
        else:
            (folder / "more.txt").unlink()
        if how == "link":
            (folder / "more.txt").symlink_to("/etc/hostname")
        if how == "pipe":
            os.mkfifo(folder / "more.txt")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "landed_digests", then_change)
        with pytest.raises(LandedFileChangedError, match=r"(new|more)\.txt changed"):
            ingest(root, "2026-01")
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == []
    assert ingest(root, "2026-01").artifact.manifest.counts["kept"] > 0


def test_a_file_whose_name_is_not_utf8_is_found_again_when_it_is_verified(root):
    folder = land_jsonl(root, "2026-01", passages()[:30])
    next(folder.glob("pages*")).rename(folder / os.fsdecode(b"caf\xe9.jsonl.gz"))
    (folder / r"caf\xe9.jsonl").write_text(json.dumps({"text": "Another one " * 20}))
    stage = ingest(root, "2026-01")
    assert stage.artifact.manifest.counts["files"] == 2
    store = ArtifactStore(root)
    lineage = walk(store, "raw_shards", partition="2026-01")
    assert verify(store, lineage, landing=root / "landing") == []
    (folder / r"caf\xe9.jsonl").write_text("{}")
    assert [fault.kind for fault in verify(store, lineage, landing=root / "landing")] == ["landing_changed"]


@pytest.fixture
def landed_by_command(root, tmp_path, monkeypatch):
    source = land_jsonl(tmp_path / "source", "x", passages()[:30])
    shutil.copytree(source, tmp_path / "files")
    land_parquet(tmp_path / "source", "y", passages()[30:60])
    shutil.copyfile(tmp_path / "source" / "landing" / "y" / "pages.parquet", tmp_path / "files" / "more.parquet")
    monkeypatch.setattr(faults, "PAUSES_S", (0.0, 0.0))
    return land([tmp_path / "files"], root / "landing", "2026-01").path


@pytest.mark.parametrize(("how", "error"), [("deleted", StorageError), ("replaced", LandingError)])
def test_a_landed_file_that_is_gone_or_other_fails_the_run_until_it_is_back(root, landed_by_command, how, error):
    path = landed_by_command / "more.parquet"
    before = path.read_bytes()
    undisturbed = ingest(root, "2026-01")
    shutil.rmtree(root / "artifacts")
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"x" * len(before))
    with pytest.raises(error, match=r"more\.parquet"):
        ingest(root, "2026-01")
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == []
    path.write_bytes(before)
    again = ingest(root, "2026-01")
    assert again.artifact.manifest.outputs == undisturbed.artifact.manifest.outputs
    assert again.artifact.manifest.counts["quarantined"] == 0


def test_a_plan_says_at_once_that_a_landed_file_is_gone(root, landed_by_command, monkeypatch):
    monkeypatch.setattr(faults, "PAUSES_S", (3600.0,))
    (landed_by_command / "more.parquet").unlink()
    found = probe(raw_shards, load_settings(root), "2026-01")
    assert found.stage is None
    assert "more.parquet: it was landed and is no longer there" in found.missing


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


def test_a_file_that_was_given_up_is_read_again_with_more_memory_or_time(root):
    settings = load_settings(root)
    more_time = settings.model_copy(update={"shard_timeout_s": settings.shard_timeout_s * 2})
    more_memory = settings.model_copy(update={"worker_memory_mb": 8192})

    def versions(chosen, hung=("a.jsonl",), died=("b.jsonl",)):
        return [ref.data_version for ref in ingestion.given_up_inputs(list(hung), list(died), chosen)]

    hung, died = versions(settings)
    assert versions(settings) == [hung, died]
    assert versions(more_time)[0] != hung
    assert versions(more_time)[1] == died
    assert versions(more_memory)[0] == hung
    assert versions(more_memory)[1] != died
    assert ingestion.given_up_inputs([], None, settings) == []


def take_down(root, *what):
    store = StoreResource(root=str(root))
    return request_takedown(store.artifacts, store.tables, [parse_entry(one) for one in what])


def test_a_copy_that_was_left_to_another_page_is_found_by_its_source(root):
    rows = passages()[:4]
    land_jsonl(root, "2026-01", [*rows, {"text": rows[1]["text"], "source": "https://holder.example/%7Ejan"}])
    assert set(texts(ingest(root, "2026-01"))) == {row["url"] for row in rows}
    made = take_down(root, "holder.example/~jan")
    assert [(one.documents, one.duplicates) for one in made.asked] == [(1, 1)]
    assert set(texts(ingest(root, "2026-01"))) == {row["url"] for row in rows} - {rows[1]["url"]}
    (done,) = certify(StoreResource(root=str(root)).artifacts, StoreResource(root=str(root)).tables)
    assert done.state == "complete"


@pytest.mark.parametrize(
    "damage", ["emptied", "shortened", "torn", "removed", "removed with its head record", "all removed"]
)
def test_a_blocklist_that_lacks_something_stops_every_ingest(root, damage):
    land_jsonl(root, "2026-01", passages()[:6])
    ingest(root, "2026-01")
    for row in passages()[1:3]:
        take_down(root, "content:" + content_digest(row["text"]))
    standing = ingest(root, "2026-01").identity
    listed, head = root / "blocklist.jsonl", root / "blocklist.head.json"
    lines = listed.read_bytes().splitlines(keepends=True)
    match damage:
        case "emptied":
            listed.write_bytes(b"")
        case "shortened":
            listed.write_bytes(lines[0])
        case "torn":
            listed.write_bytes(lines[0] + lines[1][:-5])
        case _:
            listed.unlink()
            if damage != "removed":
                head.unlink()
            if damage == "all removed":
                shutil.rmtree(root / "takedowns")
    land_jsonl(root, "2026-02", passages()[:3])
    for snapshot in ("2026-01", "2026-02"):
        with pytest.raises(BlocklistError, match="from a backup"):
            ingest(root, snapshot)
    store = StoreResource(root=str(root))
    assert store.input("raw_shards", "2026-01").identity == standing
    assert store.artifacts.partitions("raw_shards") == ["2026-01"]
    assert "blocklist_damaged" in {finding.kind for finding in examine(store)}


def test_an_older_blocklist_is_adopted_by_the_next_ingest(root):
    land_jsonl(root, "2026-01", passages()[:6])
    ingest(root, "2026-01")
    take_down(root, "content:" + content_digest(passages()[1]["text"]))
    listed, head = root / "blocklist.jsonl", root / "blocklist.head.json"
    line = {key: value for key, value in json.loads(listed.read_bytes()).items() if key not in ("previous", "found")}
    listed.write_text(json.dumps(line) + "\n")
    head.unlink()
    shutil.rmtree(root / "takedowns")
    assert passages()[1]["text"] not in texts(ingest(root, "2026-01")).values()
    recorded = json.loads(head.read_text())
    assert (recorded["lines"], recorded["adopted"]) == (1, 1)
    listed.write_bytes(b"")
    with pytest.raises(BlocklistError, match="shortened"):
        ingest(root, "2026-01")


class StoppingEngine(EngineResource):
    """Fails once so many files are read, and remembers which were."""

    after: int
    read: list[str] = Field(default_factory=list)

    def map(self, fn, items, label, **more):
        for number, item in enumerate(items):
            if number == self.after:
                raise RuntimeError("the driver is killed")
            yield fn(item)
            self.read.append(item.relative)


def test_files_that_were_read_before_a_run_failed_are_not_read_again(root, monkeypatch):
    folder = root / "landing" / "2026-01"
    for number in range(20):
        land_jsonl(root, "2026-01", passages()[number * 3 : number * 3 + 3])
        (folder / "pages.jsonl.gz").rename(folder / f"{number:02d}.jsonl.gz")
    undisturbed = ingest(root, "2026-01")
    assert not list((root / "scratch").rglob("*.finished"))
    shutil.rmtree(root / "artifacts")
    store, settings = StoreResource(root=str(root)), load_settings(root)
    killed = StoppingEngine(kind="inline", after=18)
    with pytest.raises(RuntimeError, match="killed"):
        ingest_once(store, killed, settings, "2026-01")
    assert len(list((root / "scratch").rglob("*.finished"))) == 18
    again = StoppingEngine(kind="inline", after=1000)
    stage = ingest_once(store, again, settings, "2026-01")
    assert again.read == ["18.jsonl.gz", "19.jsonl.gz"]
    assert stage.artifact.manifest.outputs == undisturbed.artifact.manifest.outputs
    assert not list((root / "scratch").rglob("*.finished"))


def left_behind(store):
    with contextlib.suppress(RuntimeError), store.shard_folder("raw_shards", "2026-01", "f" * 64) as folder:
        (folder / "rows").touch()
        raise RuntimeError("the work fails")
    return folder


def test_what_a_failed_run_has_left_goes_with_other_bytes_and_with_a_purge(root):
    land_jsonl(root, "2026-01", passages()[:30])
    store, settings = StoreResource(root=str(root)), load_settings(root)
    folder = left_behind(store)
    assert (folder / "rows").exists()
    ingest_once(store, ENGINE, settings, "2026-01")
    assert not folder.exists()
    assert left_behind(store) == folder
    store.forget_shards()
    assert not folder.exists()


def test_two_runs_never_share_a_folder_of_shards(root):
    store = StoreResource(root=str(root))
    with store.shard_folder("embeddings", "a", "1" * 64) as one, store.shard_folder("embeddings", "a", "1" * 64) as two:
        assert one != two
        assert list(two.iterdir()) == []
    assert not one.exists()
    assert not two.exists()
