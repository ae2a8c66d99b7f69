"""A data root whose Dagster records use the keys of before, when each strategy was an asset of its own."""

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from gem_assets.orchestration.instance import open_history
from gem_assets.orchestration.old_history import move_old_history
from gem_assets.settings import load_settings

OLD = {
    dg.AssetKey(["recipes", "balanced"]): (dg.AssetKey("recipe_rules"), "balanced"),
    dg.AssetKey(["recipes", "lexical"]): (dg.AssetKey("recipe_counts"), "lexical"),
    dg.AssetKey(["training_order", "balanced"]): (dg.AssetKey("training_order"), "balanced"),
    dg.AssetKey(["mixture_audit", "balanced"]): (dg.AssetKey("mixture_audit"), "balanced"),
    dg.AssetKey(["recipe_confirmation", "lexical"]): (dg.AssetKey("recipe_confirmation"), "lexical"),
}
CHECK = "mixture_is_feasible"


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def report(instance, key, version, partition=None, **metadata):
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata, partition=partition, tags=tags))


def latest(instance, key, partition=None):
    wanted = dg.AssetRecordsFilter(key, asset_partitions=None if partition is None else [partition])
    [record] = instance.fetch_materializations(wanted, limit=1).records
    return record.asset_materialization


def test_each_strategy_is_found_under_its_node_with_version_and_figures(instance):
    for number, old in enumerate(OLD):
        report(instance, old, f"{number}1", clusters=0)
        report(instance, old, f"{number}2", clusters=number)
    assert move_old_history(instance) == len(OLD)
    for number, (key, strategy) in enumerate(OLD.values()):
        moved = latest(instance, key, strategy)
        assert moved.tags["dagster/data_version"] == f"{number}2"
        assert moved.metadata["clusters"].value == number
    assert set(instance.get_asset_keys()) == {key for key, _ in OLD.values()}


def test_what_kept_its_name_is_left_alone_and_a_second_look_moves_nothing(instance):
    report(instance, dg.AssetKey("raw_shards"), "1", partition="2026-01")
    report(instance, dg.AssetKey(["recipes", "balanced"]), "2")
    assert move_old_history(instance) == 1
    assert move_old_history(instance) == 0
    assert latest(instance, dg.AssetKey("raw_shards"), "2026-01").tags["dagster/data_version"] == "1"
    [only] = instance.fetch_materializations(dg.AssetKey("recipe_rules"), limit=9).records
    assert only.asset_materialization.partition == "balanced"


@pytest.mark.parametrize("passed", [True, False])
def test_the_check_of_the_last_result_comes_along(instance, passed):
    old = dg.AssetKey(["recipes", "balanced"])
    report(instance, old, "1")
    record = instance.fetch_materializations(old, limit=1).records[0]
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
    said = dg.AssetCheckEvaluation(
        asset_key=old, check_name=CHECK, passed=passed, metadata={}, target_materialization_data=target, blocking=True
    )
    instance.report_runless_asset_event(said)
    move_old_history(instance)
    key = dg.AssetCheckKey(dg.AssetKey("recipe_rules"), CHECK)
    [moved] = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    evaluation = moved.event.dagster_event.asset_check_evaluation_data
    assert (evaluation.passed, evaluation.partition, evaluation.blocking) == (passed, "balanced", True)


def test_a_strategy_that_no_longer_exists_keeps_its_key(instance):
    report(instance, dg.AssetKey(["recipes", "given_up"]), "1")
    assert move_old_history(instance) == 0
    assert instance.get_asset_keys() == [dg.AssetKey(["recipes", "given_up"])]


def test_a_command_that_opens_the_data_root_moves_it(tmp_path):
    settings = load_settings(tmp_path / "data")
    with open_history(settings) as instance:
        report(instance, dg.AssetKey(["recipes", "balanced"]), "1")
    with open_history(settings) as instance:
        assert latest(instance, dg.AssetKey("recipe_rules"), "balanced").tags["dagster/data_version"] == "1"
        assert not instance.has_asset_key(dg.AssetKey(["recipes", "balanced"]))
