import os
import time

import dagster as dg
import pytest

from gem_assets.orchestration.bookkeeping import News, tidy
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import load_settings


@pytest.fixture
def settings(tmp_path):
    return load_settings(tmp_path / "data")


@dg.asset
def thing() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3})


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.db"))


def test_files_of_ended_runs_shrink_and_keep_their_history(settings):
    with open_instance(settings) as instance:
        ids = [dg.materialize([thing], instance=instance).run_id for _ in range(3)]
        runs = settings.dagster_home / "history" / "runs"
        before = {run: (runs / f"{run}.db").stat().st_size for run in ids}
        events = {run: [str(event) for event in instance.all_logs(run)] for run in ids}
        assert tidy(instance, settings.dagster_home) > 0
        assert all((runs / f"{run}.db").stat().st_size < before[run] / 2 for run in ids)
        assert {run: [str(event) for event in instance.all_logs(run)] for run in ids} == events
        assert tidy(instance, settings.dagster_home) == 0
    with open_instance(settings) as again:
        assert len(again.all_logs(ids[0])) == len(events[ids[0]])
        again.report_engine_event("still open for events", again.get_run_by_id(ids[0]))
        assert len(again.all_logs(ids[0])) == len(events[ids[0]]) + 1


def test_a_run_under_way_is_left_alone(settings):
    with open_instance(settings) as instance:
        run = instance.create_run_for_job(dg.define_asset_job("job").resolve(asset_graph=_graph()))
        instance.report_engine_event("about to start", run)
        path = settings.dagster_home / "history" / "runs" / f"{run.run_id}.db"
        before = path.read_bytes()
        tidy(instance, settings.dagster_home)
        assert path.read_bytes() == before


def _graph():
    return dg.Definitions([thing]).resolve_asset_graph()


def test_logs_of_old_ticks_go(settings):
    with open_instance(settings) as instance:
        logs = settings.dagster_home / "storage" / "__repository__" / "landing"
        logs.mkdir(parents=True)
        for name, age in (("1.err", 7200), ("2.err", 60)):
            (logs / name).write_text("{}\n")
            os.utime(logs / name, (time.time() - age,) * 2)
        tidy(instance, settings.dagster_home)
        assert [path.name for path in logs.iterdir()] == ["2.err"]


def test_ticks_are_due_while_something_moves_and_seldom_after_that(settings):
    now = [0.0]
    with open_instance(settings) as instance:
        news = News(settings, clock=lambda: now[0])

        def due(seconds):
            found = 0
            for _ in range(seconds):
                now[0] += 1
                found += news.due()
            return found

        assert due(30) == 30
        due(60)
        assert news.quiet
        assert due(300) <= 10
        (settings.landing / "2026-01").mkdir(parents=True)
        (settings.landing / "2026-01" / "pages.jsonl").write_text("{}\n")
        assert due(20) == 20
        due(60)
        assert due(120) <= 4
        instance.add_dynamic_partitions("snapshot", ["2026-01"])
        assert due(20) == 20
        due(60)
        (settings.data_root / "gem.toml").write_text("[teacher]\nk = 4\n")
        assert due(1) == 1


def test_looking_is_no_news(settings):
    now = [0.0]
    with open_instance(settings) as instance:
        dg.materialize([thing], instance=instance)
        news = News(settings, clock=lambda: now[0])
        news.due()
        now[0] += 100
        news.due()
        for _ in range(5):
            now[0] += 1
            instance.get_runs()
            instance.get_latest_materialization_event(dg.AssetKey("thing"))
            assert not news.due()


def test_without_files_to_look_at_every_tick_is_due(settings):
    now = [0.0]
    news = News(settings, clock=lambda: now[0])
    for _ in range(200):
        now[0] += 1
        assert news.due()
