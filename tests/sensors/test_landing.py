"""The landing sensor, tick by tick."""

import os

import dagster as dg
import pytest

from gem_assets.cli.status import collect_status
from gem_assets.settings import load_settings
from resources import SettingsResource
from sensors import landing_sensor
from tests.tiny import land_parquet, passages


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(root, instance, cursor=None):
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"settings": SettingsResource(data_root=str(root))}
    )
    return landing_sensor(context)


def apply(instance, result):
    for request in result.dynamic_partitions_requests:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result.cursor


def test_no_landing_folder_is_not_an_error(tmp_path, instance):
    assert isinstance(tick(tmp_path, instance), dg.SkipReason)


def test_complete_snapshot_is_registered_with_its_content_version(tmp_path, instance):
    land_parquet(tmp_path, "2026-01", passages()[:5])
    result = tick(tmp_path, instance)
    assert [list(r.partition_keys) for r in result.dynamic_partitions_requests] == [["2026-01"]]
    (event,) = result.asset_events
    assert event.partition == "2026-01"
    assert len(event.tags["dagster/data_version"]) == 64
    assert not result.run_requests


def test_snapshot_without_success_waits_and_is_named(tmp_path, instance):
    folder = land_parquet(tmp_path, "2026-01", passages()[:5])
    (folder / "_SUCCESS").unlink()
    result = tick(tmp_path, instance)
    assert isinstance(result, dg.SkipReason)
    assert "2026-01" in result.skip_message


def test_second_tick_reports_nothing(tmp_path, instance):
    land_parquet(tmp_path, "2026-01", passages()[:5])
    cursor = apply(instance, tick(tmp_path, instance))
    assert isinstance(tick(tmp_path, instance, cursor), dg.SkipReason)


def test_lost_cursor_reports_the_same_version_again(tmp_path, instance):
    land_parquet(tmp_path, "2026-01", passages()[:5])
    first = tick(tmp_path, instance)
    apply(instance, first)
    again = tick(tmp_path, instance, None)
    assert again.dynamic_partitions_requests == []
    assert again.asset_events[0].tags == first.asset_events[0].tags


def test_changed_bytes_change_the_version_and_same_bytes_do_not(tmp_path, instance):
    rows = passages()
    folder = land_parquet(tmp_path, "2026-01", rows[:5])
    first = tick(tmp_path, instance)
    cursor = apply(instance, first)
    (folder / "pages.parquet").write_bytes((folder / "pages.parquet").read_bytes())
    assert isinstance(tick(tmp_path, instance, cursor), dg.SkipReason)
    land_parquet(tmp_path, "2026-01", rows[:6])
    changed = tick(tmp_path, instance, cursor)
    assert changed.asset_events[0].tags != first.asset_events[0].tags


@pytest.mark.parametrize("name", ["has space", ".hidden", "semi;colon", "quote'd", "all"])
def test_names_that_cannot_be_partitions_are_never_registered(tmp_path, instance, name):
    folder = tmp_path / "landing" / name
    folder.mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    assert isinstance(tick(tmp_path, instance), dg.SkipReason)


def test_trouble_of_one_snapshot_reaches_no_other_and_is_named(tmp_path, instance):
    land_parquet(tmp_path, "good", passages()[:5])
    for name in ("pipe", "folder", "loop", "deep"):
        (land_parquet(tmp_path, name, passages()[:5]) / "_SUCCESS").unlink()
    landing = tmp_path / "landing"
    os.mkfifo(landing / "pipe" / "_SUCCESS")
    (landing / "folder" / "_SUCCESS").mkdir()
    (landing / "loop" / "_SUCCESS").symlink_to("_SUCCESS")
    (landing / "deep" / "_SUCCESS").write_text("[" * 200_000)
    result = tick(tmp_path, instance)
    assert [list(r.partition_keys) for r in result.dynamic_partitions_requests] == [["deep", "good"]]
    shown = {one.name: one for one in collect_status(load_settings(tmp_path)).snapshots}
    assert {name: one.landed for name, one in shown.items()} == {
        "deep": "complete", "folder": "refused", "good": "complete", "loop": "refused", "pipe": "refused",
    }  # fmt: skip
    assert "its _SUCCESS is a pipe" in (shown["pipe"].problem or "")
