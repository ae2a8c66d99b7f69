"""What automation lost while it waited for events, one test for each sample that was seen (``pytest -k sample_``).

Sample b, a first snapshot that is too small, is in ``test_real_graph.py``; sample d, a refit beside a daemon, in
``test_beside_a_daemon.py``.
"""

import time

import dagster as dg
import pytest

from gem_assets.orchestration.reconciler import Reconciler
from tests.sensors.graph import World
from tests.sensors.test_conditions import PER_SNAPSHOT


@pytest.fixture
def world(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance, tmp_path)


@pytest.fixture
def built(world):
    world.land("01", "v1")
    world.land("02", "v2")
    world.settle()
    return world


def failed_runs(world):
    return world.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))


def read(world, asset, snapshot=None):
    """Identities that the result in force was made from, by asset and snapshot."""
    refs = world.store.artifacts.current(asset, snapshot).manifest.inputs
    return {(ref.asset, ref.partition): ref.identity for ref in refs}


def in_force(world, asset, snapshot=None):
    return world.store.artifacts.current(asset, snapshot).identity


KILLED = ["raw_shards", "student_labels", "proxy_tokens", "cluster_counts", "recipe", "recipes/uniform"]


@pytest.mark.parametrize("asset", [*KILLED, "recipes/balanced"])
def test_sample_a_what_three_kills_cut_off_is_made_at_the_next_start(built, asset):
    partition = "03" if asset in PER_SNAPSHOT else None
    if asset == "proxy_tokens":
        built.code["proxy_tokens"] = "2"
    built.killed.add((asset, partition))
    before = len(built.made)
    built.land("03", "v1")
    for _ in range(3):
        for _ in range(8):
            wanted = built.requested()
            built.execute(wanted)
            if asset in wanted:
                break
        assert (asset, partition) not in built.made[before:]
        built.reload()
    built.killed.clear()
    history = built.settle()
    assert built.runs_of(history, asset) == [partition or ""]
    assert built.made[before:].count((asset, partition)) == 1


@pytest.mark.parametrize("landed_with_it", [False, True])
def test_sample_c_after_a_refit_older_counts_follow_before_any_recipe_is_made(world, landed_with_it):
    world.latest = True
    world.land("01", "v1")
    world.land("02", "v2")
    world.settle()
    world.code["teacher_clusters"] = "2"
    if landed_with_it:  # its page replaces that of the first snapshot
        world.land("03", "v1")
    history = world.settle()
    snapshots = ["01", "02", "03"] if landed_with_it else ["01", "02"]
    assert world.runs_of(history, "cluster_counts") == snapshots
    for snapshot in snapshots:
        counts = read(world, "cluster_counts", snapshot)
        assert counts["student_labels", snapshot] == in_force(world, "student_labels", snapshot)
        assert counts["proxy_tokens", None] == in_force(world, "proxy_tokens")
        assert read(world, "recipe")["cluster_counts", snapshot] == in_force(world, "cluster_counts", snapshot)
    assert world.runs_of(history, "recipe") == [""]


def test_sample_e_no_run_fails_on_the_first_day_and_nothing_is_asked_for_before_what_it_reads(world):
    world.land("01", "v1")
    history = world.settle()
    assert failed_runs(world) == []
    when = {asset: number for number, tick in enumerate(history) for asset in tick}
    assert when["student_labels"] < when["proxy_tokens"] < when["cluster_counts"]


def test_sample_f_a_change_that_arrives_while_labels_are_made_has_them_made_again(built):
    def arrives():
        built.during.clear()
        built.land("02", "v3")
        built.execute({"raw_shards": {"02"}})

    built.land("02", "v4")
    built.during["student_labels", "02"] = arrives
    history = built.settle()
    assert built.runs_of(history, "student_labels") == ["02", "02"]
    assert read(built, "student_labels", "02")["raw_shards", "02"] == in_force(built, "raw_shards", "02")
    labels = in_force(built, "student_labels", "02")
    assert read(built, "domain_inventory")["student_labels", "02"] == labels


def test_sample_g_a_repaired_snapshot_is_read_though_the_cursor_was_lost(built):
    built.failing.add(("raw_shards", "03"))
    built.land("03", "v1")
    assert built.settle() == [{"raw_shards": {"03"}}]
    built.failing.clear()
    built.land("03", "v5")
    built.reload()
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["03"]
    assert built.runs_of(history, "recipe") == [""]


def test_sample_h_a_run_that_a_person_canceled_is_left_alone_until_something_changes(built):
    built.land("03", "v1")
    built.cancel(("raw_shards", "03"))
    assert built.settle() == []
    built.reload()
    assert built.settle() == []
    graph = built.definitions().resolve_asset_graph()
    much_later = Reconciler(str(built.root), graph, built.instance, notes=False).look(now=time.time() + 1e6).items
    assert much_later["raw_shards", "03"].state == "held"
    assert "canceled by a person" in much_later["raw_shards", "03"].because
    built.land("03", "v5")
    assert built.runs_of(built.settle(), "student_labels") == ["03"]
