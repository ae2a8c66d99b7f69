"""``gem run`` on a small data root, from an interrupted first call to a mixture that is made by hand."""

import json
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.storage.artifacts import ArtifactStore
from tests.direct import write_small_settings
from tests.tiny import land_jsonl, passages

pytestmark = pytest.mark.timeout(600)

LABELS = ["--until", "student_labels", "--snapshot", "2026-01"]


def gem_run(root, *arguments):
    """Exit code, the steps that ran, and all that was printed."""
    result = CliRunner().invoke(app, ["run", "--data-root", str(root), *arguments])
    return result.exit_code, re.findall(r"^  (\S+) +[\d.]+ s$", result.output, re.MULTILINE), result.output


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two snapshots, of which the first is half way to its labels: the call that made them was interrupted."""
    root = tmp_path_factory.mktemp("run")
    write_small_settings(root)
    rows = passages()[:120]
    land_jsonl(root, "2026-01", rows[:60])
    land_jsonl(root, "2026-02", rows[60:])
    # a suite that runs in the background of a shell hands on that Ctrl-C is ignored
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import gem_assets.cli as cli; cli.main()"
    command = [sys.executable, "-c", code, "run", "--data-root", str(root), *LABELS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if line.startswith("  embedding_space "):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    return root


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_is_finished_and_the_next_one_goes_on(root):
    store = ArtifactStore(root)
    kept = store.current("raw_shards", "2026-01"), store.current("embedding_space")
    assert None not in kept
    assert store.current("student_labels", "2026-01") is None
    code, steps, _ = gem_run(root, *LABELS)
    assert code == 0
    assert steps[-1] == "student_labels[2026-01]"
    assert not {"raw_shards[2026-01]", "embedding_space"} & set(steps)
    assert store.partitions("raw_shards") == ["2026-01"]


def test_nothing_to_do_is_no_error(root):
    gem_run(root, *LABELS)
    code, steps, output = gem_run(root, *LABELS)
    assert (code, steps) == (0, [])
    assert "0 steps" in output
    told = json.loads(CliRunner().invoke(app, ["run", "--data-root", str(root), "--json", *LABELS]).stdout)
    assert told["current"] is True
    assert told["steps"] == []
    assert "student_labels[2026-01]" in told["up_to_date"]


def test_status_says_where_the_time_went(root):
    gem_run(root, *LABELS)
    status = ["status", "--timing", "--data-root", str(root)]
    spent = json.loads(CliRunner().invoke(app, [*status, "--json"]).stdout)["timing"]
    assert {"raw_shards", "student_labels"} <= {stage["asset"] for stage in spent["stages"]}
    assert sum(spent["seconds"].values()) == pytest.approx(spent["until"] - spent["since"])
    shown = CliRunner().invoke(app, status).output
    assert f"Work in {spent['runs']} runs; the longest gap between two stages was" in " ".join(shown.split())
    assert re.search(r"^\W*student_labels +[\d.]+ +1\b", shown, re.MULTILINE)


def test_status_has_no_times_where_nothing_ran(tmp_path):
    land_jsonl(tmp_path, "2026-01", passages()[:5])
    status = ["status", "--timing", "--data-root", str(tmp_path)]
    assert json.loads(CliRunner().invoke(app, [*status, "--json"]).stdout) == {"timing": None}
    assert CliRunner().invoke(app, status).output == "Nothing has run since the last landing.\n"
    assert not (tmp_path / "dagster").exists()


@pytest.mark.slow
def test_a_mixture_that_is_made_by_hand_is_made_with_its_order_and_audit(root):
    code, steps, _ = gem_run(root, "--until", "recipes/uniform", "--strategy", "uniform")
    assert code == 0
    assert "raw_shards[2026-02]" in steps
    assert steps[-3:] == ["recipes/uniform", "training_order/uniform", "mixture_audit/uniform"]
    assert ArtifactStore(root).current("recipes/proportional") is None


def test_a_failure_is_named_and_exits_with_one(root):
    code, _, output = gem_run(root, "--until", "embedding_space")
    assert code == 0, output
    landed = root / "landing" / "2026-03"
    landed.mkdir()
    (landed / "pages.zip").write_bytes(b"no crawl file")
    (landed / "_SUCCESS").touch()
    code, _, output = gem_run(root, "--until", "raw_shards", "--snapshot", "2026-03")
    assert code == 1
    assert "raw_shards[2026-03]" in output.splitlines()[-1]
    wanted = ["--until", "raw_shards", "--snapshot", "2026-03", "--json"]
    result = CliRunner().invoke(app, ["run", "--data-root", str(root), *wanted])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["current"]) == (1, False)
    assert [(step["asset"], step["snapshot"], step["state"]) for step in told["steps"]] == [
        ("raw_shards", "2026-03", "failed")
    ]
    assert told["steps"][0]["error"] in output


def test_what_is_held_is_said_with_its_numbers_and_exits_with_one(tmp_path):
    write_small_settings(tmp_path)
    land_jsonl(tmp_path, "2026-01", passages()[:5])
    code, steps, output = gem_run(tmp_path, "--until", "embedding_space")
    assert (code, steps) == (1, ["raw_shards[2026-01]"])
    assert "embedding_space is held: embedding_space needs 16 documents" in output
    result = CliRunner().invoke(app, ["run", "--data-root", str(tmp_path), "--until", "embedding_space", "--json"])
    step = json.loads(result.stdout)["steps"][-1]
    assert (result.exit_code, step["asset"], step["state"]) == (1, "embedding_space", "held")
    assert step["error"].startswith("embedding_space needs 16 documents")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--until", "recipes/unifrom"], "no asset 'recipes/unifrom'; did you mean recipes/uniform"),
        (
            ["--until", "zzz"],
            "raw_shards, recipe_confirmation/STRATEGY, recipe_report, recipes/STRATEGY, student_labels",
        ),
        (["--strategy", "unifrom"], "no mixture 'unifrom'; did you mean uniform"),
        (["--snapshot", "2026-02"], "no snapshot '2026-02'; did you mean 2026-01?"),
        (["--snapshot", "2026-03"], "snapshot '2026-03' has not landed completely: it has no _SUCCESS"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_runs(tmp_path, arguments, words):
    land_jsonl(tmp_path, "2026-01", passages()[:5])
    (tmp_path / "landing" / "2026-03").mkdir()
    code, steps, output = gem_run(tmp_path, *arguments)
    assert (code, steps) == (1, [])
    assert words in output
    assert not (tmp_path / "artifacts").exists()


def test_a_root_on_which_nothing_landed_says_how_to_land(tmp_path):
    (tmp_path / "gem.toml").touch()
    code, _, output = gem_run(tmp_path)
    assert code == 1
    assert "gem land FILES --snapshot NAME" in output
