import math
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, ConfigDict, Field

from gem_assets.orchestration.stage import Stage
from gem_assets.storage.lance_files import manifests
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import MissingInputError
from resources import StoreResource
from tests.resources.tables import rows


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = 3
    batch: int = Field(default=8, exclude=True)


@pytest.fixture
def store(tmp_path: Path) -> StoreResource:
    return StoreResource(root=str(tmp_path / "data"))


LANDING = InputRef(asset="landing", partition="s1", data_version="fp1")


def run(store: StoreResource, config: Config | None = None, **kwargs) -> Stage:
    stage = Stage(store, kwargs.pop("asset", "teacher"), config=config or Config(), code_version="1",
                  inputs=kwargs.pop("inputs", [LANDING]), libraries=("numpy",), seed=1, **kwargs)  # fmt: skip
    if stage.done is None:
        with stage.write() as draft:
            (draft.path / "out.txt").write_text(str(stage.config))
            draft.counts = {"documents": 4}
    return stage


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.relative_to(root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in root.rglob("*")
        if p.is_file() and p.suffix != ".lock" and p.name != ".lock"
    }


def test_second_run_returns_at_once_and_writes_nothing(store):
    first = run(store)
    before = tree(Path(store.root))
    second = run(store, Config(batch=99))
    assert (first.fresh, second.fresh) == (True, False)
    assert second.artifact.identity == first.artifact.identity
    assert tree(Path(store.root)) == before


def test_what_is_in_the_identity_is_in_the_manifest_and_gives_it_back(store):
    manifest = run(store, partition="s1").artifact.manifest
    assert manifest.recomputed_identity() == manifest.identity
    assert manifest.config == {"k": 3}
    assert manifest.seed == 1
    assert manifest.libraries.keys() == {"numpy"}
    assert manifest.key == "teacher[s1]"


@pytest.mark.parametrize(
    "change",
    [{"config": Config(k=4)}, {"inputs": [LANDING.model_copy(update={"data_version": "fp2"})]}, {"partition": "s1"}],
)
def test_a_change_makes_another_result(store, change):
    assert run(store, **change).identity != run(store).identity


def test_going_back_to_an_old_config_only_moves_the_pointer(store):
    old, new = run(store), run(store, Config(k=4))
    assert store.input("teacher").identity == new.identity
    again = run(store)
    assert not again.fresh
    assert store.input("teacher").identity == old.identity


def test_result_carries_data_version_and_metadata(store):
    result = run(store, version_prefix="landing-fp").result(
        {"clusters": 3, "share": 0.05712401411931435, "bytes": 1343543.29, "nothing": math.inf}
    )
    identity = store.input("teacher").identity
    assert result.data_version == dg.DataVersion(f"landing-fp:{identity}")
    assert store.input("teacher").data_version == f"landing-fp:{identity}"
    assert result.metadata["Clusters"] == 3
    assert [result.metadata[name] for name in ("Share", "Bytes of text", "Nothing")] == [0.05712, 1343543.0, "inf"]
    assert result.metadata["identity"] == identity
    assert Path(result.metadata["manifest"].value).is_file()


def test_a_page_shows_the_verdict_pictures_and_links_before_figures_and_identities_last(store):
    page, map_ = dg.MetadataValue.url("http://a.invalid/page.html"), dg.MetadataValue.md("![map](data:,)")
    shown = list(run(store).result({"documents": 3, "page": page, "map": map_, "verdict": "good"}).metadata)
    assert shown[:4] == ["Verdict", "Page", "Picture: map of the clusters", "Documents"]
    assert shown[-3:] == ["identity", "manifest", "computed"]


def test_artifact_before_any_work_is_an_error(store):
    with pytest.raises(RuntimeError, match="no committed result"):
        _ = Stage(store, "teacher", config={}, code_version="1").artifact


def test_missing_inputs_are_named(store):
    with pytest.raises(MissingInputError, match=r"embeddings\[s1\]"):
        store.input("embeddings", "s1")
    with pytest.raises(MissingInputError, match="no snapshot of embeddings"):
        store.inputs("embeddings")


def embed(store: StoreResource, snapshot: str, n: int, table: str = "t", seed: int = 0) -> Stage:
    stage = Stage(
        store, "embeddings", partition=snapshot, config={"table": table, "seed": seed, "n": n}, code_version="1"
    )
    if stage.done is None:
        with stage.write() as draft:
            commit = store.tables.replace_snapshot(table, rows(snapshot, n, seed=seed), snapshot)
            draft.lance = [commit.ref]
    return stage


def test_inputs_pin_versions_before_reading(store):
    embed(store, "s1", 3)
    embed(store, "s2", 4)
    refs = store.inputs("embeddings", lance_table="t")
    assert [(r.partition, r.lance_version, r.rows) for r in refs] == [("s1", 1, 3), ("s2", 2, 4)]
    scan = store.table_scan(refs)
    embed(store, "s1", 9, seed=5)
    assert sum(batch.num_rows for batch in scan(["doc_id"])) == 7
    assert store.artifact(refs[0]).manifest.lance[0].rows == 3
    assert embed(store, "s1", 9, seed=5).result().metadata["dagster/row_count"] == 9


def test_inputs_of_another_table_are_left_out(store):
    embed(store, "s1", 3, table="old")
    embed(store, "s2", 4, table="new")
    assert [r.partition for r in store.inputs("embeddings", lance_table="new")] == ["s2"]
    with pytest.raises(MissingInputError, match="2 in other tables"):
        store.inputs("embeddings", lance_table="newest")


def test_versions_that_were_read_are_tagged(store):
    embed(store, "s1", 3)
    run(store, inputs=store.inputs("embeddings"))
    assert store.tables.tags("t") == {"pinned-1": 1}


def test_rows_lost_with_a_torn_version_are_written_again(store, caplog):
    embed(store, "s1", 3)
    embed(store, "s2", 4)
    manifests(Path(store.tables.path("t")))[2].write_bytes(b"")
    assert embed(store, "s1", 3).fresh is False
    again = embed(store, "s2", 4)
    assert again.fresh is True
    assert "no longer holds" in caplog.text
    assert store.tables.snapshots("t") == {"s1": 3, "s2": 4}
    assert embed(store, "s2", 4).fresh is False


def test_rows_lost_with_a_version_number_that_another_snapshot_took(store):
    embed(store, "s1", 3)
    embed(store, "s2", 4)
    manifests(Path(store.tables.path("t")))[2].write_bytes(b"")
    embed(store, "s3", 5)
    assert store.tables.versions("t") == [1, 2]
    assert embed(store, "s2", 4).fresh is True
    again = embed(store, "s2", 4)
    assert again.fresh is False
    assert again.artifact.manifest.lance[0].version == 3
    assert store.tables.snapshots("t") == {"s1": 3, "s2": 4, "s3": 5}


def test_killed_between_table_and_artifact_writes_no_second_version(store):
    store.tables.replace_snapshot("t", rows("s1", 3), "s1")
    stage = embed(store, "s1", 3)
    assert stage.fresh is True
    assert store.tables.versions("t") == [1]
    assert stage.artifact.manifest.lance[0].version == 1


def shard(store: StoreResource, snapshot: str, tokenizer: str = "estimate") -> None:
    stage = Stage(store, "raw_shards", partition=snapshot, config={"tokenizer": tokenizer}, code_version="1")
    with stage.write() as draft:
        for i in (1, 0):
            pq.write_table(pa.table({"x": [i]}), draft.path / f"part-{i:05d}.parquet")
        pq.write_table(pa.table({"x": [1]}), draft.path / "quarantine.parquet")


def test_shards_tokenizer_and_absent_snapshots(store):
    for snapshot in ("s2", "s1"):
        shard(store, snapshot)
    (store.landing / "s3").mkdir(parents=True)
    (store.landing / "s3" / "_SUCCESS").touch()
    (store.landing / "s4").mkdir()
    (store.landing / "not a name").mkdir()
    shards = store.shards(store.inputs("raw_shards"))
    assert {k: [p.name for p in v] for k, v in shards.items()} == {
        s: ["part-00000.parquet", "part-00001.parquet"] for s in ("s1", "s2")
    }
    assert store.tokenizer() == "estimate"
    assert store.absent("raw_shards") == ["s3"]
    embed(store, "s1", 2)
    assert store.absent("embeddings") == ["s2", "s3"]
    store.artifacts.remove("raw_shards", "s2")
    assert store.absent("embeddings") == ["s3"]
    shard(store, "s5", "gpt2.json")
    with pytest.raises(ValueError, match="different tokenizers"):
        store.tokenizer()


def test_tables_are_named_after_what_made_them(store):
    teacher = run(store, asset="teacher_clusters").artifact.ref()
    student = run(store, asset="student_model", inputs=[teacher]).artifact.ref()
    assert store.embedding_table(teacher) == f"embeddings__{teacher.identity[:16]}"
    assert store.label_table(student) == f"labels__{teacher.identity[:16]}__{student.identity[:16]}"
    with pytest.raises(ValueError, match="no teacher_clusters"):
        store.label_table(teacher)


def test_a_pinned_artifact_that_changed_is_refused(store):
    ref = run(store).artifact.ref()
    assert store.artifact(ref).identity == ref.identity
    with pytest.raises(MissingInputError, match="gone or was changed"):
        store.artifact(ref.model_copy(update={"manifest_sha256": "0" * 64}))


def test_scratch_is_empty_and_gone_afterwards(store):
    with store.scratch() as folder:
        assert folder.is_relative_to(store.root)
        (folder / "x").touch()
    assert not folder.exists()
    assert store.cache("namer").is_dir()


def test_store_on_an_object_store(tmp_path):
    store = StoreResource(root="memory://gem-stage-test")
    assert run(store).fresh is True
    assert run(store).fresh is False
    with pytest.raises(ValueError, match="has to be local"):
        _ = store.landing


def test_stage_inside_a_dagster_run_reports_its_data_version(store):
    @dg.asset
    def teacher(store: StoreResource) -> dg.MaterializeResult:
        return run(store).result({"n": 1})

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([teacher], instance=instance, resources={"store": store})
        (event,) = result.asset_materializations_for_node("teacher")
    assert event.tags["dagster/data_version"] == store.input("teacher").identity
    assert event.metadata["computed"].value is True


def test_a_stage_that_is_stopped_says_what_is_kept(store, caplog):
    stage = Stage(store, "teacher", config={"k": 3}, code_version="1")
    with pytest.raises(KeyboardInterrupt), stage.keeping("every finished proxy is kept"):
        raise KeyboardInterrupt
    assert "teacher was stopped: every finished proxy is kept." in caplog.text
