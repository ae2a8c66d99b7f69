import json
from pathlib import Path

from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.takedown.blocklist import Blocklist
from tests.crash.artifact_writer import commit
from tests.crash.small_writers import block_request, write_certificate


def doctor(*arguments: str | Path):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_a_sound_root_is_said_to_be_sound(tmp_path):
    commit(ArtifactStore(tmp_path), "one")
    done = doctor("--data-root", tmp_path)
    assert done.exit_code == 0
    assert "is sound" in done.stdout


def test_a_torn_result_is_an_error_with_the_way_out(tmp_path):
    commit(ArtifactStore(tmp_path), "one")
    next(tmp_path.rglob("y.txt")).write_text("")
    done = doctor("--data-root", tmp_path, "--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["kind"], found["severity"], found["remedy"]) == ("artifact_torn", "error", "Materialize a again")


def test_repair_rewrites_a_torn_pointer_and_says_so(tmp_path):
    commit(ArtifactStore(tmp_path), "one")
    pointer = next(tmp_path.rglob("CURRENT"))
    whole = pointer.read_bytes()
    pointer.write_bytes(b"")
    assert "pointer_torn" in doctor("--data-root", tmp_path, "--json").stdout
    done = doctor("--data-root", tmp_path, "--repair")
    assert done.exit_code == 0
    assert "repaired" in done.stdout
    assert pointer.read_bytes() == whole


def test_a_root_that_is_not_there_is_named(tmp_path):
    done = doctor("--data-root", tmp_path / "nothing")
    assert done.exit_code == 1
    assert f"{tmp_path / 'nothing'} (by --data-root) is not a data root: there is no such folder" in done.stderr


def test_a_damaged_blocklist_is_an_error_and_a_request_that_was_not_applied_a_warning(tmp_path):
    commit(ArtifactStore(tmp_path), "one")
    Blocklist(tmp_path).append(block_request(1))
    assert "takedown_pending" in doctor("--data-root", tmp_path, "--json").stdout
    write_certificate(tmp_path, 1)
    (tmp_path / "blocklist.jsonl").write_text("{}\n")
    done = doctor("--data-root", tmp_path, "--json")
    assert done.exit_code == 1
    assert [one["kind"] for one in json.loads(done.stdout)["findings"]] == ["blocklist_damaged"]
