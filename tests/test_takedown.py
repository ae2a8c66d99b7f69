"""A takedown on a whole small graph: out of everything in force, accounted for, and nothing else touched."""

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.lineage import proof_check
from gem_assets.maintenance.doctor import examine
from gem_assets.takedown.blocklist import Blocklist, parse_entry
from gem_assets.takedown.certificate import certify, read_certificate, request_takedown
from gem_assets.takedown.in_force import live_rows
from gem_assets.takedown.purge import PurgeRefusedError, purge
from gem_assets.takedown.request import stale_snapshots, unapplied
from resources import StoreResource
from tests.direct import CORE, run_graph, write_small_settings
from tests.direct import REFRESHED as REFRESHED_CORE
from tests.tiny import land_jsonl, land_parquet, passages

pytestmark = pytest.mark.slow
COPY = "https://copy.invalid/again"
ORDERS = ("training_order/proportional", "mixture_audit/proportional")
ASSETS = (*CORE, *ORDERS)
# what the daemon runs: fitted things stay
REFRESHED = (*REFRESHED_CORE, *ORDERS)


def plain_passages() -> list[dict[str, str]]:
    """Passages whose addresses differ in more than the fragment, which is no part of an address here."""
    return [{**row, "url": row["url"].replace("#", "/")} for row in passages()]


SECRET = "sk-this-key-must-not-be-written-anywhere"


class Lines(logging.Handler):
    """Everything that is logged, at any level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def logged():
    lines, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEM_NAMER_API_KEY", SECRET)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield lines.lines
    root.removeHandler(lines)
    root.setLevel(level)


@pytest.fixture(scope="module")
def world(tmp_path_factory, logged):
    """Three snapshots; the second repeats a text of the first at another address; a takedown of the first's address."""
    root = tmp_path_factory.mktemp("takedown")
    write_small_settings(root)
    rows = plain_passages()[:240]
    wanted = rows[7]
    land_parquet(root, "2026-01", rows[:100])
    land_jsonl(root, "2026-02", [*rows[100:180], {**wanted, "url": COPY, "text": wanted["text"].upper()}])
    land_parquet(root, "2026-03", rows[180:])
    run_graph(root, ASSETS)
    store = StoreResource(root=str(root))
    before = {s: store.input("raw_shards", s).identity for s in ("2026-01", "2026-02", "2026-03")}
    labels = store.input("student_labels", "2026-03").identity
    made = request_takedown(store.artifacts, store.tables, [parse_entry(wanted["url"])], reason="ticket 1")
    stale = stale_snapshots(str(root))
    computed = run_graph(root, REFRESHED)
    return {
        "root": root, "store": store, "wanted": wanted, "before": before, "labels": labels, "made": made,
        "stale": stale, "computed": computed,
    }  # fmt: skip


def test_the_request_is_pending_and_names_every_mixture_that_held_the_document(world):
    made = world["made"]
    assert made.state == "pending"
    assert made.documents == 2
    assert {(place.snapshot, place.url, place.asked) for place in made.places} == {
        ("2026-01", world["wanted"]["url"], True), ("2026-02", COPY, False),
    }  # fmt: skip
    held = {one.asset: one for one in made.held_by}
    assert set(held) == {
        "recipes/proportional", "recipes/balanced", "training_order/proportional",
    } | ({"training_order/balanced"} & set(held))  # fmt: skip
    # proportional: every token once
    assert held["recipes/proportional"].exposures == pytest.approx(1.0)
    assert held["recipes/proportional"].documents == 1
    assert 0 < held["recipes/balanced"].exposures < 4
    assert held["training_order/proportional"].exposures == 1
    assert made.reason == "ticket 1"


def test_exactly_the_snapshots_that_it_concerns_are_stale(world):
    assert set(world["stale"]) == {"2026-01", "2026-02"}
    assert stale_snapshots(str(world["root"])) == {}
    store = world["store"]
    after = {s: store.input("raw_shards", s).identity for s in world["before"]}
    assert {s for s in after if after[s] != world["before"][s]} == {"2026-01", "2026-02"}
    assert store.input("student_labels", "2026-03").identity == world["labels"]
    assert {snapshot for asset, snapshot in world["computed"] if snapshot} == {"2026-01", "2026-02"}


def test_nothing_in_force_holds_it_any_more(world):
    store = world["store"]
    (request,) = Blocklist(world["root"]).requests()
    checked = list(live_rows(store.artifacts, store.tables, request))
    assert {one.where for one in checked if one.rows} == set()
    assert {one.where for one in checked} >= {
        "raw_shards[2026-01]", "raw_shards[2026-02]", "gis_taxonomy", "training_order/balanced",
        "training_order/proportional", "mixture_audit/proportional",
    }  # fmt: skip
    assert sum(one.where.startswith("table ") for one in checked) == 2
    # and neither does any byte of it, but for the account of it
    text = world["wanted"]["text"].split("\n")[0].encode()
    for asset in store.artifacts.assets():
        for partition in store.artifacts.places(asset):
            current = store.artifacts.current(asset, partition)
            for path in current.path.rglob("*.json"):
                assert world["wanted"]["url"].encode() not in path.read_bytes() or path.name == "lineage.json"
            for path in current.path.rglob("*.html"):
                assert text not in path.read_bytes()


def test_the_records_still_add_up(world):
    counts = world["store"].artifact(world["store"].input("raw_shards", "2026-01")).manifest
    assert counts.metrics["filtered_by_reason"]["blocked"] == 1
    total = sum(counts.counts[name] for name in ("kept", "duplicates", "filtered", "quarantined"))
    assert counts.counts["read"] == total == 100


def test_no_text_of_a_document_is_logged(world, logged):
    assert logged
    everything = "\n".join(logged)
    assert [row["url"] for row in plain_passages() if row["text"][:40] in everything] == []


def test_no_secret_is_written(world, logged):
    assert SECRET not in "\n".join(logged)
    files = [path for path in world["root"].rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_artifacts_are_data_and_never_pickles(world):
    artifacts = world["root"] / "artifacts"
    files = [path for path in artifacts.rglob("*") if path.is_file()]
    # the one piece of code: the checker of proofs in each audit pack, which nothing here imports or runs
    packs = [path.parent for path in artifacts.glob("mixture_audit*/**/audit.json")]
    checkers = {pack / "verify.py" for pack in packs}
    assert checkers
    assert {path.read_bytes() for path in checkers} == {Path(proof_check.__file__).read_bytes()}
    kinds = {path.suffix for path in files if path not in checkers and path.name not in ("CURRENT", "HISTORY", ".lock")}
    assert kinds <= {
        ".json",
        ".jsonl",
        ".parquet",
        ".safetensors",
        ".npy",
        ".npz",
        ".png",
        ".svg",
        ".html",
        ".md",
        ".csv",
        ".txt",
    }
    assert [path for path in files if path.read_bytes()[:1] == b"\x80" and path.suffix != ".safetensors"] == []


def test_a_later_crawl_does_not_bring_it_back(world, tmp_path):
    store, wanted = world["store"], world["wanted"]
    land_jsonl(world["root"], "2026-04", [{**wanted, "url": "https://elsewhere.invalid/"}, *plain_passages()[300:330]])
    run_graph(world["root"], ["raw_shards"])
    fresh = store.artifact(store.input("raw_shards", "2026-04"))
    assert fresh.manifest.metrics["filtered_by_reason"] == {"blocked": 1}
    assert unapplied(fresh, Blocklist(world["root"]).entries()) == frozenset()
    run_graph(world["root"], REFRESHED)


def test_the_certificate_is_complete_and_lists_each_recipe(world):
    store = world["store"]
    (certificate,) = certify(store.artifacts, store.tables)
    assert certificate.state == "complete"
    assert {one.asset for one in certificate.held_by} == {one.asset for one in world["made"].held_by}
    assert not any(one.in_force for one in certificate.held_by)
    replaced = {(one.asset, one.snapshot) for one in certificate.removed if one.after is not None}
    assert replaced == {(asset, "2026-01") for asset in ("raw_shards", "embeddings", "student_labels")}
    assert certificate == read_certificate(world["root"], certificate.request)
    assert any(one.where == "raw_shards[2026-01]" for one in certificate.still_on_disk)
    assert any(one.tags for one in certificate.still_on_disk if one.version is not None)
    assert certificate.landed_files == ("2026-01/pages.parquet", "2026-02/pages.jsonl.gz")
    assert world["wanted"]["text"][:60] not in certificate.to_bytes().decode()


def test_asking_again_changes_nothing_and_says_so(world):
    size = (world["root"] / "blocklist.jsonl").stat().st_size
    url = world["wanted"]["url"]
    done = CliRunner().invoke(app, ["takedown", url, "--data-root", str(world["root"])])
    assert done.exit_code == 0
    assert "on the blocklist already" in done.stderr
    assert ": complete" in done.stdout
    done = CliRunner().invoke(app, ["takedown", url, "--json", "--data-root", str(world["root"])])
    assert json.loads(done.stdout)["request"] == world["made"].request
    done = CliRunner().invoke(app, ["certificate", "--json", "--data-root", str(world["root"])])
    assert done.exit_code == 0, done.stderr
    assert [one["state"] for one in json.loads(done.stdout)] == ["complete"]
    assert (world["root"] / "blocklist.jsonl").stat().st_size == size


def test_purge_refuses_what_is_tagged_and_takes_it_away_when_forced(world):
    store: StoreResource = world["store"]
    requests = Blocklist(world["root"]).requests()
    (before,) = certify(store.artifacts, store.tables)
    with pytest.raises(PurgeRefusedError, match="--force"):
        purge(store, requests)
    (unchanged,) = certify(store.artifacts, store.tables)
    assert unchanged.still_on_disk == before.still_on_disk
    done = purge(store, requests, force=True)
    assert done.versions
    assert done.files > 0
    (after,) = certify(store.artifacts, store.tables)
    assert {one.where.split("/")[0] for one in after.still_on_disk} <= {"training_order", "mixture_audit"}
    # what the certificate said of the mixtures stays said
    assert {one.asset for one in after.held_by} == {one.asset for one in before.held_by}
    assert {place.url for place in after.places} == {place.url for place in before.places}
    text = world["wanted"]["text"].split("\n")[0].encode()
    assert not [p for p in Path(world["root"], "tables").rglob("*") if p.is_file() and text in p.read_bytes()]
    assert [f for f in examine(store) if f.severity == "error"] == []
    # the other snapshots stand: nothing of them is computed again
    assert run_graph(world["root"], REFRESHED) == []
    assert store.input("student_labels", "2026-03").identity == world["labels"]
