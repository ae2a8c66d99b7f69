"""What a tick asks for after each event, evaluated as the daemon evaluates it."""

import dagster as dg
import pytest

from gem_assets.orchestration.reconciler import Reconciler
from gem_assets.storage.artifacts import ArtifactStore
from sensors.conditions import with_policy
from tests.sensors.graph import LAYOUT, NOWHERE, World

FITTED = ["embedding_space", "teacher_clusters", "student_model", "gis_taxonomy", "proxy_tokens"]
PER_SNAPSHOT = ["raw_shards", "embeddings", "student_labels", "cluster_counts"]
MIXTURES = ["recipes/uniform", "recipes/balanced", "training_order/balanced", "mixture_audit/balanced"]
FAN_INS = ["page_history", "domain_inventory", "recipe", *MIXTURES]
BY_ITSELF = [row for row in LAYOUT if row[3] != "by_hand"]


@pytest.fixture
def world(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance, tmp_path)


@pytest.fixture
def built(world):
    world.land("01", "v1")
    world.land("02", "v1")
    world.settle()
    return world


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A world after its first day, and what each tick asked for; for tests that leave it with nothing to do."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(instance, tmp_path_factory.mktemp("root"))
        world.land("01", "v1")
        world.land("02", "v1")
        yield world, world.settle()


def assert_untouched(world, history, assets):
    for asset in assets:
        assert world.runs_of(history, asset) == [], asset


def test_fresh_deployment_builds_everything_once(first):
    world, history = first
    for asset, _, partitioned, _ in BY_ITSELF:
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
    for asset in FAN_INS:
        assert built.runs_of(history, asset) == [""]
    assert len(built.ran) == len(built.made)


def test_snapshots_that_land_one_after_the_other_make_each_mixture_once(built):
    built.land("03", "v1")
    history = [built.requested()]
    built.execute(history[0])
    built.land("04", "v1")
    history += built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["03", "04"]
    for asset in FAN_INS:
        assert built.runs_of(history, asset) == [""]


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
    built.failing.add(("raw_shards", "03"))
    built.land("03", "v1")
    history = built.settle()
    assert history == [{"raw_shards": {"03"}}]
    built.failing.clear()
    assert built.settle() == []
    built.land("03", "v2")
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["03"]
    assert built.runs_of(history, "recipe") == [""]


def test_bad_first_snapshot_does_not_freeze_the_others(world):
    world.failing.add(("raw_shards", "01"))
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
    built.execute({"raw_shards": requested["raw_shards"]})
    # the labels of v2 are not there yet, and v3 has landed
    built.land("02", "v3")
    history = built.settle()
    assert built.runs_of(history, "raw_shards") == ["02"]
    assert built.runs_of(history, "student_labels") == ["02"]
    landed = built.store.artifacts.current("raw_shards", "02").manifest.inputs[0].data_version
    built.land("02", "v3")
    assert built.settle() == []
    assert built.store.input("raw_shards", "02").identity
    assert landed


def test_unknown_policy_is_named():
    with pytest.raises(ValueError, match="sometimes"):
        with_policy(dg.AssetSpec("x", tags={"gem/refresh": "sometimes"}), NOWHERE)


def test_asset_without_policy_is_left_alone():
    spec = dg.AssetSpec("x")
    assert with_policy(spec, NOWHERE) is spec


def test_lost_cursor_and_reloaded_code_ask_for_nothing(first):
    world, _ = first
    world.reload()
    assert world.settle() == []


def test_a_changed_snapshot_runs_through_in_one_run(built):
    built.land("02", "v2")
    history = built.settle()
    assert history[0] == {"raw_shards": {"02"}, "embeddings": {"02"}, "student_labels": {"02"}}


def test_new_code_of_the_reader_reads_everything_again_and_refits_nothing(built):
    built.code["raw_shards"] = "2"
    history = built.settle()
    for asset in ("raw_shards", "embeddings", "student_labels"):
        assert built.runs_of(history, asset) == ["01", "02"], asset
    assert_untouched(built, history, FITTED)


def test_changed_settings_wait_for_a_person(built):
    built.settings["recipe"] = "other"
    assert built.settle() == []
    # and go along with the next reason
    built.land("02", "v2")
    built.settle()
    assert built.store.artifacts.current("recipe").manifest.config == {"setting": "other"}


def test_removed_snapshot_leaves_the_mixtures_and_comes_back_when_landed_again(built):
    artifacts = ArtifactStore(built.root)
    for asset in (*PER_SNAPSHOT,):
        artifacts.remove(asset, "02")
    built.instance.delete_dynamic_partition("snapshot", "02")
    history = built.settle()
    assert history == [
        {"page_history": {""}, "domain_inventory": {""}, "recipe": {""}},
        {"recipes/uniform": {""}, "recipes/balanced": {""}},
        {"training_order/balanced": {""}, "mixture_audit/balanced": {""}},
    ]
    assert {ref.partition for ref in artifacts.current("page_history").manifest.inputs} == {"01"}
    # the event log still knows the partition, so nothing but the store says that it is missing
    built.register("02")
    history = built.settle()
    for asset in PER_SNAPSHOT:
        assert built.runs_of(history, asset) == ["02"]


def test_partition_deleted_by_mistake_is_made_up_for_when_it_is_registered_again(built):
    built.instance.delete_dynamic_partition("snapshot", "02")
    assert built.settle() == []
    built.land("02", "v2")
    assert built.runs_of(built.settle(), "student_labels") == ["02"]


def test_what_was_made_and_not_told_is_told(built):
    built.instance.wipe_assets([dg.AssetKey("page_history")])
    made = len(built.made)
    assert built.settle() == [{"page_history": {""}}]
    assert len(built.made) == made


def test_a_warning_holds_nothing_back_and_a_critical_failure_only_what_needs_it(built):
    built.warned.add("03")
    built.unsound.add("04")
    built.land("03", "v1")
    built.land("04", "v1")
    history = built.settle()
    assert built.runs_of(history, "student_labels") == ["03"]
    assert built.runs_of(history, "recipe") == [""]


def test_a_run_that_ends_during_a_look_is_seen_by_the_next_one(world, monkeypatch):
    world.land("01", "v1")
    defs = world.definitions()
    run = world.instance.create_run_for_job(
        job_def=defs.resolve_implicit_global_asset_job_def(),
        tags={"dagster/partition": "01"},
        asset_selection={dg.AssetKey("raw_shards")},
        status=dg.DagsterRunStatus.STARTED,
    )
    reconciler = Reconciler(str(world.root), defs.resolve_asset_graph(), world.instance, notes=False)
    read = world.instance.get_asset_records

    def ends_meanwhile(*values):
        world.instance.report_run_canceled(run)
        return read(*values)

    monkeypatch.setattr(world.instance, "get_asset_records", ends_meanwhile)
    assert reconciler.look().items["raw_shards", "01"].state == "running"
    monkeypatch.undo()
    assert reconciler.look().items["raw_shards", "01"].state == "ready"
