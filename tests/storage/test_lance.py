import logging
import multiprocessing
import os
from pathlib import Path

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest

from gem_assets.storage.durable import LockTimeoutError, file_lock
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests, orphan_files
from tests.resources.tables import DIM, rows
from tests.resources.writers import write_when_both_are_ready


@pytest.fixture(params=["swap", "merge", "url"])
def tables(request, tmp_path: Path) -> LanceTables:
    if request.param == "url":
        # Lance's object-store code over a folder: what s3:// and gs:// run through
        return LanceTables(f"file-object-store://{tmp_path}/db")
    return LanceTables(tmp_path / "db", commit=request.param)


def disk(tables: LanceTables) -> Path:
    """Where table t lies."""
    return Path(tables.path("t").removeprefix("file-object-store://"))


@pytest.fixture
def swap(tmp_path: Path) -> LanceTables:
    return LanceTables(tmp_path / "db")


def content(tables: LanceTables, table: str = "t", **kwargs) -> list[dict]:
    return tables.read(table, **kwargs).sort_by([("snapshot", "ascending"), ("doc_id", "ascending")]).to_pylist()


def test_first_write_creates_the_table_in_one_version(tables):
    assert tables.version("t") is None
    assert tables.tables() == []
    assert tables.count("t") == 0
    commit = tables.replace_snapshot("t", rows("s1", 5), "s1")
    assert (commit.version, commit.rows_inserted, commit.changed) == (1, 5, True)
    assert tables.versions("t") == [1]
    assert tables.tables() == ["t"]
    assert content(tables) == rows("s1", 5).to_pylist()


def test_replacing_exchanges_one_snapshot_in_one_commit_and_leaves_the_others(tables):
    tables.replace_snapshot("t", rows("s1", 5), "s1")
    tables.replace_snapshot("t", rows("s2", 4), "s2")
    commit = tables.replace_snapshot("t", rows("s2", 6, first=2, seed=1), "s2")
    assert commit.version == 3
    assert (commit.rows_inserted, commit.rows_updated, commit.rows_deleted) == (4, 2, 2)
    assert tables.snapshots("t") == {"s1": 5, "s2": 6}
    assert content(tables, snapshot="s1") == rows("s1", 5).to_pylist()
    assert content(tables, snapshot="s2") == rows("s2", 6, first=2, seed=1).to_pylist()
    assert tables.snapshots("t", version=2) == {"s1": 5, "s2": 4}
    assert lance.dataset(tables.path("t")).validate() is None


def test_the_same_document_may_stand_in_two_snapshots(tables):
    tables.replace_snapshot("t", rows("s1", 5), "s1")
    tables.replace_snapshot("t", rows("s2", 5), "s2")
    assert tables.snapshots("t") == {"s1": 5, "s2": 5}
    assert not tables.replace_snapshot("t", rows("s1", 5), "s1").changed


def test_content_that_is_there_writes_no_version(tables):
    tables.replace_snapshot("t", rows("s1", 50), "s1")
    last = tables.replace_snapshot("t", rows("s2", 40), "s2")
    before = {p: p.stat().st_mtime_ns for p in disk(tables).rglob("*")}
    again = rows("s1", 50).take(np.random.default_rng(0).permutation(50))
    commit = tables.replace_snapshot("t", again, "s1")
    assert (commit.changed, commit.version, commit.rows) == (False, last.version, 50)
    assert {p: p.stat().st_mtime_ns for p in disk(tables).rglob("*")} == before
    changed = rows("s1", 50).to_pylist()
    changed[17]["text"] = "edited"
    assert tables.replace_snapshot("t", pa.Table.from_pylist(changed, rows("s1", 1).schema), "s1").changed


def test_a_reader_is_taken_in_a_stream_and_leaves_no_spool(tables, tmp_path):
    whole = rows("s1", 1000)
    commit = tables.replace_snapshot("t", whole.to_reader(max_chunksize=64), "s1")
    assert commit.rows == 1000
    assert content(tables) == whole.to_pylist()
    assert not tables.replace_snapshot("t", whole.to_reader(max_chunksize=333), "s1").changed
    assert [p.name for p in (tmp_path / "db").iterdir() if "spool" in p.name] == []


def test_missing_snapshot_column_is_added(tables):
    tables.replace_snapshot("t", rows("s1", 3).drop_columns(["snapshot"]), "s1")
    assert tables.snapshots("t") == {"s1": 3}


def test_empty_source_must_be_meant(tables):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    tables.replace_snapshot("t", rows("s2", 3), "s2")
    with pytest.raises(ValueError, match="allow_empty"):
        tables.replace_snapshot("t", rows("s1", 0), "s1")
    commit = tables.replace_snapshot("t", rows("s1", 0), "s1", allow_empty=True)
    assert (commit.rows_deleted, commit.version) == (3, 3)
    assert tables.snapshots("t") == {"s2": 3}


def test_delete_snapshot_is_one_commit_and_a_second_one_is_none(tables):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    tables.replace_snapshot("t", rows("s2", 3), "s2")
    assert tables.delete_snapshot("t", "s1").rows_deleted == 3
    assert not tables.delete_snapshot("t", "s1").changed
    assert tables.version("t") == 3


def test_rows_of_a_snapshot_survive_compaction_with_its_neighbours(swap):
    for name in ("s1", "s2", "s3"):
        swap.replace_snapshot("t", rows(name, 10), name)
    lance.dataset(swap.path("t")).optimize.compact_files()
    assert len(lance.dataset(swap.path("t")).get_fragments()) == 1
    swap.replace_snapshot("t", rows("s2", 4, seed=9), "s2")
    assert swap.snapshots("t") == {"s1": 10, "s2": 4, "s3": 10}
    assert content(swap, snapshot="s2") == rows("s2", 4, seed=9).to_pylist()
    assert content(swap, snapshot="s3") == rows("s3", 10).to_pylist()


def test_key_is_declared_in_the_table(tables):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    schema = tables.schema("t")
    for name in ("snapshot", "doc_id"):
        assert schema.field(name).metadata[b"lance-schema:unenforced-primary-key"] == b"true"
        assert not schema.field(name).nullable


def test_lancedb_opens_the_table(tables, tmp_path):
    tables.replace_snapshot("t", rows("s1", 30), "s1")
    table = lancedb.connect(tmp_path / "db").open_table("t")
    assert table.count_rows() == 30
    query = rows("s1", 30).column("vector")[7].as_py()
    assert table.search(query, vector_column_name="vector").limit(1).to_list()[0]["doc_id"] == f"{7:032x}"


def with_column(table: pa.Table, name: str, values: list) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (pa.concat_tables([rows("s1", 3), rows("s1", 1)]), f"{0:032x}"),
        (with_column(rows("s1", 2), "doc_id", ["a", None]), "nulls"),
        (pa.concat_tables([rows("s1", 2), rows("s2", 1, first=5)]), f"{5:032x} belongs to snapshot s2"),
        (rows("s1", 2).drop_columns(["doc_id"]), "no key column"),
        (with_column(rows("s1", 2), "vector", [[0.0] * DIM, [0.0, float("nan"), 0.0, 0.0]]), f"{1:032x}"),
        (with_column(rows("s1", 2), "vector", [[0.0] * DIM, [float("inf")] * DIM]), "infinite"),
        (rows("s1", 1).append_column("v", pa.array([[1.0]], pa.list_(pa.float32()))), "fixed_size_list"),
        (rows("s1", 1).append_column("v", pa.array([[1.0]], pa.list_(pa.float64(), 1))), "float32"),
    ],
)
def test_bad_sources_are_refused_before_anything_is_written(tables, source, message):
    with pytest.raises(ValueError, match=message):
        tables.replace_snapshot("t", source, "s1")
    assert tables.version("t") is None
    assert not disk(tables).exists()


def test_the_schema_must_match_the_table(tables):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    with pytest.raises(ValueError, match="differ in extra"):
        tables.replace_snapshot("t", rows("s2", 3).append_column("extra", pa.array([1, 2, 3])), "s2")
    assert tables.version("t") == 1


@pytest.mark.parametrize("bad", ["s'1", "s;1", "'; DROP TABLE t; --", "s 1", "", "../s", 's"1', "s1' OR '1'='1"])
def test_snapshot_names_that_could_end_a_filter_are_refused(tables, bad):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    for call in (
        lambda: tables.replace_snapshot("t", rows(bad, 3), bad),
        lambda: tables.delete_snapshot("t", bad),
        lambda: tables.count("t", snapshot=bad),
        lambda: tables.read("t", snapshot=bad),
    ):
        with pytest.raises(ValueError, match="snapshot name"):
            call()
    assert tables.count("t") == 3


@pytest.mark.parametrize("bad", ["", "../t", "a/b", ".t", "t.", "a..b", "t\n"])
def test_table_names_cannot_escape(tables, bad):
    with pytest.raises(ValueError, match="table name"):
        tables.replace_snapshot(bad, rows("s1", 3), "s1")


def test_tags_name_a_version_for_good(tables):
    tables.replace_snapshot("t", rows("s1", 3), "s1")
    tables.replace_snapshot("t", rows("s2", 3), "s2")
    tables.tag("t", "recipe-x", 1)
    tables.tag("t", "recipe-x", 1)
    assert tables.tags("t") == {"recipe-x": 1}
    with pytest.raises(ValueError, match="is version 1"):
        tables.tag("t", "recipe-x", 2)
    with pytest.raises(ValueError, match="version 9"):
        tables.tag("t", "recipe-y", 9)


def test_scan_pins_version_and_columns(tables):
    tables.replace_snapshot("t", rows("s1", 100), "s1")
    tables.replace_snapshot("t", rows("s1", 10, seed=1), "s1")
    batches = list(tables.scan("t", version=1, columns=["doc_id"], batch_size=3))
    assert pa.Table.from_batches(batches).column("doc_id").to_pylist() == [f"{i:032x}" for i in range(100)]
    assert tables.digest("t", version=1, snapshot="s1") != tables.digest("t", snapshot="s1")


def test_missing_table_is_named(tables):
    with pytest.raises(KeyError, match="no table t"):
        tables.read("t")


def manifest_of(tables: LanceTables, version: int) -> Path:
    return manifests(disk(tables))[version]


@pytest.mark.parametrize("torn", [b"", b"\0" * 400, b"half of it", "cut"])
def test_torn_newest_manifest_is_set_aside_loudly(swap, caplog, torn):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    swap.replace_snapshot("t", rows("s2", 3), "s2")
    path = manifest_of(swap, 2)
    path.write_bytes(path.read_bytes()[:-7] if torn == "cut" else torn)
    with caplog.at_level(logging.ERROR):
        assert swap.version("t") == 1
    assert "version 2 is torn" in caplog.text
    assert path.with_name(path.name + ".torn").exists()
    assert swap.snapshots("t") == {"s1": 3}
    assert swap.replace_snapshot("t", rows("s2", 3), "s2").version == 2
    assert swap.snapshots("t") == {"s1": 3, "s2": 3}
    assert lancedb.connect(swap.uri).open_table("t").count_rows() == 6


def test_torn_data_file_of_the_newest_version_is_stepped_back_from(swap, caplog):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    known = set(Path(swap.path("t"), "data").iterdir())
    swap.replace_snapshot("t", rows("s2", 3), "s2")
    (new,) = set(Path(swap.path("t"), "data").iterdir()) - known
    new.write_bytes(b"")
    assert swap.version("t") == 1
    assert new.name in caplog.text


def test_two_torn_versions_step_back_two(swap):
    for seed in range(4):
        swap.replace_snapshot("t", rows("s1", 3, seed=seed), "s1")
    for version in (3, 4):
        manifest_of(swap, version).write_bytes(b"")
    assert swap.version("t") == 2


def test_a_table_whose_every_version_is_torn_counts_as_absent_and_can_be_written_again(swap, caplog):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    manifest_of(swap, 1).write_bytes(b"")
    assert swap.version("t") is None
    assert "version 1 is torn" in caplog.text
    assert swap.replace_snapshot("t", rows("s1", 3), "s1").version == 1
    assert swap.count("t") == 3


def test_a_version_that_is_gone_is_named(swap):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    with pytest.raises(ValueError, match="no version 5"):
        swap.read("t", version=5)


def test_failed_commit_leaves_no_files(swap, monkeypatch):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    before = sorted(Path(swap.path("t")).rglob("*"))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lance.LanceDataset, "commit", full)
    with pytest.raises(OSError, match="No space"):
        swap.replace_snapshot("t", rows("s2", 3), "s2")
    monkeypatch.undo()
    assert sorted(Path(swap.path("t")).rglob("*")) == before
    assert orphan_files(Path(swap.path("t"))) == []
    assert swap.replace_snapshot("t", rows("s2", 3), "s2").version == 2


def test_every_file_of_a_commit_is_forced_to_the_disk(swap, monkeypatch):
    synced: set[Path] = set()
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    swap.replace_snapshot("t", rows("s2", 3), "s2")
    lance.dataset(swap.path("t")).optimize.compact_files()
    synced.clear()
    known = set(Path(swap.path("t")).rglob("*"))
    swap.replace_snapshot("t", rows("s2", 4), "s2")
    new = {p for p in set(Path(swap.path("t")).rglob("*")) - known if p.is_file()}
    assert {p.parent.name for p in new} == {"data", "_deletions", "_transactions", "_versions"}
    assert new <= synced
    assert {p.parent for p in new} <= synced


def test_a_second_writer_waits_and_then_says_who_holds_the_table(tmp_path):
    tables = LanceTables(tmp_path, lock_timeout=0.1)
    with (
        file_lock(tmp_path / ".t.lock", purpose="write snapshot s9 to table t"),
        pytest.raises(LockTimeoutError, match=rf"pid {os.getpid()}: write snapshot s9"),
    ):
        tables.replace_snapshot("t", rows("s1", 3), "s1")
    assert tables.replace_snapshot("t", rows("s1", 3), "s1").changed


@pytest.mark.slow
@pytest.mark.parametrize(("commit", "seeds"), [("swap", (1, 1)), ("swap", (1, 2)), ("merge", (1, 2))])
def test_two_writers_of_one_snapshot_leave_one_copy(tmp_path, commit, seeds):
    context = multiprocessing.get_context("spawn")
    tables = LanceTables(tmp_path / "db", commit=commit)
    tables.replace_snapshot("t", rows("s1", 10), "s1")
    barrier = context.Barrier(2)
    children = [
        context.Process(target=write_when_both_are_ready, args=(tables.uri, commit, seed, barrier)) for seed in seeds
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert tables.snapshots("t") == {"s1": 10, "s2": 3000}
    assert content(tables, snapshot="s2") in [rows("s2", 3000, seed=seed).to_pylist() for seed in seeds]


def test_read_only_changes_nothing_and_still_steps_back(swap, tmp_path):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    swap.replace_snapshot("t", rows("s2", 3), "s2")
    path = manifest_of(swap, 2)
    path.write_bytes(b"")
    looking = LanceTables(tmp_path / "db", read_only=True)
    assert looking.version("t") == 1
    assert looking.snapshots("t") == {"s1": 3}
    merging = LanceTables(tmp_path / "db", read_only=True, commit="merge")
    for write in (
        lambda: looking.replace_snapshot("t", rows("s1", 4), "s1"),
        lambda: merging.replace_snapshot("t", rows("s1", 4), "s1"),
        lambda: looking.delete_snapshot("t", "s1"),
        lambda: looking.tag("t", "x", 1),
    ):
        with pytest.raises(PermissionError, match="read only"):
            write()
    assert path.read_bytes() == b""


def test_swap_needs_a_folder():
    with pytest.raises(ValueError, match="needs a lock"):
        LanceTables("s3://bucket/db", commit="swap")


def test_pinned_snapshots_are_read_as_a_full_scan_reads_them(swap):
    first = swap.replace_snapshot("t", rows("s1", 6), "s1").ref
    second = swap.replace_snapshot("t", rows("s2", 4), "s2").ref
    again = swap.replace_snapshot("t", rows("s1", 5, seed=9), "s1").ref
    columns = rows("s1", 1).column_names
    # rows of s2 are not the newest in the version of s1's second commit, and a wrong number of rows is no guide either
    pins = [
        (first.version, "s1", 6),
        (second.version, "s2", 4),
        (again.version, "s1", 5),
        (again.version, "s2", 4),
        (again.version, "s2", 2),
        (again.version, "s1", None),
    ]
    for pin in pins:
        version, snapshot, _ = pin
        found = [row for batch in swap.scan_pinned("t", [pin], columns) for row in batch.to_pylist()]
        expected = swap.scan("t", version=version, columns=columns, snapshot=snapshot)
        assert found == [row for batch in expected for row in batch.to_pylist()], pin
        assert found, pin
    together = [row for batch in swap.scan_pinned("t", pins[:3], columns) for row in batch.to_pylist()]
    assert len(together) == 6 + 4 + 5


def add_columns(tables: LanceTables, columns: dict[str, str]) -> None:
    """As an analyst does it with a tool of their own."""
    lance.dataset(tables.path("t")).add_columns(columns)


@pytest.mark.parametrize("noted", [True, False], ids=["new table", "table of an earlier version"])
@pytest.mark.parametrize("expression", ["cast(null as string)", "'seen'", "0.5"])
def test_columns_that_others_added_are_ignored(tables, expression, noted):
    first = tables.replace_snapshot("t", rows("s1", 5), "s1")
    if not noted:
        lance.dataset(tables.path("t")).update_schema_metadata({}, replace=True)
    add_columns(tables, {"review": expression})
    commit = tables.replace_snapshot("t", rows("s2", 4), "s2")
    assert tables.digest("t", snapshot="s1") == first.digest
    assert tables.digest("t", snapshot="s2") == commit.digest
    assert content(tables) == rows("s1", 5).to_pylist() + rows("s2", 4).to_pylist()
    assert tables.replace_snapshot("t", rows("s2", 4), "s2").changed is False
    assert tables.replace_snapshot("t", rows("s1", 6, seed=1), "s1").changed
    theirs = lance.dataset(tables.path("t")).to_table(columns=["review", "snapshot"]).to_pylist()
    assert {row["review"] for row in theirs if row["snapshot"] == "s2"} == {None}
    tables.delete_snapshot("t", "s1")
    assert tables.snapshots("t") == {"s2": 4}
    lance.dataset(tables.path("t")).drop_columns(["review"])
    assert tables.replace_snapshot("t", rows("s3", 2), "s3").changed
    assert content(tables, snapshot="s2") == rows("s2", 4).to_pylist()


def test_values_that_others_wrote_stay_with_the_rows_that_stay(swap):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    add_columns(swap, {"review": "'seen'"})
    swap.replace_snapshot("t", rows("s2", 2), "s2")
    theirs = lance.dataset(swap.path("t")).to_table(columns=["review", "snapshot"]).to_pylist()
    assert [row["review"] for row in theirs if row["snapshot"] == "s1"] == ["seen"] * 3


def test_compaction_and_indices_of_others_leave_digests_and_writes_as_they_were(swap):
    first = swap.replace_snapshot("t", rows("s1", 5), "s1")
    swap.replace_snapshot("t", rows("s2", 5), "s2")
    add_columns(swap, {"review": "'seen'"})
    dataset = lance.dataset(swap.path("t"))
    dataset.optimize.compact_files()
    dataset.create_scalar_index("doc_id", "BTREE")
    assert swap.digest("t", snapshot="s1") == first.digest
    assert swap.replace_snapshot("t", rows("s1", 5), "s1").changed is False
    assert swap.replace_snapshot("t", rows("s2", 7, seed=2), "s2").rows_inserted == 2
    assert swap.snapshots("t") == {"s1": 5, "s2": 7}


def test_a_column_of_ours_that_another_tool_changed_is_named_with_the_way_back(swap):
    swap.replace_snapshot("t", rows("s1", 3), "s1")
    lance.dataset(swap.path("t")).drop_columns(["text"])
    with pytest.raises(ValueError, match=r"differ in text.*version=1\)\.restore\(\)"):
        swap.replace_snapshot("t", rows("s2", 2), "s2")
    lance.dataset(swap.path("t"), version=1).restore()
    assert swap.replace_snapshot("t", rows("s2", 2), "s2").changed
