import json

import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.settings import load_settings
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import digest
from resources import EngineResource, StoreResource
from tests.direct import ingest_once, write_small_settings
from tests.tiny import land_jsonl, passages


def test_a_result_of_an_asset_that_is_no_more_does_not_stop_a_takedown(tmp_path):
    write_small_settings(tmp_path)
    (tmp_path / "landing").mkdir()
    with ArtifactStore(tmp_path).write("cluster_report/of_an_earlier_version", digest("x")) as draft:
        (draft.path / "report.json").write_text("{}")
    result = CliRunner().invoke(
        app, ["takedown", "https://example.invalid/page", "--apply", "--data-root", str(tmp_path)]
    )
    assert "no asset" not in result.output
    # nothing was there to be found, and that shows too
    assert result.exit_code == 1, result.output
    assert "nothing was found" in result.output
    assert "complete" not in result.output


@pytest.fixture
def root(tmp_path):
    write_small_settings(tmp_path)
    rows = [{**row, "url": url} for row, url in zip(passages(), HELD, strict=False)]
    land_jsonl(tmp_path, "s1", rows)
    ingest_once(StoreResource(root=str(tmp_path)), EngineResource(kind="inline"), load_settings(tmp_path), "s1")
    return tmp_path


HELD = ["https://www.holder.example/mission/", "https://holder.example/rights", "https://other.example/x"]


def gem(root, *arguments):
    return CliRunner().invoke(app, [*arguments, "--data-root", str(root)])


def test_what_was_not_found_is_named_and_shows_in_the_exit_code(root):
    done = gem(root, "takedown", "https://holder.example/ri%67hts", "https://www.holder.example/mission")
    assert done.exit_code == 1
    assert "url:https://holder.example/rights: documents 1, duplicates 0, mixtures 0" in done.output
    assert "url:https://www.holder.example/mission: nothing was found" in done.output
    assert "not taken down https://www.holder.example/mission/: trailing slash" in done.output
    assert "complete" not in done.output


def test_the_certificate_of_nothing_says_so(root):
    for entry in ("https://www.other.example/x", "missing.example", "source:missing", "doc_id:" + "0" * 32):
        assert gem(root, "takedown", entry).exit_code == 1
    done = gem(root, "certificate", "--json")
    assert done.exit_code == 1
    assert [one["state"] for one in json.loads(done.stdout)] == ["nothing was found"] * 4


def test_a_request_that_finds_all_it_asks_for_is_accepted(root):
    done = gem(root, "takedown", "holder.example", "HTTP://OTHER.example:80/%78")
    assert done.exit_code == 0, done.output
    assert "documents      3, duplicates included" in done.output


def test_a_list_may_hold_comments_and_the_mark_of_an_editor(root):
    listed = root / "requests.txt"
    listed.write_text(
        "\ufeff# ticket 1\nhttps://holder.example/rights#top  # seen on Monday\n\n  other.example\t# all\n"
    )
    done = gem(root, "takedown", "--file", str(listed), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["entries"] == ["domain:other.example", "url:https://holder.example/rights"]


def test_what_would_hit_everybody_is_refused_and_writes_nothing(root):
    for entry in ("co.uk", "com", "*.de", "https://a.example/x https://b.example/y", ""):
        done = gem(root, "takedown", entry)
        assert done.exit_code != 0
        assert "Traceback" not in done.output
    assert not (root / "blocklist.jsonl").exists()


def test_a_damaged_list_is_said_by_every_command_that_needs_it(root):
    assert gem(root, "takedown", "other.example").exit_code == 0
    (root / "blocklist.jsonl").write_bytes(b"")
    for command in (["takedown", "holder.example"], ["certificate"], ["purge"], ["doctor"]):
        done = gem(root, *command)
        assert done.exit_code == 1, command
        assert "blocklist" in done.output
        assert "backup" in " ".join(done.output.split())
        assert "not foreseen" not in done.output


def test_asking_again_shows_every_request_that_it_was_part_of(root):
    for entry in ("https://holder.example/rights", "other.example"):
        assert gem(root, "takedown", entry).exit_code == 0
    again = gem(root, "takedown", "other.example", "holder.example/rights")
    assert again.exit_code == 0
    assert "on the blocklist already" in again.stderr
    assert again.stdout.count("Request ") == 2
    listed = gem(root, "takedown", "other.example", "holder.example/rights", "--json")
    assert [one["entries"] for one in json.loads(listed.stdout)] == [
        ["url:https://holder.example/rights"], ["domain:other.example"],
    ]  # fmt: skip


DAMAGES = {
    "list deleted": ["blocklist.jsonl"],
    "list and head record deleted": ["blocklist.jsonl", "blocklist.head.json"],
    "head record deleted": ["blocklist.head.json"],
}


@pytest.mark.parametrize("lost", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_list_shows_in_the_status_and_holds_only_what_needs_it(root, lost):
    assert gem(root, "takedown", "https://holder.example/rights").exit_code == 0
    assert "is damaged" not in gem(root, "status").output
    kept = {name: (root / name).read_bytes() for name in lost}
    for name in lost:
        (root / name).unlink()
    shown = gem(root, "status")
    assert shown.exit_code == 0
    assert "The blocklist is damaged" in shown.output
    assert "from a backup" in shown.output
    assert "blocklist.jsonl" in json.loads(gem(root, "status", "--json").stdout)["blocklist_problem"]
    plan = gem(root, "plan", "--json")
    assert plan.exit_code == 0, plan.output
    tasks = {task["asset"]: task for task in json.loads(plan.stdout)["tasks"]}
    assert tasks["raw_shards"]["state"] == "held"
    assert tasks["raw_shards"]["because"].startswith(str(root / "blocklist.jsonl"))
    assert tasks["page_history"]["state"] == "ready"
    for name, data in kept.items():
        (root / name).write_bytes(data)
    assert json.loads(gem(root, "status", "--json").stdout)["blocklist_problem"] is None
    tasks = {task["asset"]: task for task in json.loads(gem(root, "plan", "--json").stdout)["tasks"]}
    assert tasks["raw_shards"]["state"] == "ready"


def test_an_older_list_with_its_own_head_record_is_taken_by_no_command(root):
    gem(root, "takedown", "https://holder.example/rights")
    older = {path: path.read_bytes() for path in root.glob("blocklist*")}
    gem(root, "takedown", "other.example")
    for path, data in older.items():
        path.write_bytes(data)
    for command in (["purge"], ["purge", "--dry-run"], ["certificate"], ["takedown", "third.example"]):
        done = gem(root, *command)
        assert done.exit_code == 1, done.output
        assert "it lacks request" in " ".join(done.output.split())
    assert "is damaged" in gem(root, "status").output
    assert {path: path.read_bytes() for path in older} == older


def test_a_list_that_vanished_with_all_certificates_shows_in_the_status(root):
    assert gem(root, "takedown", "https://holder.example/rights").exit_code == 0
    ingest_once(StoreResource(root=str(root)), EngineResource(kind="inline"), load_settings(root), "s1")
    for path in (*root.glob("blocklist*"), *root.glob("takedowns/*")):
        path.unlink()
    (root / "takedowns").rmdir()
    assert "The blocklist is damaged" in gem(root, "status").output


def test_a_site_that_was_taken_down_can_still_be_traced(root):
    told = json.loads(gem(root, "takedown", "other.example", "--json").stdout)
    ingest_once(StoreResource(root=str(root)), EngineResource(kind="inline"), load_settings(root), "s1")
    assert gem(root, "certificate").exit_code == 0
    for name in ("other.example", "domain:OTHER.example.", "https://other.example/x"):
        done = gem(root, "trace", name)
        assert done.exit_code == 0, done.output
        assert told["places"][0]["doc_id"] in done.output
        assert "filtered: blocked" in done.output
    near = gem(root, "trace", "https://holder.example/mission")
    assert near.exit_code == 1
    assert "there is https://www.holder.example/mission/: " in near.output


def test_a_trace_of_what_was_never_held_names_the_request_that_keeps_it_out(root):
    told = json.loads(gem(root, "takedown", "https://later.example/p", "--json").stdout)
    done = gem(root, "trace", "HTTP://later.example:80/%70")
    assert done.exit_code == 1
    assert f"Request {told['request']} keeps it out" in done.output
    assert "keeps it out" not in gem(root, "trace", "https://later.example/q").output


def test_what_waits_for_nothing_but_a_purge_is_not_told_to_wait(root):
    gem(root, "takedown", "other.example")
    assert "makes the stale results again" in gem(root, "certificate").output
    ingest_once(StoreResource(root=str(root)), EngineResource(kind="inline"), load_settings(root), "s1")
    assert "makes the stale results again" not in gem(root, "certificate").output
