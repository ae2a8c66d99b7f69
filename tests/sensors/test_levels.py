"""Levels and the events that only they see: removed snapshots, a lost cursor, several partitions at once."""

import dagster as dg
import pytest

from gem_assets.lineage.artifacts import ArtifactStore
from gem_assets.lineage.manifest import InputRef
from tests.sensors.graph import World

IDENTITY = "ab" * 32
INVENTORY = "cd" * 32


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One world for all tests here: each begins and ends with nothing left to do."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(instance, root=str(tmp_path_factory.mktemp("root")))
        world.land("01", "v1")
        world.land("02", "v1")
        world.settle()
        yield world


def commit(world, asset, partition=None, inputs=()):
    identity = INVENTORY if partition is None else IDENTITY
    with ArtifactStore(world.root).write(asset, identity, partition) as draft:
        draft.inputs = inputs


def test_lost_cursor_of_the_daemon_and_one_more_shard(built):
    built.cursor = None
    assert built.settle() == []
    # one more shard: everything of the snapshot in one tick, then what fans in
    built.land("02", "v2")
    history = built.settle()
    assert history[0] == {"raw_shards": {"02"}, "embeddings": {"02"}, "student_labels": {"02"}}
    assert [sorted(tick) for tick in history[1:]] == [["domain_inventory", "recipe"]]


def test_new_code_of_the_reader_reads_everything_again_and_refits_nothing(built):
    built.code["raw_shards"] = "2"
    history = built.settle()
    for asset in ("raw_shards", "embeddings", "student_labels"):
        assert built.runs_of(history, asset) == ["01", "02"], asset
    for asset in ("embedding_space", "teacher_clusters", "student_model", "gis_taxonomy"):
        assert built.runs_of(history, asset) == [], asset


def test_removed_snapshot_leaves_the_mixtures_and_comes_back_when_landed_again(built):
    for snapshot in ("01", "02"):
        commit(built, "raw_shards", snapshot)
        commit(built, "student_labels", snapshot)
    labels = [InputRef(asset="student_labels", partition=s, data_version="v1", identity=IDENTITY) for s in ("01", "02")]
    commit(built, "domain_inventory", inputs=labels)
    assert built.settle() == []

    artifacts = ArtifactStore(built.root)
    artifacts.remove("student_labels", "02")
    artifacts.remove("raw_shards", "02")
    built.instance.delete_dynamic_partition("snapshot", "02")
    requested = built.requested()
    assert requested == {"domain_inventory": {""}, "recipe": {""}}
    version = built.landed.pop("02")
    with artifacts.write("domain_inventory", "ef" * 32) as draft:
        draft.inputs = labels[:1]
    built.execute(requested)
    history = built.settle()
    assert built.runs_of(history, "domain_inventory") == []
    assert built.runs_of(history, "raw_shards") == []

    # the event log still knows the partition, so nothing but the store says that it is missing
    built.land("02", version)
    assert built.requested()["raw_shards"] == {"02"}
