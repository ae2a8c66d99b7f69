"""A result that stands is not visited again, and Dagster shows of it what it would show after a visit."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from gem_assets.definitions import code_location
from gem_assets.lineage.blocklist import Blocklist, parse_entry
from gem_assets.lineage.takedown import new_request
from gem_assets.run import SNAPSHOT_ASSETS, RunSummary, materialize_everything, open_instance
from gem_assets.settings import Settings, load_settings
from resources.standing import Standing
from tests.tiny import land_jsonl, land_parquet, passages, write_settings

MADE = [("raw_shards", "2026-01"), ("raw_shards", "2026-02"), ("page_history", None)]
PAGES = dg.AssetKey("page_history")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("standing") / "root"
    write_settings(root)
    rows = passages()
    land_parquet(root, "2026-01", rows[:60])
    land_jsonl(root, "2026-02", rows[60:100])
    assert places(run(load_settings(root)).steps) == MADE
    return root


@pytest.fixture
def settings(built: Path, tmp_path: Path) -> Settings:
    shutil.copytree(built, tmp_path / "root")
    return load_settings(tmp_path / "root")


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as found:
        yield found


def run(settings: Settings) -> RunSummary:
    summary = materialize_everything(settings, only=["raw_shards", "page_history"])
    assert not summary.failed
    return summary


def places(steps) -> list[tuple[str, str | None]]:
    return [(step.asset, step.snapshot) for step in steps]


def ask(settings: Settings, instance: dg.DagsterInstance, asset: str, snapshot: str | None):
    standing = Standing(code_location(settings.data_root), instance, settings, SNAPSHOT_ASSETS)
    return standing.ask(dg.AssetKey(asset), snapshot)


def test_a_run_without_news_starts_no_step_and_dagster_calls_everything_fresh(settings, instance):
    runs = instance.get_runs_count()
    again = run(settings)
    assert (places(again.steps), places(again.standing)) == ([], MADE)
    assert instance.get_runs_count() == runs
    graph = code_location(settings.data_root).resolve_asset_graph()
    shown = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    assert {shown.get_status(dg.AssetKey(asset), snapshot) for asset, snapshot in MADE} == {StaleStatus.FRESH}


def test_the_page_of_runs_is_told_what_each_run_made(settings, instance):
    targets = [set(one.asset_selection or ()) for one in instance.get_runs()]
    assert sorted(key.to_user_string() for keys in targets for key in keys) == sorted(asset for asset, _ in MADE)


def test_what_dagster_has_lost_is_reported_again(settings, instance):
    instance.wipe_assets([PAGES])
    again = run(settings)
    assert (places(again.steps), places(again.standing)) == ([MADE[2]], MADE[:2])
    assert places(run(settings).standing) == MADE


def test_a_run_that_did_not_end_well_is_repeated(settings, instance):
    record = instance.fetch_materializations(PAGES, limit=1).records[0]
    instance.report_run_failed(instance.get_run_by_id(record.run_id))
    assert places(run(settings).steps) == [MADE[2]]


def test_a_parent_that_moved_is_reported_again_although_nothing_is_made(settings, instance):
    moved = dg.AssetMaterialization("blocklist", tags={"dagster/data_version": "another"})
    instance.report_runless_asset_event(moved)
    assert not ask(settings, instance, "raw_shards", "2026-01").stands
    assert places(run(settings).steps) == MADE[:2]
    assert ask(settings, instance, "raw_shards", "2026-01").stands


def test_a_snapshot_whose_crawl_files_moved_away_is_kept_until_something_asks_for_them(settings, instance):
    shutil.rmtree(settings.landing / "2026-01")
    assert ask(settings, instance, "raw_shards", "2026-01").kept
    assert ask(settings, instance, "raw_shards", "2026-02").stands
    entries = [parse_entry(passages()[3]["url"])]
    Blocklist(settings.data_root).append(new_request(entries, []))
    asked = ask(settings, instance, "raw_shards", "2026-01")
    assert (asked.kept, asked.stands) == (False, False)
