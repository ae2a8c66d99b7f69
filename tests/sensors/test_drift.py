"""The drift sensor: when it asks for a refit, and that it asks once."""

import dagster as dg
import pytest

from gem_assets.drift.report import REPORT_NAME, DriftReport, DriftRow
from gem_assets.storage.artifacts import ArtifactStore
from resources import SettingsResource, StoreResource
from sensors import drift_sensor

TEACHER, NEXT = "a1" * 32, "b2" * 32


def row(snapshot, level):
    figures = {"divergence": 0.3, "expected_divergence": 0.0, "likelihood_drop": 0.0, "unsure_rise": 0.0}
    return DriftRow(
        snapshot=snapshot, lang="all", reference=False, documents=500, scored=500, mean_log_likelihood=1.0,
        unsure_share=0.1, judged=True, level=level, **figures,
    )  # fmt: skip


@pytest.fixture
def world(tmp_path):
    def settings(text=""):
        (tmp_path / "gem.toml").write_text(text, encoding="utf-8")

    def report(level, identity, teacher=TEACHER):
        with ArtifactStore(tmp_path).write("drift", identity) as draft:
            made = DriftReport(teacher=teacher, level=level, rows=(row("2026-02", level),))
            (draft.path / REPORT_NAME).write_text(made.model_dump_json())

    def tick(cursor=None):
        root = str(tmp_path)
        resources = {"settings": SettingsResource(data_root=root), "store": StoreResource(root=root)}
        with dg.DagsterInstance.ephemeral() as instance:
            return drift_sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources))

    with ArtifactStore(tmp_path).write("teacher_clusters", TEACHER):
        pass
    return settings, report, tick


def test_without_a_report_or_drift_it_waits(world):
    _, report, tick = world
    assert "no drift report" in tick().skip_message
    report("warn", "c3" * 32)
    assert tick().skip_message == "drift is warn"


def test_by_hand_it_says_what_to_do(world):
    _, report, tick = world
    report("refit", "c3" * 32)
    assert "2026-02 drifted past the refit threshold" in tick().skip_message
    assert "gem refit" in tick().skip_message


def test_automatic_it_requests_the_teacher_once_for_each_report(world):
    settings, report, tick = world
    settings('[drift]\nrefit = "automatic"\n')
    report("refit", "c3" * 32)
    result = tick()
    (request,) = result.run_requests
    assert request.asset_selection == [dg.AssetKey("teacher_clusters")]
    assert request.tags["gem/drifted"] == "2026-02"
    assert request.run_key is None
    assert "requested already" in tick(result.cursor).skip_message
    report("refit", "d4" * 32)
    assert len(tick(result.cursor).run_requests) == 1


def test_a_report_on_an_earlier_teacher_asks_for_nothing(world):
    settings, report, tick = world
    settings('[drift]\nrefit = "automatic"\n')
    report("refit", "c3" * 32, teacher=NEXT)
    assert "refitted since" in tick().skip_message
