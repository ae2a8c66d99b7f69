import json
import shutil
from pathlib import Path

import pytest

from gem_assets.lineage.walk import everything, walk
from gem_assets.maintenance.verify import verify
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.identity import file_digest, identity
from gem_assets.storage.manifest import FileRef, InputRef, LanceRef, input_versions, stage_name


class Tables:
    """A table store that remembers one digest per version."""

    def __init__(self) -> None:
        self.digests = {("vectors", 3): "d3"}

    def digest(self, table: str, *, version: int | None = None, snapshot: str | None = None) -> str:
        assert snapshot == "s1"
        return self.digests[table, version or 0]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "landing" / "s1").mkdir(parents=True)
    (tmp_path / "landing" / "s1" / "a.warc").write_bytes(b"raw bytes of a crawl")
    return tmp_path / "landing"


@pytest.fixture
def store(tmp_path: Path, landing: Path) -> ArtifactStore:
    """landing → raw_shards[s1] → vectors[s1] and space → teacher."""
    store = ArtifactStore(tmp_path)
    file = landing / "s1" / "a.warc"
    raw = InputRef(
        asset="landing", partition="s1", data_version="fp",
        files=(FileRef(path="a.warc", bytes=file.stat().st_size, sha256=file_digest(file)),),
    )  # fmt: skip
    shards = make(store, "raw_shards", "s1", [raw]).ref()
    space = make(store, "space", None, [shards]).ref()
    vectors = make(
        store, "vectors", "s1", [shards, space], lance=[LanceRef(table="vectors", version=3, rows=7, digest="d3")]
    )
    make(store, "teacher", None, [space, vectors.ref()])
    return store


def make(store, asset, partition, inputs, lance=(), config=None) -> Artifact:
    name = identity(
        stage=stage_name(asset, partition), config=config or {}, code_version="1", inputs=input_versions(inputs), seed=1
    )
    with store.write(asset, name, partition) as draft:
        (draft.path / "out.bin").write_bytes(f"content of {asset}".encode())
        draft.config, draft.seed, draft.inputs, draft.lance = config or {}, 1, inputs, lance
    assert draft.artifact is not None
    return draft.artifact


def check(store: ArtifactStore, landing: Path, tables: Tables | None = None) -> list[tuple[str, str]]:
    faults = verify(store, walk(store, "teacher"), landing=landing, tables=tables or Tables())
    return [(f.kind, f.where.split("@")[0]) for f in faults]


def file_of(store: ArtifactStore, asset: str, partition: str | None, name: str) -> Path:
    entry = store.pointer(asset, partition)
    return Path(store.root) / "artifacts" / asset / (partition or "all") / entry.identity[:32] / name


def test_walk_reaches_the_landing_files(store):
    lineage = walk(store, "teacher")
    names = [key.split("@")[0] for key in lineage.nodes]
    assert names == ["raw_shards[s1]", "space", "vectors[s1]", "teacher"]
    assert [key.split("@")[0] for key in lineage.sources] == ["landing[s1]"]
    assert lineage.root.startswith("teacher@")
    lines = lineage.text().splitlines()
    assert lines[0].startswith("teacher  ")
    assert any("see above" in line for line in lines)
    assert any("vectors v3 (7 rows)" in line for line in lines)
    assert json.loads(json.dumps(lineage.to_dict()))["root"] == lineage.root


def test_untouched_lineage_is_clean(store, landing):
    steps: list[tuple[int, int]] = []
    lineage = walk(store, "teacher")
    assert verify(store, lineage, landing=landing, tables=Tables(), progress=lambda *a: steps.append(a)) == []
    assert steps[-1] == (5, 5)


def test_one_flipped_bit_in_a_raw_file_is_found(store, landing):
    path = landing / "s1" / "a.warc"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    assert check(store, landing) == [("landing_changed", "landing[s1]")]
    path.unlink()
    assert check(store, landing) == [("landing_missing", "landing[s1]")]
    assert verify(store, walk(store, "teacher")) == []


def test_one_flipped_bit_in_an_output_is_found(store, landing):
    path = file_of(store, "space", None, "out.bin")
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert check(store, landing) == [("file_changed", "space")]


def test_a_file_that_nobody_committed_is_found(store, landing):
    file_of(store, "space", None, "extra").write_text("x")
    assert check(store, landing) == [("file_extra", "space")]


def test_a_missing_file_is_found(store, landing):
    file_of(store, "space", None, "out.bin").unlink()
    assert ("artifact_missing", "space") in check(store, landing)


@pytest.mark.parametrize("asset", ["space", "teacher"])
def test_an_edited_manifest_is_found_even_at_the_top(store, landing, asset):
    path = file_of(store, asset, None, "manifest.json")
    manifest = json.loads(path.read_text())
    manifest["counts"] = {"documents": 10}
    path.write_text(json.dumps(manifest))
    assert set(check(store, landing)) == {("manifest_changed", asset)}


def test_an_edited_config_no_longer_gives_the_identity(store, landing):
    path = file_of(store, "space", None, "manifest.json")
    manifest = json.loads(path.read_text())
    manifest["config"] = {"k": 10}
    path.write_text(json.dumps(manifest))
    assert ("identity_mismatch", "space") in check(store, landing)


def test_a_swapped_table_version_is_found(store, landing):
    tables = Tables()
    tables.digests["vectors", 3] = "other rows"
    assert check(store, landing, tables) == [("table_changed", "vectors[s1]")]
    del tables.digests["vectors", 3]
    assert check(store, landing, tables) == [("table_missing", "vectors[s1]")]


def test_an_input_that_names_another_table_version_is_found(store, landing, tmp_path):
    vectors = store.current("vectors", "s1").ref().model_copy(update={"lance_version": 4})
    make(store, "teacher", None, [vectors])
    assert check(store, landing) == [("input_mismatch", "teacher")]


def test_an_old_artifact_keeps_its_own_lineage(store, landing):
    old = store.current("teacher")
    shards = store.current("raw_shards", "s1").ref()
    space = make(store, "space", None, [shards], config={"k": 2}).ref()
    make(store, "teacher", None, [space])
    assert len(walk(store, "teacher").nodes) == 3
    before = walk(store, "teacher", identity=old.identity)
    assert len(before.nodes) == 4
    assert verify(store, before, landing=landing, tables=Tables()) == []


def test_what_was_never_made_is_named(store):
    with pytest.raises(LookupError, match="nothing has not been materialized"):
        walk(store, "nothing")
    store.remove("teacher")
    with pytest.raises(LookupError, match="was removed"):
        walk(store, "teacher")


def test_an_input_that_is_pinned_by_content_alone_is_a_source_without_fault(store, landing):
    borrowed = InputRef(asset="raw_shards", partition="s0", data_version="digest-of-borrowed-texts", rows=4)
    make(store, "teacher", None, [borrowed])
    assert check(store, landing) == []
    assert [key.split("@")[0] for key in walk(store, "teacher").sources] == ["raw_shards[s0]"]


def test_landing_without_recorded_files_is_said(tmp_path, landing):
    store = ArtifactStore(tmp_path / "other")
    make(store, "teacher", None, [InputRef(asset="landing", partition="s1", data_version="fp")])
    assert check(store, landing) == [("landing_unlisted", "landing[s1]")]


def test_a_real_root_is_verified_down_to_its_raw_files_manifests_and_table_versions(tmp_path):
    from benchmarks.trace_root import LANDED
    from gem_assets.lineage.mixtures import lineage_of
    from gem_assets.storage.lance_files import manifests
    from tests.lineage.conftest import build

    made = build(tmp_path)
    landing = tmp_path / "landing"

    def faults() -> set[tuple[str, str]]:
        found = verify(made.store, lineage_of(made.store, "balanced"), landing=landing, tables=made.tables)
        return {(f.kind, f.where.split("@")[0]) for f in found}

    assert faults() == set()
    raw = landing / "2026-01" / LANDED
    sound = raw.read_bytes()
    raw.write_bytes(sound[:40] + bytes([sound[40] ^ 1]) + sound[41:])
    assert faults() == {("landing_changed", "landing[2026-01]")}
    raw.write_bytes(sound)

    manifest = made.current("domain_inventory").path / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"code_version": "1"', '"code_version": "9"'))
    assert faults() >= {("manifest_changed", "domain_inventory"), ("identity_mismatch", "domain_inventory")}
    manifest.write_text(text)

    # another version of the same table takes the place of the one that was read
    labels = made.current("student_labels", "2026-01").manifest.lance[0]
    columns = made.tables.read(labels.table, version=labels.version)
    swapped = columns.set_column(columns.schema.get_field_index("n_tokens"), "n_tokens", columns.column("n_bytes"))
    newer = made.tables.replace_snapshot(labels.table, swapped, "2026-01").version
    # what is in force is pinned to the sound version, and others read the newest one
    newest_differs = {("table_changed", "student_labels[2026-01]")}
    assert faults() == newest_differs
    files = manifests(Path(made.tables.path(labels.table)))
    sound = files[labels.version].read_bytes()
    files[labels.version].write_bytes(files[newer].read_bytes())
    # Lance itself sees that the file holds another version
    assert faults() == newest_differs | {("table_missing", "student_labels[2026-01]")}
    files[labels.version].write_bytes(sound)
    made.tables.replace_snapshot(labels.table, columns, "2026-01")
    assert faults() == set()

    # a table made anew has other rows under the same number, and nothing but the digest tells
    shutil.rmtree(made.tables.path(labels.table))
    assert made.tables.replace_snapshot(labels.table, swapped, "2026-01").version == labels.version
    assert faults() == {("table_changed", "student_labels[2026-01]")}


def test_a_pointer_that_was_set_back_is_found(store, landing):
    pointer = file_of(store, "teacher", None, "out.bin").parents[1] / "CURRENT"
    old, inputs = pointer.read_bytes(), store.current("teacher").manifest.inputs
    make(store, "teacher", None, inputs, config={"k": 2})
    pointer.write_bytes(old)
    assert check(store, landing) == [("pointer_changed", "teacher")]
    store.follow_history("teacher")
    assert check(store, landing) == []


def test_everything_in_force_is_one_lineage(store, landing):
    found = everything(store)
    assert {key.split("@")[0] for key in found.nodes} == {"raw_shards[s1]", "space", "vectors[s1]", "teacher"}
    file_of(store, "vectors", "s1", "out.bin").write_bytes(b"other")
    quick = verify(store, found, landing=landing, deep=False)
    deep = verify(store, found, landing=landing, tables=Tables())
    assert (quick, [fault.kind for fault in deep]) == ([], ["file_changed"])
