"""``gem plan`` and ``gem remove`` on the command line: what they refuse, and the plan of an empty data root."""

import json

from typer.testing import CliRunner

from gem_assets.cli import app
from tests.tiny import land_parquet, passages, write_settings


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_plan_of_files_that_have_not_landed_says_what_nobody_knows_yet(tmp_path):
    root = tmp_path / "root"
    write_settings(root)
    files = land_parquet(tmp_path / "incoming", "2026-06", passages()[:20])
    found = run("plan", files, "--snapshot", "2026-06", "--data-root", root, "--json")
    assert found.exit_code == 0, found.output
    tasks = json.loads(found.stdout)["tasks"]
    first = tasks[0]
    assert (first["asset"], first["partition"], first["seconds"]) == ("raw_shards", "2026-06", None)
    assert first["reasons"] == [{"kind": "landing", "text": "not landed yet"}]
    assert {"teacher_clusters", "recipes/balanced"} <= {task["asset"] for task in tasks}
    assert not (root / "artifacts").exists()


def test_files_without_a_snapshot_and_snapshots_without_files_are_refused(tmp_path):
    write_settings(tmp_path)
    unnamed = run("plan", tmp_path / "gem.toml", "--data-root", tmp_path)
    assert unnamed.exit_code == 1
    assert "add --snapshot NAME" in unnamed.output
    nowhere = run("plan", "--snapshot", "2026-06", "--data-root", tmp_path)
    assert nowhere.exit_code == 1
    assert "has not landed: name its files" in nowhere.output


def test_a_snapshot_that_was_never_ingested_cannot_be_removed(tmp_path):
    write_settings(tmp_path)
    found = run("remove", "2026-06", "--data-root", tmp_path)
    assert found.exit_code == 1
    assert "2026-06 was never ingested" in found.output
