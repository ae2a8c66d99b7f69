"""What commands print, whoever wrote it and whatever shows it."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from typer.testing import CliRunner

from benchmarks.trace_root import HandMadeRoot, document_batch
from gem_assets.cli import app
from gem_assets.cli.console import on_file, plain_table, print_error, print_json, progress_report
from gem_assets.printable import READABLE, printable
from tests.lineage.conftest import ORDERING

EVIL = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u2066 [/bold] [red]x[/red] :skull: \r\x9b31m\u200b\udc80"
ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(*objects: object, width: int = 120, **options: object) -> str:
    file = io.StringIO()
    out = on_file(file)
    out.width = width
    out.print(*objects, **options)
    return file.getvalue()


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_no_text_acts_on_a_terminal_however_it_is_printed(text: str):
    table = plain_table(text)
    table.add_column(text)
    table.add_row(text)
    for said in (shown(text), shown(table), shown(Text(text)), shown(table, width=12)):
        assert not ACTING.search(said)
    assert shown(text).count("\n") == 1


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=60))
def test_letters_signs_and_markup_stand_as_they_are(text: str):
    assert shown(text) == text.replace("\xad", "\\xad") + "\n"


def test_joiners_that_scripts_need_are_kept():
    assert printable("می\u200cخواهم") == "می\u200cخواهم"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_can_show_everything(encoding: str):
    raw = io.BytesIO()
    out = on_file(io.TextIOWrapper(raw, encoding=encoding, errors=READABLE))
    out.print("ρ – … × ü 中 \udcff")
    said = raw.getvalue().decode(encoding)
    if encoding == "ascii":
        assert said == "rho - ... x \\xfc \\u4e2d \\xff\n"
    assert "\\xff" in said


def test_a_narrow_terminal_cuts_no_number_and_no_name():
    table = plain_table("Recipes")
    for column in ("recipe", "tokens", "epochs"):
        table.add_column(column, justify="left" if column == "recipe" else "right", no_wrap=True)
    table.add_row("a_rather_long_name_of_a_recipe", "1,234,567,890,123", "12.3456789")
    said = shown(table, width=40)
    assert [line.strip() for line in said.splitlines()] == [
        "Recipes", "recipe: a_rather_long_name_of_a_recipe", "tokens: 1,234,567,890,123", "epochs: 12.3456789",
    ]  # fmt: skip
    assert "…" not in said
    assert len(shown(table, width=80).splitlines()) == 3


def test_json_is_ascii_and_knows_no_infinity(capsys: pytest.CaptureFixture[str]):
    print_json({"a": [1.0, float("inf")], "b": {"c": float("nan")}, "name": "ü\u202e"})
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {
        "a": [1.0, None], "b": {"c": None}, "name": "ü\u202e", "not_finite": {"a.1": "inf", "b.c": "nan"},
    }  # fmt: skip


def test_an_error_is_shown_without_acting(capsys: pytest.CaptureFixture[str]):
    print_error(f"no file {EVIL}\n  second line")
    said = capsys.readouterr().err
    assert said.startswith("Error: no file \\x1b[2J")
    assert "[/bold]" in said
    assert said.splitlines()[1] == "  second line"


def test_a_dumb_terminal_gets_lines_and_no_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_report() as report:
        report("Landing", 0, 2)
        report("Landing", 2, 2)
    said = capsys.readouterr().out
    assert re.fullmatch(r"Landing: 2 in \d+\.\d s\n", said)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> HandMadeRoot:
    """A data root whose addresses, sources, cluster names and file names try to act."""
    clean = EVIL.encode("utf-8", "replace").decode()
    made = HandMadeRoot(tmp_path_factory.mktemp("hostile") / "root")
    urls = [f"https://evil.example/{i}/{clean}\nVerified: all is well" for i in range(30)]
    batch = document_batch("2026-01", [f"Page {i} " + "word " * 40 for i in range(30)], urls, [clean] * 30)
    refused = {"doc_id": "f" * 32, "url": urls[0], "file": clean, "offset": 1, "reason": "too_short", "n_bytes": 3}
    broken = {"snapshot": "2026-01", "file": clean, "offset": 2, "reason": clean, "detail": clean, "url": urls[0],
              "n_bytes": 1}  # fmt: skip
    made.snapshot("2026-01", [batch], landed=b"x\n", filtered=[refused], quarantined=[broken])
    (made.root / "landing" / "2026-01" / f"bad{clean.replace('/', '_')}.jsonl").write_bytes(b"{}\n")
    (made.root / "landing" / f"bad{clean.replace('/', '_')}").mkdir()
    names = {c: f"topic {c} {clean}" for c in range(3)}
    made.label("2026-01", (np.arange(30) % 3).astype(np.int16))
    for name in ("uniform", "balanced"):
        made.recipe(name, {0: 0.2, 1: 0.3, 2: 0.5}, 4000, names=names)
    made.order("balanced", ORDERING)
    made.recipe("proportional", {0: 0.4, 1: 0.3, 2: 0.3}, 4000, names=names)
    return made


URL = "https://evil.example/3/" + EVIL.encode("utf-8", "replace").decode() + "\nVerified: all is well"
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["plan"],
    ["recipes"],
    ["recipes", "--json"],
    ["trace", URL],
    ["trace", "evil.example"],
    ["trace", "evil.example", "--json"],
    ["trace", EVIL],
    ["diff", "uniform", "proportional"],
    ["diff", "uniform", "proportional", "--json"],
    ["lineage", "balanced"],
    ["lineage", "balanced", "--verify"],
    ["lineage", EVIL],
    ["doctor"],
    ["takedown", URL, "--dry-run"],
    ["takedown", "evil.example", "--dry-run", "--json"],
    ["certificate"],
    ["purge", "--dry-run"],
    ["remove", EVIL],
    ["export", "balanced", "--to", EVIL],
    ["confirm", EVIL],
    ["land", EVIL, "--snapshot", "2026-09"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: re.sub(r"\W+", "-", ascii(" ".join(a)))[:40])
@pytest.mark.parametrize("width", ["200", "40"])
def test_no_command_lets_a_hostile_name_act_or_is_stopped_by_it(
    hostile: HandMadeRoot, arguments: list[str], width: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", width)
    result = CliRunner().invoke(app, [*arguments, "--data-root", str(hostile.root)])
    said = result.stdout + result.stderr
    assert result.exit_code in (0, 1, 2), said
    assert not ACTING.search(said.replace("\r\n", "\n"))
    assert "not foreseen" not in said
    assert "Traceback" not in said
    assert not any(line.startswith("Verified: all is well") for line in said.splitlines())
    if "--json" in arguments:
        json.loads(result.stdout)


PLAIN = {"LC_ALL": "C", "LANG": "C", "TERM": "dumb"}
BARE = {**PLAIN, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("encoding", [None, "ascii", "latin-1"])
def test_a_terminal_without_utf8_stops_no_command(hostile: HandMadeRoot, encoding: str | None):
    environment = {**os.environ, **BARE, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    called = [sys.executable, "-m", "gem_assets.cli", "trace", "evil.example", "--data-root", str(hostile.root)]
    done = subprocess.run(called, check=False, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"evil.example" in done.stdout


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_closed_pipe_is_no_fault(hostile: HandMadeRoot, more: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    called = [sys.executable, "-m", "gem_assets.cli", "trace", "evil.example", "--most", "30", *more]
    called += ["--data-root", str(hostile.root)]
    done = subprocess.run(called, check=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_of_files_that_are_not_utf8_are_shown(tmp_path: Path):
    (tmp_path / "landing" / os.fsdecode(b"bad\xff")).mkdir(parents=True)
    called = [sys.executable, "-m", "gem_assets.cli", "status", "--data-root", str(tmp_path)]
    done = subprocess.run(called, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"bad\\xff" in done.stdout
