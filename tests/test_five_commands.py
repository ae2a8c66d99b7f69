"""The README's five commands, as a user gives them: from an installed wheel, outside the repository."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.cli import app
from tests.tiny import passages, write_settings

REPOSITORY = Path(__file__).resolve().parent.parent
SHIPPED = ("gem_assets", "resources", "sensors", "pyproject.toml", "README.md", "LICENSE")


def five_commands() -> list[list[str]]:
    section = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## Your own data in five commands")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.split()[1:] for line in block[1].splitlines()]


def warc(rows: list[dict[str, str]]) -> bytes:
    records: list[bytes] = []
    for number, row in enumerate(rows):
        body = f"<!doctype html><html lang='en'><title>{number}</title><p>{row['text']}</p></html>".encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
            f"WARC-Date: 2026-11-02T03:04:05Z\r\nWARC-Target-URI: {row['url']}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(answer)}\r\n\r\n"
        )
        records.append(gzip.compress(head.encode() + answer + b"\r\n\r\n", mtime=0))
    return b"".join(records)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an installed wheel, built without a network from a copy of what is shipped."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in SHIPPED:
        held = REPOSITORY / name
        copy = shutil.copytree if held.is_dir() else shutil.copyfile
        copy(held, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    options = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *options, "--no-build-isolation", "-w", str(source / "dist"), str(source)], check=True
    )
    [wheel] = (source / "dist").glob("*.whl")
    subprocess.run([*pip, "install", *options, "--target", str(folder), str(wheel)], check=True)
    return folder


def test_the_five_commands_are_five() -> None:
    assert [command[0] for command in five_commands()] == ["land", "run", "recipes", "audit", "export"]


@pytest.mark.slow
@pytest.mark.skipif(
    "run" not in {command.name or command.callback.__name__ for command in app.registered_commands if command.callback},
    reason="this version has no gem run",
)
def test_a_folder_of_three_formats_becomes_an_audited_export(installed: Path, tmp_path: Path) -> None:
    rows = passages()[:300]
    crawl = tmp_path / "crawl" / "deep"
    crawl.mkdir(parents=True)
    (crawl / "pages.warc.gz").write_bytes(warc(rows[:100]))
    pq.write_table(pa.Table.from_pylist(rows[100:200]), crawl / "pages.parquet")
    (crawl.parent / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[200:]), encoding="utf-8")
    write_settings(tmp_path / "corpus")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEM_", "DAGSTER_HOME"))}
    environment = {**clean, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import gem_assets; print(gem_assets.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(installed))
    for command in five_commands():
        done = subprocess.run(
            [sys.executable, str(installed / "bin" / "gem"), *command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"gem {' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert "Traceback" not in done.stdout + done.stderr
        if command[0] == "recipes":
            assert "Use proportional" in done.stdout
    audit = tmp_path / "corpus" / "audits" / "balanced"
    assert (audit / "index.html").is_file()
    facts = json.loads((audit / "facts.json").read_text(encoding="utf-8"))
    assert [snapshot["files"] for snapshot in facts["snapshots"]] == [3]
    assert (tmp_path / "corpus" / "exports" / "balanced-hf-datasets" / "mixture.json").is_file()
