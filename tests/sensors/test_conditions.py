"""What runs after each event, evaluated as the daemon evaluates it."""

import dagster as dg
import pytest

from gem_assets.corpus.landing import fingerprint
from gem_assets.definitions import code_location
from sensors.conditions import with_policy
from tests.sensors.graph import LAYOUT, NOWHERE, World
from tests.tiny import land_parquet, passages, write_settings

FITTED = ["embedding_space", "teacher_clusters", "student_model", "gis_taxonomy"]
PER_SNAPSHOT = ["raw_shards", "embeddings", "student_labels"]


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance)


@pytest.fixture
def built(world):
    world.land("01", "v1")
    world.land("02", "v1")
    world.settle()
    return world


@pytest.fixture(scope="module")
def first():
    """A world after its first day, and what each tick asked for; for tests that leave it with nothing to do."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(instance)
        world.land("01", "v1")
        world.land("02", "v1")
        yield world, world.settle()


def assert_untouched(world, history, assets):
    for asset in assets:
        assert world.runs_of(history, asset) == [], asset


def test_fresh_deployment_builds_everything_once(first):
    world, history = first
    for asset, _, partitioned, _ in LAYOUT:
        assert world.runs_of(history, asset) == (["01", "02"] if partitioned else [""]), asset


def test_nothing_is_fitted_before_the_snapshots_that_landed_with_it(first):
    _, history = first
    when = {asset: [i for i, tick in enumerate(history) if asset in tick] for asset, *_ in LAYOUT}
    assert max(when["embeddings"]) < min(when["teacher_clusters"])
    assert max(when["student_labels"]) < min(when["domain_inventory"])


def test_new_snapshot_runs_only_itself_and_the_mixtures(built):
    built.land("03", "v1")
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["03"]
    assert_untouched(built, history, FITTED)
    assert built.runs_of(history, "domain_inventory") == [""]
    assert built.runs_of(history, "recipe") == [""]


def test_same_bytes_landed_again_run_nothing(first):
    world, _ = first
    world.land("02", "v1")
    assert world.settle() == []


def test_changed_snapshot_runs_only_itself(built):
    built.land("02", "v2")
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["02"]
    assert_untouched(built, history, FITTED)
    assert built.runs_of(history, "recipe") == [""]


def test_manual_rerun_with_equal_content_moves_nothing(first):
    world, _ = first
    world.execute({"raw_shards": {"01"}})
    assert world.settle() == []


def test_failed_snapshot_holds_back_nothing_else_and_is_retried_when_repaired(built):
    built.failing.add("03")
    built.land("03", "v1")
    history = built.settle()
    assert built.runs_of(history, "raw_shards") == ["03"]
    assert_untouched(built, history, ["embeddings", "student_labels", *FITTED, "recipe"])
    built.failing.clear()
    built.land("03", "v2")
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["03"]
    assert built.runs_of(history, "recipe") == [""]


def test_bad_first_snapshot_does_not_freeze_the_others(world):
    world.failing.add("01")
    world.land("01", "v1")
    world.land("02", "v1")
    history = world.settle()
    assert world.runs_of(history, "student_labels") == ["02"]
    assert world.runs_of(history, "recipe") == [""]


def test_blocking_check_stops_its_snapshot_alone(built):
    built.unsound.add("03")
    built.land("03", "v1")
    built.land("04", "v1")
    history = built.settle()
    assert built.runs_of(history, "raw_shards") == ["03", "04"]
    assert built.runs_of(history, "embeddings") == ["04"]
    assert built.runs_of(history, "student_labels") == ["04"]


def test_code_version_of_the_labels_relabels_everything_and_refits_nothing(built):
    built.code["student_labels"] = "2"
    history = built.settle()
    assert built.runs_of(history, "student_labels") == ["01", "02"]
    assert_untouched(built, history, ["raw_shards", "embeddings", *FITTED])
    assert built.runs_of(history, "recipe") == [""]


def test_refitted_teacher_carries_through_to_the_labels(built):
    built.code["teacher_clusters"] = "2"
    history = built.settle()
    assert built.runs_of(history, "teacher_clusters") == [""]
    assert built.runs_of(history, "student_model") == [""]
    assert built.runs_of(history, "gis_taxonomy") == [""]
    assert built.runs_of(history, "student_labels") == ["01", "02"]
    assert_untouched(built, history, ["raw_shards", "embedding_space", "embeddings"])


def test_change_that_lands_during_a_run_is_not_lost(built):
    built.land("02", "v2")
    requested = built.requested()
    assert requested["raw_shards"] == {"02"}
    built.execute(requested)
    # the run above read v2; v3 lands before the next tick sees its result, and the edge is already consumed
    made_from = built.landed["02"]
    built.land("02", "v3")
    built.landed["02"] = made_from
    built.execute({"raw_shards": {"02"}})
    built.landed["02"] = "v3"
    history = built.settle()
    assert "02" in built.runs_of(history, "raw_shards")
    latest = built.instance.get_latest_materialization_event(dg.AssetKey("raw_shards"))
    assert latest is not None
    assert latest.asset_materialization.tags["dagster/data_version"].startswith("v3:")


def test_unknown_policy_is_named():
    with pytest.raises(ValueError, match="sometimes"):
        with_policy(dg.AssetSpec("x", tags={"gem/refresh": "sometimes"}), NOWHERE)


def test_asset_without_policy_is_left_alone():
    spec = dg.AssetSpec("x")
    assert with_policy(spec, NOWHERE) is spec


def test_snapshot_whose_keeper_let_a_text_go_is_read_again(tmp_path):
    write_settings(tmp_path)
    rows = passages()
    defs = code_location(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None

        def land(snapshot, found):
            folder = land_parquet(tmp_path, snapshot, found)
            instance.add_dynamic_partitions("snapshot", [snapshot])
            tags = {"dagster/data_version": fingerprint(folder)}
            instance.report_runless_asset_event(dg.AssetMaterialization("landing", partition=snapshot, tags=tags))

        def tick():
            nonlocal cursor
            outcome = dg.evaluate_automation_conditions(
                defs=defs, instance=instance, cursor=cursor, asset_selection=dg.AssetSelection.assets("raw_shards")
            )
            cursor = outcome.cursor
            requested = sorted(outcome.get_requested_partitions(dg.AssetKey("raw_shards")))
            for snapshot in requested:
                job = defs.resolve_implicit_global_asset_job_def().get_subset(
                    asset_selection={dg.AssetKey("raw_shards")}
                )
                assert job.execute_in_process(instance=instance, partition_key=snapshot).success
            return requested

        land("01", rows[:30])
        assert tick() == ["01"]
        land("02", rows[20:60])
        assert tick() == ["02"]
        assert tick() == []
        land("01", rows[:25])
        assert tick() == ["01"]
        assert tick() == ["02"]
        assert tick() == []
