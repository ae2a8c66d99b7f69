import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets import run as run_module
from gem_assets.cli import app
from gem_assets.cli.console import quiet_stderr
from gem_assets.cli.summary import dev_command
from gem_assets.corpus.schema import QUARANTINE_SCHEMA
from gem_assets.demo import landing
from gem_assets.demo.finding import TextFile, find_text_files
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.run import RunSummary, Step
from gem_assets.settings import Settings
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.taxonomy.publish import TAXONOMY_NAME
from gem_assets.taxonomy.taxonomy import Cluster, Portion, Taxonomy

NAMES = {0: "Parsing & formats", 1: "Licence texts"}


def cluster(number: int, share: float) -> Cluster:
    return Cluster(
        id=number,
        domain=number,
        slug=f"cluster-{number}",
        name=NAMES[number],
        named_by="keywords",
        description="",
        documents=int(share * 1000),
        share=share,
        keywords=tuple(f"word{number}{letter}" for letter in "abcdefgh"),
        exemplars=(),
        neighbours=(),
        coherence=0.5,
        kappa=100.0,
        languages=(),
        sources=(Portion(value="licences.example", share=0.75),),
    )


def recipe(strategy: str, shares: list[float]) -> Recipe:
    numbers = np.array([0, 1])
    supply = ClusterSupply(
        clusters=numbers, docs=np.array([600, 400]), tokens=np.array([90_000, 10_000]), n_bytes=np.array([9, 1])
    )
    return Recipe.create(
        strategy, shares, supply, names=NAMES, taxonomy_version="t1", tokenizer="estimate", repetition_cap=8.0
    )


def build_artifacts(settings: Settings) -> None:
    """Write what a run would leave behind, as far as the summary reads it."""
    store = ArtifactStore(settings.data_root)
    for number, snapshot in enumerate(["2026-01", "2026-03"]):
        with store.write("raw_shards", f"{number}a" * 32, snapshot) as draft:
            draft.counts = {"read": 1_500 + number, "kept": 1_400, "quarantined": number}
            row = {"snapshot": snapshot, "file": "zero-length.jsonl", "offset": 0, "reason": "empty_file"}
            rows = [{**row, "detail": "zero bytes", "url": None, "n_bytes": 0}] * number
            pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), draft.path / "quarantine.parquet")
    clusters = (cluster(0, 0.6), cluster(1, 0.4))
    with store.write("gis_taxonomy", "bb" * 32) as draft:
        taxonomy = Taxonomy(version="t1", documents=1000, gis="zscore", beta=1, namer="keywords", clusters=clusters)
        taxonomy.write(draft.path / TAXONOMY_NAME)
    for number, (strategy, shares) in enumerate({"uniform": [0.5, 0.5], "proportional": [0.9, 0.1]}.items()):
        with store.write(f"recipes/{strategy}", f"{number}c" * 32) as draft:
            recipe(strategy, shares).write(draft.path / RECIPE_NAME)


@pytest.fixture
def steps() -> list[Step]:
    return [Step("raw_shards", "2026-01", 1.0, True), Step("student_model", None, 2.0, True, ("student_agrees",))]


@pytest.fixture(scope="module")
def files() -> list[TextFile]:
    """Files of the standard library; looking through all packages takes seconds."""
    kinds = {"python-code", "docstrings", "help-topics"}
    return [file for file in find_text_files() if file.kind in kinds and file.name.startswith("python/")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[Step], files: list[TextFile]):
    """Run ``gem demo`` with a small landing area and a graph that leaves prepared artifacts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    monkeypatch.setattr(landing, "find_text_files", lambda: files)
    monkeypatch.setattr(landing, "SMALL_DOCUMENTS", 300)

    def materialize(settings: Settings, progress) -> RunSummary:
        build_artifacts(settings)
        sys.stderr.write("a noisy library\n")
        progress(0, 2, "raw_shards [2026-01]")
        progress(1, 2, "student_model")
        progress(2, 2, "done")
        return RunSummary(tuple(steps), 3.0, ("2026-01",))

    monkeypatch.setattr(run_module, "materialize_everything", materialize)
    return lambda *options: CliRunner().invoke(app, ["demo", "--small", *options])


def test_the_summary_shows_what_came_out(run, tmp_path: Path):
    result = run()
    assert result.exit_code == 0, result.output
    for text in (
        "2026-03",
        "1,501",
        "2026-03/zero-length.jsonl: empty_file",
        "Parsing & formats",
        "60.0%",
        "word0a, word0b",
        "licences.example 75%",
        "uniform",
        "90.0%",
        "effective clusters",
        "Check failed: student_model: student_agrees",
        str(tmp_path / "gem-demo" / "artifacts"),
        "dev --data-root gem-demo",
    ):
        assert text in result.stdout, text
    assert result.stdout.index("proportional") < result.stdout.index("uniform")
    assert "raw_shards [2026-01]" in result.stdout, "each finished step is a line"


def test_a_second_demo_uses_what_is_there(run):
    assert run().exit_code == 0
    result = run()
    assert result.exit_code == 0
    assert "there already" in result.stdout
    assert "Cutting documents" not in result.stdout
    assert "2026-02" in result.stdout


def test_a_failed_step_is_named_and_fails_the_command(run, steps: list[Step]):
    steps.append(Step("recipes/unimax", None, 0.1, False, (), "no tokens"))
    result = run()
    assert result.exit_code == 1
    assert "Failed: recipes/unimax: no tokens" in result.stdout
    assert "1 step failed" in result.stderr
    assert "demo.log" in result.stderr


def test_on_a_terminal_noise_does_not_break_the_bars(tmp_path: Path):
    """Bars redraw themselves on a terminal only, so this one is real."""
    program = """
import sys, time
from pathlib import Path
from gem_assets.cli.console import run_steps
with run_steps(Path("demo.log")) as progress:
    progress(0, 2, "raw_shards [2026-01]")
    sys.stderr.write("dagster - DEBUG - noise\\n")
    print("printed by a library")
    time.sleep(0.3)
    progress(1, 2, "student_model")
"""
    main, terminal = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=terminal, stderr=terminal, check=True
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(main, 65536):
            shown += chunk
    os.close(main)
    assert done.returncode == 0
    assert b"raw_shards [2026-01]" in shown
    assert b"student_model" in shown
    assert b"noise" not in shown
    assert "noise" in (tmp_path / "demo.log").read_text()


def test_the_command_line_shown_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/gem")
    assert dev_command(tmp_path / "gem demo") == "gem dev --data-root 'gem demo'"
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert dev_command(Path("/srv/demo")) == ".venv/bin/gem dev --data-root /srv/demo"


def test_noise_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    log = tmp_path / "logs" / "demo.log"
    with quiet_stderr(log):
        os.write(2, b"a noisy native library\n")
    os.write(2, b"an error that a person has to see\n")
    assert log.read_text() == "a noisy native library\n"
    assert capfd.readouterr().err == "an error that a person has to see\n"


def test_the_tables_fit_a_narrow_terminal(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run()
    assert result.exit_code == 0
    tables = [line for line in result.stdout.splitlines() if not line.startswith(("Artifacts", "Log", "  quarantined"))]
    assert max(map(len, tables)) <= 80
    for text in ("unchanged", "quarantined", "60.0%", "Parsing & formats", "proportional", "90.0%"):
        assert text in result.stdout
