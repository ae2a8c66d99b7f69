"""What the asset's page says of something that is held."""

import dagster as dg
import pytest

from resources import SettingsResource
from sensors import held_sensor
from tests.sensors.graph import World

ASSET = "student_labels"


@pytest.fixture
def world(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance, tmp_path)


def tick(world, cursor=None):
    context = dg.build_sensor_context(
        instance=world.instance,
        cursor=cursor,
        repository_def=world.definitions().get_repository_def(),
        resources={"settings": SettingsResource(data_root=str(world.root))},
    )
    return held_sensor(context)


@pytest.fixture
def failed(world):
    """A world in which the labels of one snapshot have failed."""
    world.land("01", "v1")
    world.land("02", "v1")
    world.failing.add((ASSET, "02"))
    world.settle()
    return world


def test_a_failure_is_told_in_words_with_what_waits_for_it_and_the_way_out(failed):
    (event,) = tick(failed).asset_events
    assert (event.asset_key, event.partition) == (dg.AssetKey(ASSET), "02")
    told = {name: value.value for name, value in event.metadata.items()}
    assert told.pop("tried_again") > 0
    assert told == {
        "held": f"failed: {ASSET} cannot be made",
        "holds_up": "cluster_counts[02]",
        "way_out": f"gem run --until {ASSET} --snapshot 02",
    }
    assert event.description == f"{ASSET}[02] is held: failed: {ASSET} cannot be made"


def test_it_is_told_once_and_no_more_when_it_is_mended(failed):
    result = tick(failed)
    for event in result.asset_events:
        failed.instance.report_runless_asset_event(event)
    assert isinstance(tick(failed, result.cursor), dg.SkipReason)
    failed.failing.clear()
    failed.code[ASSET] = "2"
    failed.settle()
    result = tick(failed, result.cursor)
    assert (result.asset_events, result.cursor) == ([], "{}")
    assert isinstance(tick(failed, result.cursor), dg.SkipReason)


def test_a_failed_check_is_named(world):
    world.unsound.add("01")
    world.land("01", "v1")
    world.settle()
    told = {event.asset_key.to_user_string(): event for event in tick(world).asset_events}
    assert set(told) == {"embeddings", "student_labels", "teacher_clusters"}
    assert told["embeddings"].description.endswith("raw_shards[01] failed its check sound: rows are missing")
    assert told["embeddings"].metadata["way_out"].value.endswith("gem run --until raw_shards --snapshot 01")


def test_nothing_is_told_when_nothing_is_held(world):
    world.land("01", "v1")
    world.settle()
    assert isinstance(tick(world), dg.SkipReason)
