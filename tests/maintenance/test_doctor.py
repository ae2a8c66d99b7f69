import json
import logging
import os
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.maintenance.doctor import examine, repair
from gem_assets.orchestration.stage import Stage
from gem_assets.storage.durable import locked_folder
from gem_assets.storage.lance_files import manifests
from resources import StoreResource
from tests.resources.tables import DIM, rows


@pytest.fixture
def store(tmp_path: Path) -> StoreResource:
    """Two snapshots, ingested, embedded and labelled."""
    store = StoreResource(root=str(tmp_path / "data"))
    for number, snapshot in enumerate(("s1", "s2")):
        (store.landing / snapshot).mkdir(parents=True)
        (store.landing / snapshot / "a.warc").write_text(snapshot)
        (store.landing / snapshot / "_SUCCESS").touch()
        ingest(store, snapshot, 6 + number)
        document_table(store, "embeddings", snapshot)
        document_table(store, "student_labels", snapshot)
    return store


def ingest(store: StoreResource, snapshot: str, n: int) -> None:
    stage = Stage(store, "raw_shards", partition=snapshot, config={"n": n}, code_version="1",
                  version_prefix=fingerprint(store.landing / snapshot))  # fmt: skip
    with stage.write() as draft:
        documents = rows(snapshot, n).select(["doc_id", "snapshot", "text"])
        pq.write_table(documents.slice(0, 3), draft.path / "part-00000.parquet")
        pq.write_table(documents.slice(3), draft.path / "part-00001.parquet")
        draft.counts = {"kept": n}


def document_table(store: StoreResource, asset: str, snapshot: str, data: pa.Table | None = None) -> None:
    shards = store.input("raw_shards", snapshot)
    stage = Stage(store, asset, partition=snapshot, config={}, code_version="1", inputs=[shards])
    n = store.artifact(shards).manifest.counts["kept"]
    with stage.write() as draft:
        content = rows(snapshot, n) if data is None else data
        draft.lance = [store.tables.replace_snapshot(asset, content, snapshot).ref]


def fingerprint(folder: Path) -> str:
    return "fp-" + (folder / "a.warc").read_text()


def kinds(store: StoreResource, **kwargs) -> list[tuple[str, str]]:
    return [(f.kind, f.where) for f in examine(store, fingerprint=fingerprint, **kwargs)]


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_data_root_has_no_findings_and_nothing_to_repair(store, deep):
    assert kinds(store, deep=deep) == []
    assert repair(store) == []


def test_an_empty_data_root_is_sound(tmp_path):
    empty = StoreResource(root=str(tmp_path / "nothing"))
    assert examine(empty) == []
    assert repair(empty) == []


def test_examining_changes_nothing(store):
    manifests(Path(store.tables.path("embeddings")))[2].write_bytes(b"")
    (Path(store.root) / "artifacts" / "embeddings" / "s1" / "CURRENT").write_bytes(b"")
    before = {p: p.read_bytes() for p in (Path(store.root) / "artifacts").rglob("*") if p.is_file()}
    assert kinds(store)
    assert {p: p.read_bytes() for p in before} == before


def folder_of(store: StoreResource, asset: str, partition: str) -> Path:
    return store.artifacts.current(asset, partition).path


def test_torn_pointer_is_found_and_rewritten(store):
    path = folder_of(store, "embeddings", "s1").parent / "CURRENT"
    before = path.read_bytes()
    path.write_bytes(b"\0\0")
    assert kinds(store) == [("pointer_torn", "embeddings[s1]")]
    assert len(repair(store)) == 1
    assert path.read_bytes() == before
    assert kinds(store) == []


def test_torn_artifact_is_found_with_the_way_out(store):
    (folder_of(store, "raw_shards", "s1") / "part-00000.parquet").write_bytes(b"")
    (first, *_) = examine(store)
    assert (first.kind, first.where) == ("artifact_torn", "raw_shards[s1]")
    assert "part-00000.parquet" in first.message
    assert "Materialize raw_shards[s1] again" in first.remedy


def test_a_file_of_the_same_size_with_other_bytes_is_found_and_the_remedy_names_the_folder(store):
    folder = folder_of(store, "raw_shards", "s1")
    path = folder / "part-00000.parquet"
    path.write_bytes(b"\0" * path.stat().st_size)
    (fault,) = [one for one in examine(store, deep=True) if one.kind == "file_changed"]
    assert fault.where == "raw_shards[s1]"
    assert fault.remedy == f"Delete {folder} and materialize raw_shards[s1] again"


def test_edited_manifest_is_found(store):
    path = folder_of(store, "student_labels", "s2") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["counts"] = {"kept": 1_000_000}
    path.write_text(json.dumps(manifest))
    assert ("manifest_changed", "student_labels[s2]") in kinds(store)


def test_flipped_bit_is_found_by_a_deep_look(store):
    path = folder_of(store, "raw_shards", "s1") / "part-00001.parquet"
    data = bytearray(path.read_bytes())
    data[4] ^= 1
    path.write_bytes(data)
    assert ("file_changed", "raw_shards[s1]") in kinds(store, deep=True)


def test_torn_table_version_is_found_and_set_aside(store, caplog):
    path = manifests(Path(store.tables.path("embeddings")))[2]
    path.write_bytes(path.read_bytes()[:50])
    assert ("version_torn", "table embeddings") in kinds(store)
    with caplog.at_level(logging.ERROR):
        assert repair(store)[0] == "set version 2 of table embeddings aside"
    assert ("version_set_aside", "table embeddings") in kinds(store)
    assert ("rows_unreadable", "embeddings[s2]") in kinds(store)
    stage = Stage(
        store, "embeddings", partition="s2", config={}, code_version="1", inputs=[store.input("raw_shards", "s2")]
    )
    assert stage.done is None
    document_table(store, "embeddings", "s2")
    assert kinds(store) == [("table_orphans", "table embeddings"), ("version_set_aside", "table embeddings")]


def test_unreadable_older_version_is_found(store):
    manifests(Path(store.tables.path("embeddings")))[1].write_bytes(b"")
    assert ("version_unreadable", "table embeddings") in kinds(store)
    assert ("version_unreadable", "table embeddings") not in kinds(store, versions=1)


def append(store: StoreResource, table: str, data: pa.Table) -> None:
    """Write past the store, as another tool would."""
    path = store.tables.path(table)
    lance.write_dataset(data.cast(lance.dataset(path).schema), path, mode="append")


def test_repeated_keys_are_found(store):
    append(store, "embeddings", rows("s1", 2))
    found = kinds(store)
    assert ("key_repeated", "table embeddings [s1]") in found
    assert ("rows_differ", "embeddings[s1]") in found
    assert ("not_covered", "embeddings[s1]") in found


def test_vectors_that_are_not_unit_or_not_finite_are_found(store):
    bad = rows("s1", 2, first=50)
    values = np.full((2, DIM), 3.0, dtype=np.float32)
    values[1, 2] = np.nan
    vector = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), DIM)
    append(store, "embeddings", bad.set_column(3, "vector", vector))
    (finding,) = [f for f in examine(store) if f.kind == "vectors_bad"]
    assert "1 vectors in 'vector' are not finite, 1 are not of unit length" in finding.message


def test_labels_that_do_not_cover_the_documents_are_found(store):
    document_table(store, "student_labels", "s1", rows("s1", 6, first=1))
    found = kinds(store)
    assert found == [("not_covered", "student_labels[s1]")] or ("rows_differ", "student_labels[s1]") in found


def test_labels_of_older_documents_are_found(store):
    ingest(store, "s1", 9)
    assert kinds(store) == [("outdated", "embeddings[s1]"), ("outdated", "student_labels[s1]")]


def test_changed_rows_are_found_by_a_deep_look(store):
    store.tables.replace_snapshot("embeddings", rows("s2", 7, seed=9), "s2")
    assert kinds(store) == []  # the version that the manifest names still stands
    dataset = lance.dataset(store.tables.path("embeddings"))
    assert dataset.version == 3
    data = Path(store.tables.path("embeddings")) / "data"
    two, three = (
        lance.dataset(store.tables.path("embeddings"), version=v).get_fragments()[-i].data_files()[0].path
        for v, i in ((2, 1), (3, 1))
    )
    (data / two).write_bytes((data / three).read_bytes())
    assert kinds(store) == []
    assert kinds(store, deep=True) == [("rows_differ", "embeddings[s2]")]


def test_rows_without_an_artifact_are_found(store):
    store.tables.replace_snapshot("embeddings", rows("s3", 2), "s3")
    store.tables.replace_snapshot("old", rows("s1", 2), "s1")
    assert kinds(store) == [("rows_unowned", "table embeddings [s3]"), ("table_unused", "table old")]


def test_landing_is_compared(store):
    (store.landing / "s3").mkdir()
    (store.landing / "s3" / "_SUCCESS").touch()
    (store.landing / "s1" / "a.warc").write_text("other bytes")
    for file in (store.landing / "s2").iterdir():
        file.unlink()
    (store.landing / "s2").rmdir()
    assert kinds(store) == [
        ("landing_changed", "raw_shards[s1]"),
        ("landing_gone", "raw_shards[s2]"),
        ("not_ingested", "landing/s3"),
    ]


def test_what_killed_runs_left_is_found_and_removed_and_what_is_in_use_is_not(store):
    root = Path(store.root)
    left = [
        root / "artifacts" / "embeddings" / "s1" / ".draft-dead",
        root / "scratch" / "scratch-dead",
        root / "tables" / ".gem-spool-dead",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
    orphan = Path(store.tables.path("embeddings")) / "data" / "dead.lance"
    orphan.write_bytes(b"x")
    with store.scratch() as living:
        assert sorted(kind for kind, _ in kinds(store)) == [
            "left_behind",
            "left_behind",
            "left_behind",
            "table_orphans",
        ]
        assert len(repair(store)) == 3
        assert orphan.exists(), "a young file may belong to a writer that is under way"
        assert len(repair(store, older_than_s=-1)) == 1
        assert living.exists()
    assert not any(path.exists() for path in [*left, orphan])
    assert kinds(store) == []


def test_leftovers_of_killed_exports_audits_and_caches_are_named_and_removed(store):
    root = Path(store.root)
    left = [
        root / "exports" / ".export-dead",
        root / "exports" / ".purged-dead",
        root / "exported" / ".record-dead",
        root / "audits" / ".audit-dead",
        root / "cache" / "trace" / "v4" / "raw_shards" / "s1" / ".draft-dead",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
    cut, young = (root / "cache" / name for name in (".s1.json.abc.tmp", ".s2.json.abc.tmp"))
    for path in (cut, young):
        path.write_text("{")
    os.utime(cut, (1, 1))
    with locked_folder(root / "exports", ".export-") as living:
        found = [f for f in examine(store, fingerprint=fingerprint) if f.kind == "left_behind"]
        assert sorted(f.where for f in found) == sorted(str(path) for path in [*left, cut])
        assert all(f.repairable for f in found)
        assert len(repair(store)) == len(left) + 1
        assert living.exists()
    assert young.exists(), "a young file may belong to a writer that is under way"
    assert not any(path.exists() for path in [*left, cut])
    assert kinds(store) == []


def test_an_export_that_nobody_registered_and_a_torn_record_are_named(store):
    (Path(store.root) / "exports" / "old").mkdir(parents=True)
    assert kinds(store) == [("export_unregistered", "exports/old")]
    record = Path(store.root) / "exported" / "abc" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    (found,) = examine(store, fingerprint=fingerprint)
    assert (found.kind, found.severity) == ("record_damaged", "error")
    assert str(record) in found.message


def test_a_pointer_that_was_set_back_is_an_error_and_mended(store):
    pointer = Path(store.root) / "artifacts" / "raw_shards" / "s1" / "CURRENT"
    old = pointer.read_bytes()
    ingest(store, "s1", 4)
    new = pointer.read_bytes()
    pointer.write_bytes(old)
    assert ("pointer_changed", "raw_shards[s1]") in kinds(store)
    assert [line for line in repair(store) if "HISTORY" in line]
    assert pointer.read_bytes() == new


def test_errors_come_first_and_read_as_sentences(store):
    (folder_of(store, "raw_shards", "s1") / "part-00000.parquet").write_bytes(b"")
    (store.landing / "s3").mkdir()
    (store.landing / "s3" / "_SUCCESS").touch()
    found = examine(store)
    assert [f.severity for f in found] == sorted((f.severity for f in found), key=["error", "warning", "info"].index)
    assert all(str(f).startswith(f"{f.severity} {f.where}: ") for f in found)


def replace_manifest(store: StoreResource, asset: str, snapshot: str) -> None:
    manifest = store.artifact(store.input(asset, snapshot)).manifest
    with store.artifacts.write(asset, manifest.identity, snapshot, replace=True) as draft:
        draft.code_version, draft.config, draft.inputs = manifest.code_version, manifest.config, manifest.inputs
        draft.lance, draft.metrics = manifest.lance, {"replaced": True}


def test_a_pointer_that_a_killed_replacement_left_behind_is_found_and_mended(store, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(type(store.artifacts), "_point", killed)
        with pytest.raises(KilledError):
            replace_manifest(store, "embeddings", "s1")
    assert store.artifacts.current("embeddings", "s1").manifest.metrics == {"replaced": True}
    assert kinds(store) == [("pointer_behind", "embeddings[s1]")]
    assert len(repair(store)) == 1
    assert kinds(store) == []
