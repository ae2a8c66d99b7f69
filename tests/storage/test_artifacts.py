import logging
import os
import stat
import tempfile
import threading
import uuid
from pathlib import Path

import pytest

from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import InputRef, LanceRef


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return ArtifactStore(tmp_path / "data")
    return ArtifactStore(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "data")


def commit(store: ArtifactStore, text: str, asset: str = "a", partition: str | None = None) -> str:
    identity = digest({"text": text})
    with store.write(asset, identity, partition) as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub" / "x.txt").write_text(text)
        draft.counts = {"rows": len(text)}
    return identity


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_commit_can_be_read_back(store):
    identity = digest("x")
    source = InputRef(asset="landing", partition="s1", data_version="fp")
    with store.write("recipes/gem", identity) as draft:
        (draft.path / "recipe.json").write_text("{}")
        draft.inputs = [source]
        draft.config = {"k": 3}
        draft.seed = 5
        draft.lance = [LanceRef(table="t", version=3, rows=9)]
        draft.metrics = {"loss": 0.5}
    found = store.current("recipes/gem")
    assert found is not None
    assert (found.path / "recipe.json").read_text() == "{}"
    assert found.manifest.inputs == (source,)
    assert found.manifest.config == {"k": 3}
    assert [f.path for f in found.manifest.outputs] == ["recipe.json"]
    assert found.ref().lance_version == 3
    assert found.ref().manifest_sha256 == found.manifest.sha256
    assert store.assets() == ["recipes/gem"]


def test_nothing_committed_is_none(store):
    assert store.current("a") is None
    assert store.current("a", "s1") is None
    assert store.partitions("a") == []
    assert store.history("a") == []


def test_failed_block_leaves_nothing(store):
    def run():
        with store.write("a", digest("x")) as draft:
            (draft.path / "f").write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        run()
    assert store.current("a") is None
    assert store.collect_orphans() == []


def test_current_follows_the_last_commit_and_history_keeps_all(store):
    first, second = commit(store, "one"), commit(store, "two")
    assert store.current("a").identity == second
    assert [x.identity for x in store.history("a")] == [first, second]
    assert store.get("a", first).manifest.counts == {"rows": 3}


def test_commit_of_a_known_identity_writes_nothing(folder, tmp_path):
    commit(folder, "one")
    before = tree(tmp_path / "data")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*") if p.is_file() and p.name != ".lock"}
    commit(folder, "one")
    assert tree(tmp_path / "data") == before
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_commit_of_an_older_identity_only_points_back(store):
    first, _ = commit(store, "one"), commit(store, "two")
    commit(store, "one")
    assert store.current("a").identity == first
    assert len(store.history("a")) == 2


def test_same_identity_with_other_bytes_keeps_the_first_and_warns(store, caplog):
    identity = digest("x")
    for text in ("one", "two"):
        with store.write("a", identity) as draft:
            (draft.path / "f.txt").write_text(text)
    assert (store.current("a").path / "f.txt").read_text() == "one"
    assert "not deterministic" in caplog.text
    assert "f.txt" in caplog.text


def test_two_stores_with_the_same_commits_are_equal_byte_by_byte(tmp_path):
    for side in ("left", "right"):
        store = ArtifactStore(tmp_path / side)
        for text in ("one", "two"):
            commit(store, text, partition="s1")
    assert tree(tmp_path / "left") == tree(tmp_path / "right")


def test_partitions_and_removal(store):
    for partition in ("s2", "s1"):
        commit(store, partition, partition=partition)
    commit(store, "whole", asset="b")
    assert store.partitions("a") == ["s1", "s2"]
    assert store.partitions("b") == []
    store.remove("a", "s1")
    assert store.partitions("a") == ["s2"]
    assert store.current("a", "s1") is None
    assert store.removed("a", "s1")
    assert len(store.history("a", "s1")) == 1
    commit(store, "again", partition="s1")
    assert store.partitions("a") == ["s1", "s2"]


def test_removing_what_was_never_there_is_an_error(store):
    with pytest.raises(KeyError, match=r"a\[s1\]"):
        store.remove("a", "s1")


@pytest.mark.parametrize(
    "bad",
    ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "a'b", 'a"b', "a;b", "a b", "all", "x..y", "=a", "é", "a\n",
     "a\0", "x" * 129],
)  # fmt: skip
def test_partition_names_cannot_escape(store, bad):
    with pytest.raises(ValueError, match="snapshot name"), store.write("a", digest("x"), bad):
        pass


@pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "../a", "A", "a.b", "a b", "a/../b"])
def test_asset_names_cannot_escape(store, bad):
    with pytest.raises(ValueError, match="asset name"):
        store.current(bad)


@pytest.mark.parametrize("bad", ["", "abc", "../" * 21 + "x", "Z" * 64])
def test_identity_must_be_a_digest(store, bad):
    with pytest.raises(ValueError, match="64 hex"), store.write("a", bad):
        pass


def test_symbolic_links_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="symbolic link"), folder.write("a", digest("x")) as draft:
        (draft.path / "link").symlink_to(tmp_path)
    assert folder.current("a") is None


def where(folder: ArtifactStore, *parts: str) -> Path:
    return Path(folder.root) / "artifacts" / "a" / "all" / Path(*parts)


@pytest.mark.parametrize("torn", [b"", b"\0\0\0\0", b'{"identity": "abc', b"garbage", b"[]"])
def test_torn_pointer_is_stepped_over(folder, caplog, torn):
    commit(folder, "one")
    last = commit(folder, "two")
    where(folder, "CURRENT").write_bytes(torn)
    with caplog.at_level(logging.WARNING):
        assert folder.current("a").identity == last
    assert "torn" in caplog.text


@pytest.mark.parametrize("torn", [b"", b"\0" * 100, b'{"asset": "a", "ident', b"{}"])
def test_torn_manifest_steps_back_to_the_previous_commit(folder, caplog, torn):
    first = commit(folder, "one")
    last = commit(folder, "two")
    where(folder, last[:32], "manifest.json").write_bytes(torn)
    assert folder.current("a").identity == first
    assert "stepped back" in caplog.text
    assert "manifest.json" in caplog.text
    assert folder.get("a", last) is None


def test_cut_or_missing_file_steps_back_and_a_rerun_repairs(folder, caplog):
    first, last = commit(folder, "one"), commit(folder, "two")
    where(folder, last[:32], "sub", "x.txt").write_bytes(b"")
    assert folder.current("a").identity == first
    where(folder, last[:32], "sub", "x.txt").unlink()
    assert folder.current("a").identity == first
    commit(folder, "two")
    caplog.clear()
    assert folder.current("a").identity == last
    assert not caplog.records


def test_missing_manifest_steps_back(folder, caplog):
    first, last = commit(folder, "one"), commit(folder, "two")
    where(folder, last[:32], "manifest.json").unlink()
    assert folder.current("a").identity == first
    assert "no manifest" in caplog.text


def test_edited_manifest_is_noticed(folder, caplog):
    first, last = commit(folder, "one"), commit(folder, "two")
    path = where(folder, last[:32], "manifest.json")
    path.write_bytes(path.read_bytes().replace(b'"rows": 3', b'"rows": 4'))
    assert folder.current("a").identity == first
    assert "changed after its commit" in caplog.text


def test_torn_history_still_finds_something_intact(folder, caplog):
    only = commit(folder, "one")
    where(folder, "HISTORY").write_bytes(b"")
    where(folder, "CURRENT").write_bytes(b"")
    assert folder.current("a").identity == only


def test_everything_torn_is_none_and_loud(folder, caplog):
    only = commit(folder, "one")
    where(folder, only[:32], "manifest.json").write_bytes(b"")
    assert folder.current("a") is None
    assert "nothing intact" in caplog.text


def test_removed_partition_stays_removed_with_a_torn_pointer(folder):
    commit(folder, "one", partition="s1")
    folder.remove("a", "s1")
    (Path(folder.root) / "artifacts" / "a" / "s1" / "CURRENT").write_bytes(b"")
    assert folder.current("a", "s1") is None
    assert folder.removed("a", "s1")


def test_orphans_of_the_dead_are_collected_and_those_of_the_living_are_not(folder):
    dead = where(folder, ".draft-dead")
    dead.mkdir(parents=True)
    (dead / "f").write_text("half")
    with folder.write("a", digest("x")) as draft:
        (draft.path / "f").write_text("whole")
        assert folder.collect_orphans(dry_run=True) == ["a/all/.draft-dead"]
        assert folder.collect_orphans() == ["a/all/.draft-dead"]
        assert draft.path.exists()
    assert not dead.exists()
    assert folder.current("a") is not None


def test_half_written_pointer_file_is_collected(folder):
    commit(folder, "one")
    where(folder, ".CURRENT.abc.tmp").write_text("half")
    assert folder.collect_orphans() == ["a/all/.CURRENT.abc.tmp"]
    assert not where(folder, ".CURRENT.abc.tmp").exists()
    assert folder.current("a") is not None


def test_writers_in_parallel_all_land(folder):
    threads = [threading.Thread(target=commit, args=(folder, f"text {i}")) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folder.history("a")) == 12
    assert folder.current("a").identity == folder.history("a")[-1].identity


def test_upload_without_manifest_is_invisible_and_collected(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    first = commit(store, "one")
    store.backend.write(f"a/all/{'f' * 32}/sub/x.txt", b"half")
    assert store.current("a").identity == first
    assert store.get("a", "f" * 64) is None
    assert store.collect_orphans() == [f"a/all/{'f' * 32}"]
    assert store.backend.sizes(f"a/all/{'f' * 32}") == {}


def test_remote_cache_is_filled_again_when_damaged(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    commit(store, "one")
    path = store.current("a").path / "sub" / "x.txt"
    path.write_bytes(b"")
    assert (store.current("a").path / "sub" / "x.txt").read_text() == "one"


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_gives_however_they_were_written(tmp_path, umask):
    before = os.umask(umask)
    try:
        store = ArtifactStore(tmp_path / "root")
        with store.write("teacher_clusters", "a" * 64) as draft:
            (draft.path / "plain.json").write_text("{}")
            (draft.path / "deep").mkdir()
            handle, name = tempfile.mkstemp(dir=draft.path / "deep")
            os.close(handle)
            Path(name).rename(draft.path / "deep" / "hidden.safetensors")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "root").rglob("*")}
    finally:
        os.umask(before)
    folders = {path.name for path in (tmp_path / "root").rglob("*") if path.is_dir()}
    assert {"hidden.safetensors", "plain.json", "manifest.json", "CURRENT", "HISTORY"} <= modes.keys()
    assert {name: mode for name, mode in modes.items() if mode != (0o777 if name in folders else 0o666) & ~umask} == {}


def test_a_metric_without_a_number_is_committed_as_null_with_a_note(store):
    with store.write("teacher_clusters", "a" * 64) as draft:
        draft.metrics = {"max_over_min": float("inf"), "gap": 0.0}
    found = store.current("teacher_clusters").manifest.metrics
    assert found == {"max_over_min": None, "gap": 0.0, "not_finite": {"max_over_min": "inf"}}
