import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gem_assets
from gem_assets.cli import app
from gem_assets.cli.console import DEBUG_VARIABLE, debug_from_arguments, describe, progress_report
from gem_assets.cli.demo import MARKER, claim_folder
from gem_assets.cli.status import size_text
from gem_assets.orchestration.dagster_home import LaunchError
from gem_assets.settings import load_settings
from gem_assets.storage.artifacts import ArtifactStore

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GEM_DATA_ROOT", raising=False)
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / "part.jsonl").write_text('{"text": "some words", "url": "https://a.example/1"}\n')
    return folder


def gem(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and error output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command_and_what_to_do_first():
    code, out, _ = gem("--help")
    assert code == 0
    assert all(f" {name} " in out for name in ("demo", "dev", "land", "status", "version"))
    assert "Start with gem demo" in out


@pytest.mark.parametrize("command", ["demo", "dev", "land", "status", "version"])
def test_each_command_has_help(command: str):
    code, out, _ = gem(command, "--help")
    assert code == 0
    assert "--help" in out


LOOKING = [
    "audit balanced",
    "certificate",
    "confirm bimix",
    "diff balanced uniform",
    "doctor --repair",
    "export balanced --to mosaicml",
    "lineage balanced",
    "plan",
    "purge",
    "recipes",
    "refit",
    "remove 2026-01",
    "swarm run",
    "takedown https://a.example/",
    "trace a.example",
]


@pytest.mark.parametrize("command", LOOKING)
def test_a_command_that_only_looks_or_takes_away_makes_no_data_root(command: str, tmp_path: Path):
    (tmp_path / "other").mkdir()
    for folder, why in (("nothing", "there is no such folder"), ("other", "it holds none of gem.toml, landing")):
        code, out, err = gem(*command.split(), "--data-root", tmp_path / folder)
        assert (code, out) == (1, "")
        assert f"{tmp_path / folder} (by --data-root) is not a data root: {why}" in err
        assert "gem land or gem demo" in err
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert list((tmp_path / "other").iterdir()) == []


def test_a_data_root_that_the_environment_names_is_said_to_come_from_there(tmp_path: Path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEM_DATA_ROOT", str(tmp_path / "file"))
    code, _, err = gem("recipes")
    assert code == 1
    assert "file (by GEM_DATA_ROOT) is not a data root: it is a file" in err
    monkeypatch.delenv("GEM_DATA_ROOT")
    assert "gem-data (by default) is not a data root" in gem("recipes")[2]


def test_names_that_cannot_be_are_refused_in_words(tmp_path: Path, crawl: Path):
    gem("land", crawl, "--snapshot", "2026-01", "--data-root", tmp_path / "root")
    code, _, err = gem("remove", "../../etc", "--data-root", tmp_path / "root")
    assert code == 1
    assert "is not a name for a snapshot" in err
    assert "not foreseen" not in err
    assert gem("trace", " ", "--data-root", tmp_path / "root")[0] == 2


def test_help_and_version_import_nothing_heavy():
    program = (
        "import sys; from typer.testing import CliRunner; from gem_assets.cli import app; "
        "CliRunner().invoke(app, ['version']); "
        "print([m for m in ('dagster', 'torch', 'lancedb', 'pyarrow', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_version_states_what_decides_results():
    code, out, _ = gem("version")
    assert code == 0
    assert f"gem-assets {gem_assets.__version__}" in out
    assert "dagster 1." in out


def test_land_copies_and_completes(crawl: Path, tmp_path: Path):
    code, out, err = gem("land", crawl, "--snapshot", "2026-11", "--data-root", tmp_path / "data")
    assert code == 0, err
    landed = tmp_path / "data" / "landing" / "2026-11"
    assert (landed / "_SUCCESS").is_file()
    (copied,) = landed.rglob("part.jsonl")
    assert copied.read_bytes() == (crawl / "part.jsonl").read_bytes()
    assert not copied.samefile(crawl / "part.jsonl")
    assert "2026-11" in out
    assert "1 file" in out


def test_land_can_link(crawl: Path, tmp_path: Path):
    for option in ("--link", "--hardlink"):
        root = tmp_path / option
        code, _, err = gem("land", crawl / "part.jsonl", "--snapshot", "s", option, "--data-root", root)
        assert code == 0, err
        (linked,) = (root / "landing" / "s").rglob("part.jsonl")
        assert linked.samefile(crawl / "part.jsonl")
        assert linked.is_symlink() == (option == "--link")
    assert gem("land", crawl, "--snapshot", "t", "--link", "--copy")[0] == 2


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".", "..", "/etc", "a\\b", "a b"])
def test_a_snapshot_name_with_a_path_in_it_is_refused(crawl: Path, tmp_path: Path, name: str):
    code, _, err = gem("land", crawl, "--snapshot", name, "--data-root", tmp_path / "data")
    assert code == 1
    assert "Error:" in err
    assert "Traceback" not in err
    assert repr(name) in err
    assert not list((tmp_path / "data").rglob("part.jsonl"))


def test_landing_a_missing_source_names_it(tmp_path: Path):
    code, _, err = gem("land", tmp_path / "nowhere.warc.gz", "--snapshot", "s", "--data-root", tmp_path / "data")
    assert code == 1
    assert "nowhere.warc.gz" in err
    assert not (tmp_path / "data" / "landing" / "s").exists()


def test_landing_twice_is_refused_and_changes_nothing(crawl: Path, tmp_path: Path):
    arguments = ("land", crawl, "--snapshot", "s", "--data-root", tmp_path / "data")
    assert gem(*arguments)[0] == 0
    (crawl / "part.jsonl").write_text("changed\n")
    code, _, err = gem(*arguments)
    assert code == 1
    assert "s" in err
    assert "already" in err
    (kept,) = (tmp_path / "data" / "landing" / "s").rglob("part.jsonl")
    assert kept.read_text() != "changed\n"
    assert gem(*arguments, "--replace")[0] == 0
    assert kept.read_text() == "changed\n"


def test_land_without_a_snapshot_is_a_usage_error(crawl: Path):
    code, _, err = gem("land", crawl)
    assert code == 2
    assert "--snapshot" in err


def test_the_data_root_comes_from_the_environment(crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEM_DATA_ROOT", str(tmp_path / "elsewhere"))
    assert gem("land", crawl, "--snapshot", "s")[0] == 0
    assert (tmp_path / "elsewhere" / "landing" / "s" / "_SUCCESS").is_file()


def test_a_data_root_that_is_a_file_is_refused(crawl: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    code, _, err = gem("land", crawl, "--snapshot", "s", "--data-root", tmp_path / "file")
    assert code == 2
    assert "file" in err


def test_a_broken_settings_file_is_named(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gem.toml").write_text("[teacher]\nk = 'many'\n")
    code, _, err = gem("status", "--data-root", tmp_path / "data")
    assert code == 1
    assert "gem.toml" in err
    assert "many" in err


def test_status_of_nothing_says_what_to_do(tmp_path: Path):
    code, out, _ = gem("status", "--data-root", tmp_path / "data")
    assert code == 0
    assert "gem land" in out
    assert not (tmp_path / "data").exists()


def test_status_shows_snapshots_assets_and_recipes(crawl: Path, tmp_path: Path):
    root = tmp_path / "data"
    gem("land", crawl, "--snapshot", "2026-01", "--data-root", root)
    (root / "landing" / "2026-02").mkdir()
    store = ArtifactStore(root)
    for asset, partition, counts in [
        ("raw_shards", "2026-01", {"read": 12_345, "kept": 12_000}),
        ("raw_shards", "2025-12", {"read": 7, "kept": 7}),
        ("teacher_clusters", None, {"clusters": 24}),
        ("recipes/unimax", None, {"token_budget": 1_000_000}),
    ]:
        with store.write(asset, "ab" * 32, partition) as draft:
            draft.counts = counts
            if asset == "raw_shards":
                draft.metrics = {"skipped_by_type": {"request": 2_000, "binary_body": 3}}
    code, out, _ = gem("status", "--data-root", root)
    assert code == 0
    for text in ("12,345", "no _SUCCESS yet", "2025-12", "teacher_clusters", "abababababab", "recipes/unimax"):
        assert text in out
    for text in ("4,000", "binary_body", "a PDF, picture"):
        assert text in out
    code, out, _ = gem("status", "--json", "--data-root", root)
    found = json.loads(out)
    assert code == 0
    assert {s["name"]: s["landed"] for s in found["snapshots"]} == {
        "2026-01": "complete",
        "2026-02": "waiting",
        "2025-12": "absent",
    }
    assert found["snapshots"][0]["counts"] == {"read": 12_345, "kept": 12_000}
    assert found["snapshots"][0]["skipped"] == {"request": 2_000, "binary_body": 3}
    assert [asset["name"] for asset in found["recipes"]] == ["recipes/unimax"]
    assert found["server"] is None


def test_dev_reports_a_taken_port(tmp_path: Path):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = gem("dev", "--port", str(port), "--data-root", tmp_path / "data")
    assert code == 1
    assert f"Port {port}" in err


def test_the_demo_keeps_out_of_a_folder_that_is_not_its_own(tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of work")
    for option in ([], ["--fresh"]):
        code, _, err = gem("demo", "--data-root", tmp_path / "work", *option)
        assert code == 1
        assert "was not made by the demo" in err
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years of work"


def test_the_demo_folder_is_claimed_once(tmp_path: Path):
    root = tmp_path / "demo"
    assert claim_folder(root, fresh=False, small=True) is None
    assert load_settings(root).teacher.k == 8
    (root / "landing").mkdir()
    assert claim_folder(root, fresh=False, small=True) is None, "an unfinished landing area is built again"
    assert not (root / "landing").exists()
    (root / MARKER).write_text(json.dumps({"landed": True, "small": True}))
    assert claim_folder(root, fresh=False, small=True) == {"landed": True, "small": True}
    with pytest.raises(RuntimeError, match="holds the small demo"):
        claim_folder(root, fresh=False, small=False)
    assert claim_folder(root, fresh=True, small=False) is None


def test_the_demo_does_not_run_beside_a_live_server(tmp_path: Path):
    import fcntl

    root = tmp_path / "demo"
    claim_folder(root, fresh=False, small=True)
    (root / "dagster").mkdir()
    with (root / "dagster" / "gem-dev.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write('{"pid": 123, "url": "http://127.0.0.1:3000"}')
        handle.flush()
        with pytest.raises(RuntimeError, match="3000, process 123"):
            claim_folder(root, fresh=True, small=True)
    assert root.is_dir()


def test_debug_may_stand_anywhere():
    assert debug_from_arguments(["status", "--debug", "--json"]) == ["status", "--json"]
    assert os.environ.pop(DEBUG_VARIABLE) == "1"


def test_debug_shows_the_trace_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    result = CliRunner().invoke(app, ["land", str(tmp_path / "none"), "--snapshot", "s"])
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.output
    assert "Error: " in result.output


def test_errors_are_described_by_where_they_come_from():
    assert describe(LaunchError("the port is taken")) == "the port is taken"
    assert describe(FileNotFoundError(2, "No such file or directory", "x.txt")) == "x.txt: No such file or directory."
    full = describe(OSError(28, "No space left on device"))
    assert full.startswith("No space left on device. Make room")
    unforeseen = describe(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in unforeseen
    assert "--debug" in unforeseen


def test_progress_in_a_log_is_one_line_a_finished_step(capsys: pytest.CaptureFixture[str]):
    with progress_report() as report:
        report("Reading", 0, 2)
        report("Reading", 1, 2)
        report("Reading", 2, 2)
        report("Reading", 2, 2)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Reading: 2 in ")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (12_345_678, "12.3 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes_read_well(size: int, text: str):
    assert size_text(size) == text


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "gem_assets.cli", "status", "--json"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert json.loads(done.stdout)["snapshots"] == []


def test_constraints_pin_every_dependency_to_a_public_version():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["dev"], *extras["postgres"], *extras["ray"]]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - pinned == set()


def test_short_help_version_completion_and_groups(capsys: pytest.CaptureFixture[str]):
    code, out, _ = gem("-h")
    assert code == 0
    for words in ("Start here", "Look at a data root", "Account for it", "Keep it in order", "--install-completion"):
        assert words in out
    assert re.fullmatch(r"gem-assets \d+\.\d+\.\d+\n", gem("--version")[1])
    assert gem("swarm", "import", "-h")[0] == 0
    assert json.loads(gem("version", "--json")[1])["gem-assets"]


def test_the_server_imports_nothing_from_where_it_is_started(tmp_path: Path):
    from gem_assets.orchestration.dagster_home import write_workspace

    written = write_workspace(tmp_path).read_text()
    assert f'working_directory: "{Path(gem_assets.__file__).resolve().parent.parent}"' in written
