""" "Materialize all" on a fresh data root: what is expensive is made once or left out, and nothing is trained."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG

from gem_assets.assets.pictures import PICTURES
from gem_assets.definitions import code_location
from gem_assets.mixing.methods.registry import methods
from gem_assets.orchestration.places import FAMILIES
from gem_assets.storage.artifacts import ArtifactStore
from tests.tiny import land_parquet, passages, write_settings

SNAPSHOT = "2026-01"
TRAINED = [(node, name) for node, names in FAMILIES.items() for name in names if methods()[name].trains]
NOT_LAUNCHED = {"recipe_learned"}
"""Reads the swarm, so the daemon does not launch it where that is left out."""
LEFT_OUT = [
    *((node, name) for node, name in TRAINED if node not in NOT_LAUNCHED),
    ("recipe_confirmation", "lexical"),
    ("proxy_swarm", None),
]


@pytest.fixture(scope="module")
def pressed(tmp_path_factory):
    """A data root after the button, with what each run of it materialized; every strategy that trains is among them."""
    root = tmp_path_factory.mktemp("all")
    write_settings(root)
    land_parquet(root, SNAPSHOT, passages()[:300])
    defs = code_location(root)
    graph = defs.resolve_asset_graph()
    made = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        button = PartitionBackfill.from_asset_partitions(
            backfill_id="all",
            asset_graph=graph,
            partition_names=None,
            asset_selection=sorted(graph.materializable_asset_keys),
            backfill_timestamp=0.0,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=True,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(button)
        for key, partition in _runs(graph):
            result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, asset_selection=[key], partition_key=partition, tags={BACKFILL_ID_TAG: "all"}
            )
            made[key.to_user_string(), partition] = len(result.get_asset_materialization_events())
    return ArtifactStore(root), made


def _runs(graph):
    """Every asset in order: with its snapshot, with the strategies that train, or with one that does not."""
    for level in graph.toposorted_asset_keys_by_level:
        for key in level:
            node = graph.get(key)
            name, strategies = key.to_user_string(), node.partitions_def
            if not node.is_materializable or name in {"training_order", "mixture_audit", *NOT_LAUNCHED}:
                continue
            if not isinstance(strategies, dg.StaticPartitionsDefinition):
                yield key, None if strategies is None else SNAPSHOT
                continue
            trained = [strategy for node, strategy in TRAINED if node == name]
            cheap = [strategy for strategy in ("balanced", "lexical") if strategies.has_partition_key(strategy)]
            yield from ((key, strategy) for strategy in (*trained, *cheap))


@pytest.mark.slow
def test_nothing_is_trained(pressed):
    store, made = pressed
    assert len(LEFT_OUT) > 8
    assert {place for place in LEFT_OUT if made[place]} == set()
    assert store.current("proxy_swarm") is None
    assert not any(store.current(f"recipes/{strategy}") for _, strategy in TRAINED)
    assert store.current("recipe_confirmation/lexical") is None


@pytest.mark.slow
def test_what_is_cheap_or_made_for_the_first_time_is_made(pressed):
    store, made = pressed
    assert all(count for place, count in made.items() if place not in LEFT_OUT)
    for asset in ("teacher_clusters", "student_model", "proxy_tokens", "recipes/balanced", "recipe_report"):
        assert store.current(asset) is not None, asset


@pytest.mark.slow
def test_the_picture_of_a_description_is_one_that_the_asset_writes(pressed):
    store, _ = pressed
    there = {place: file for place, file in PICTURES.values() if store.current(place) is not None}
    assert len(there) >= 9
    assert all((store.current(place).path / file).is_file() for place, file in there.items())
