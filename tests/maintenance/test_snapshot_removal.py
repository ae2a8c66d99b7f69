"""Taking a snapshot out: what goes, what is refused, what happens to texts that others left to it."""

import shutil

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.corpus.landed import landing_lock
from gem_assets.maintenance.snapshot_removal import RemovalError, remove_snapshot
from gem_assets.orchestration.abandoned_runs import PROCESS_TAG, named_process
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import load_settings
from resources import EngineResource, StoreResource
from tests.direct import ingest_once
from tests.tiny import land_parquet, passages, write_settings


@pytest.fixture
def root(tmp_path):
    write_settings(tmp_path)
    rows = passages()
    store, engine = StoreResource(root=str(tmp_path)), EngineResource(data_root=str(tmp_path))
    for snapshot, found in (("01", rows[:30]), ("02", rows[20:50])):
        land_parquet(tmp_path, snapshot, found)
        stage = ingest_once(store, engine, load_settings(tmp_path), snapshot)
        documents = pa.table({"doc_id": [f"{snapshot}-{i}" for i in range(5)], "snapshot": [snapshot] * 5})
        store.tables.replace_snapshot("labels__x", documents, snapshot)
        assert stage.artifact.manifest.counts["kept"] > 5
    return tmp_path


def test_removed_snapshot_leaves_store_tables_and_partitions(root):
    store = StoreResource(root=str(root))
    with pytest.raises(RemovalError, match="still there"):
        remove_snapshot(store, "01")
    shutil.rmtree(root / "landing" / "01")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", ["01", "02"])
        done = remove_snapshot(store, "01", instance=instance)
        assert instance.get_dynamic_partitions("snapshot") == ["02"]
    assert done.rows == {"labels__x": 5}
    assert done.borrowers == {"02": 10}
    assert store.artifacts.partitions("raw_shards") == ["02"]
    assert store.tables.snapshots("labels__x") == {"02": 5}
    # the texts that 02 had left to 01 are read again from its own files
    again = ingest_once(store, EngineResource(data_root=str(root)), load_settings(root), "02")
    assert again.fresh
    assert again.artifact.manifest.counts["duplicates"] == 0
    # killed half-way or asked twice: the second call finds nothing left to do
    assert remove_snapshot(store, "01").rows == {}


def test_a_snapshot_that_is_being_landed_is_not_removed(root):
    shutil.rmtree(root / "landing" / "01")
    with landing_lock(root / "landing", "01"), pytest.raises(RemovalError, match="being landed right now"):
        remove_snapshot(StoreResource(root=str(root)), "01")
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == ["01", "02"]


def test_the_command_refuses_while_something_runs_that_may_read_the_snapshot(root):
    shutil.rmtree(root / "landing" / "01")
    settings = load_settings(root)
    with open_instance(settings) as instance, named_process(settings.dagster_home) as process:

        def refused() -> str:
            result = CliRunner().invoke(app, ["remove", "01", "--data-root", str(root)])
            assert result.exit_code == 1
            return " ".join(result.output.split())

        assert "a command that runs the graph is under way" in refused()
        for tags, word in (({}, "some_job"), ({"dagster/partition": "01"}, "some_job")):
            tagged = {**tags, PROCESS_TAG: process}
            run = dg.DagsterRun(job_name="some_job", tags=tagged, status=dg.DagsterRunStatus.STARTED)
            instance.add_run(run)
            assert f"run {run.run_id[:8]} ({word}) is under way" in refused()
            instance.delete_run(run.run_id)
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == ["01", "02"]
    with open_instance(settings) as instance:
        # it has ended without saying so
        instance.add_run(dg.DagsterRun(job_name="some_job", status=dg.DagsterRunStatus.STARTED))
    result = CliRunner().invoke(app, ["remove", "01", "--data-root", str(root)])
    assert result.exit_code == 0, result.output
    assert StoreResource(root=str(root)).artifacts.partitions("raw_shards") == ["02"]


def test_texts_that_nobody_could_read_again_are_not_lost_unless_forced(root):
    store = StoreResource(root=str(root))
    shutil.rmtree(root / "landing")
    with pytest.raises(RemovalError, match=r"keeps 10 texts for 02.*--force"):
        remove_snapshot(store, "01")
    assert store.artifacts.partitions("raw_shards") == ["01", "02"]
    remove_snapshot(store, "01", force=True)
    assert store.artifacts.partitions("raw_shards") == ["02"]


def test_unknown_snapshot_is_named(root):
    with pytest.raises(RemovalError, match="99 was never ingested"):
        remove_snapshot(StoreResource(root=str(root)), "99")
