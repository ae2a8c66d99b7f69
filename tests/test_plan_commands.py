"""``gem plan`` and ``gem remove`` on the command line: what they refuse, and the plan of an empty data root."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gem_assets import run as runs
from gem_assets.cli import app
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.manifest import InputRef
from gem_assets.teacher.crosswalk import Crosswalk
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


def test_nothing_ingested_is_nothing_to_refit(tmp_path):
    write_settings(tmp_path)
    found = run("refit", "--data-root", tmp_path)
    assert found.exit_code == 1
    assert "land a snapshot first" in found.output


@pytest.fixture
def refits(tmp_path, monkeypatch):
    """A data root with a teacher, and a way to say what the next run commits in place of the graph."""
    write_settings(tmp_path)
    artifacts = ArtifactStore(tmp_path)
    with artifacts.write("raw_shards", "a" * 64, "2026-01"):
        pass

    def teacher(identity, *snapshots, walk=None):
        with artifacts.write("teacher_clusters", identity * 64) as draft:
            draft.inputs = [InputRef(asset="embeddings", partition=name, data_version="v") for name in snapshots]
            if walk is not None:
                walk.write(draft.path)
        ref = draft.artifact.ref()
        with artifacts.write("carried_evidence", identity * 64) as draft:
            draft.inputs = [ref]
            draft.counts = {"recipes": 3, "swarm_runs": 0} if walk is not None else {"recipes": 0, "swarm_runs": 0}

    def refit_with(commit, *options):
        def everything(_, progress):
            commit()
            progress(1, 1, "done")
            return runs.RunSummary((runs.Step("teacher_clusters", None, 1.0, True, (), ""),), 1.0)

        monkeypatch.setattr(runs, "refit_everything", everything)
        found = run("refit", "--data-root", tmp_path, *options)
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout) if options else " ".join(found.output.split())

    return teacher, refit_with


def test_a_refit_says_what_became_of_the_clusters(refits):
    teacher, refit_with = refits
    walk = Crosswalk(
        ids=np.array([0, 2]),
        source=np.array([0, -1], np.int32),
        cosine=np.array([0.9, np.nan]),
        mass=np.array([[0.5, 0.1], [0.0, 0.4]]),
        births=(1,),
        deaths=(1,),
        splits=(),
        merges=(),
        kept=0.5,
    )
    assert "was fitted on 1 snapshot (2026-01 to 2026-01)" in refit_with(lambda: teacher("b", "2026-01"))
    said = refit_with(lambda: teacher("c", "2026-01", "2026-02", walk=walk))
    assert "was refitted on 2 snapshots (2026-01 to 2026-02)" in said
    assert "1 of 2 clusters keep their id, 50.0% of the documents" in said
    assert "births 1, deaths 1" in said
    assert "recipes 3, swarm runs 0" in said
    told = refit_with(lambda: teacher("d", "2026-01", "2026-02", "2026-03", walk=walk), "--json")
    assert told["current"] is True
    assert [step["state"] for step in told["steps"]] == ["made"]
    assert told["teacher"]["identity"] == "d" * 64
    assert told["teacher"]["snapshots"] == ["2026-01", "2026-02", "2026-03"]
    kept = {name: told["teacher"][name] for name in ("fitted", "clusters", "kept_ids", "kept_documents")}
    assert kept == {"fitted": "again", "clusters": 2, "kept_ids": 1, "kept_documents": 0.5}
    assert told["teacher"]["recipes"] == 3


def test_a_refit_without_news_says_so(refits):
    teacher, refit_with = refits
    teacher("b", "2026-01")
    said = refit_with(lambda: None)
    assert "was already fitted on 1 snapshot (2026-01 to 2026-01)" in said
    assert "Carried over" not in said
    told = refit_with(lambda: None, "--json")["teacher"]
    assert (told["fitted"], told["clusters"], told["evidence"]) == ("stands", None, None)
