import json
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.trace_root import document_batch
from gem_assets.takedown.blocklist import Blocklist, BlocklistError, parse_entry
from gem_assets.takedown.certificate import certify, checked_requests, request_takedown
from gem_assets.takedown.request import BLOCKED_BY
from tests.lineage.conftest import World

PAGE = "https://www1.site1.example/page/{}"


def test_the_account_of_a_takedown_does_not_wait_for_the_libraries_that_fit():
    heavy = ["torch", "sklearn", "numba", "matplotlib"]
    code = f"import sys, gem_assets.takedown.certificate; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def asked_for(world: World, *entries: str, **options):
    return request_takedown(world.made.store, world.made.tables, [parse_entry(one) for one in entries], **options)


def test_each_entry_has_its_own_line(world: World):
    made = asked_for(world, PAGE.format(4), PAGE.format(7), "https://mirror.example/copy", "source:site2.example",
                     "https://nowhere.example/")  # fmt: skip
    lines = {one.entry: one for one in made.asked}
    # page 4 was kept once and seen again at the mirror: one text with two places
    assert (lines[f"url:{PAGE.format(4)}"].documents, lines[f"url:{PAGE.format(4)}"].duplicates) == (1, 1)
    assert (lines[f"url:{PAGE.format(7)}"].documents, lines[f"url:{PAGE.format(7)}"].duplicates) == (1, 0)
    assert lines["url:https://mirror.example/copy"].documents == 1
    assert lines["source:site2.example"].documents == 30
    assert lines["url:https://nowhere.example/"].documents == 0
    mixtures = {one.split(" ")[0] for one in lines[f"url:{PAGE.format(7)}"].mixtures}
    assert mixtures == {"recipes/balanced", "training_order/balanced"}
    assert lines["url:https://nowhere.example/"].mixtures == ()
    assert made.state == "pending"


@pytest.mark.parametrize(
    ("entry", "near"),
    [
        (PAGE.format("7/"), {("https://www1.site1.example/page/7", "trailing slash")}),
        ("https://site1.example/page/7", {("https://www1.site1.example/page/7", "subdomain")}),
        (PAGE.format("7").replace("page", "Page"), {("https://www1.site1.example/page/7", "case")}),
        (PAGE.format("7?utm=1"), {("https://www1.site1.example/page/7", "query")}),
        (PAGE.format("7").replace("example/", "example:8080/"), {("https://www1.site1.example/page/7", "port")}),
        ("http://www1.site1.example:443/page/7", {("https://www1.site1.example/page/7", "scheme, port")}),
        (
            PAGE.format("index.html").replace("page", "page/7"),
            {("https://www1.site1.example/page/7", "name of the index page")},
        ),
        ("https://site1.example/page/7/", {("https://www1.site1.example/page/7", "subdomain, trailing slash")}),
        ("https://www1.site1.example/page", {("prefix:https://www1.site1.example/page", "it is below that address")}),
        ("https://www1.site1.example/other", {("domain:www1.site1.example", "another page of the site")}),
        ("www.site1.example", {("domain:www1.site1.example", "subdomain")}),
        ("source:site-1 example", {("source:site1.example", "spelling")}),
        ("source:site1", {("source:site1.example", "a part of the name")}),
        ("https://nowhere.example/", set()),
    ],
)
def test_what_matched_nothing_is_named_with_what_lies_near_it(world: World, entry, near):
    made = asked_for(world, entry)
    (line,) = made.asked
    assert (line.documents, made.documents, made.state) == (0, 0, "nothing was found")
    assert {(one.what, one.differs) for one in line.near} == near
    assert all(one.documents > 0 for one in line.near)
    # it stays on the list, and nothing else is touched
    (request,) = Blocklist(world.made.root).requests()
    assert (request.documents, request.copies) == ((), ())


def commit_without(world: World, snapshot: str, refused: set[str], blocked: tuple[str, ...]) -> None:
    """Put a result in the place of a snapshot that lacks some documents, as an ingest with a blocklist does."""
    store = world.made.store
    before = store.current("raw_shards", snapshot)
    with store.write("raw_shards", blocked[0][:32] + "0" * 32, partition=snapshot) as draft:
        for path in before.path.glob("*.parquet"):
            rows = pq.read_table(path)
            if "doc_id" in rows.column_names:
                rows = rows.filter(
                    pa.array([one not in refused for one in rows.column("doc_id").to_pylist()], pa.bool_())
                )
            pq.write_table(rows, draft.path / path.name)
        draft.metrics = {BLOCKED_BY: list(blocked)}


SPELLINGS = ["https://ｗｗｗ.rights.example/mission", "https://www.rights.example/ri%67hts",
             "https:\\\\www.rights.example\\back",
             "www.rights.example/bare", "HTTPS://WWW.Rights.Example:443/./port#x"]  # fmt: skip
HELD = ["http://www.rights.example/mission", "https://www.rights.example/rights", "https://www.rights.example/back",
        "https://www.rights.example/bare", None]  # fmt: skip


def rights_holders(world: World) -> list[str]:
    """Documents of one holder, spelled otherwise than in the request; the last has its address in its source."""
    batch = document_batch("2026-07", [f"Text {i} of a holder of rights." for i in range(5)], HELD, [None] * 5)
    sources = ["a", "b", "c", "d", "https://www.rights.example/port"]
    batch = batch.set_column(batch.schema.get_field_index("source"), batch.schema.field("source"), pa.array(sources))
    world.made.snapshot("2026-07", [batch], landed=b"rights")
    return batch.column("doc_id").to_pylist()


@pytest.mark.parametrize("together", [True, False])
def test_complete_means_that_a_search_of_all_texts_found_nothing(world: World, together):
    ids = rights_holders(world)
    requests = [SPELLINGS] if together else [[one] for one in SPELLINGS]
    made = [asked_for(world, *entries) for entries in requests]
    assert sum(one.documents for one in made) == len(ids)
    assert {one.state for one in made} == {"pending"}
    entries = tuple(entry.id for request in Blocklist(world.made.root).requests() for entry in request.entries)
    # with one of them left in force nothing is complete but what concerns the others
    commit_without(world, "2026-07", set(ids[1:]), entries)
    assert sorted(one.state for one in certify(world.made.store, world.made.tables)).count("pending") == 1
    commit_without(world, "2026-07", set(ids), entries[::-1])
    done = certify(world.made.store, world.made.tables)
    assert {one.state for one in done} == {"complete"}
    assert all(line.documents == 1 and line.kept_out_of == ("2026-07",) for one in done for line in one.asked)


def test_the_count_of_a_request_outlives_the_versions_that_showed_it(world: World):
    ids = rights_holders(world)
    asked_for(world, *SPELLINGS, "https://www.rights.example/never")
    (request,) = Blocklist(world.made.root).requests()
    old = world.made.store.current("raw_shards", "2026-07")
    commit_without(world, "2026-07", set(ids), tuple(entry.id for entry in request.entries))
    world.made.store.discard("raw_shards", old.identity, "2026-07")
    shutil.rmtree(world.made.root / "takedowns")
    (found,) = certify(world.made.store, world.made.tables)
    assert found.state == "partly found"
    assert sorted(line.documents for line in found.asked) == [0, 1, 1, 1, 1, 1]


def test_certificates_name_how_far_the_list_reached(world: World):
    first = asked_for(world, PAGE.format(7))
    second = asked_for(world, PAGE.format(10))
    assert (first.blocklist.lines, second.blocklist.lines) == (1, 2)
    assert first.blocklist.digest != second.blocklist.digest
    assert len(checked_requests(world.made.store)) == 2


def test_a_list_and_head_that_were_both_set_back_are_told_by_the_certificates(world: World):
    root = world.made.root
    asked_for(world, PAGE.format(7))
    kept = {name: (root / name).read_bytes() for name in ("blocklist.jsonl", "blocklist.head.json")}
    asked_for(world, PAGE.format(10))
    for name, data in kept.items():
        (root / name).write_bytes(data)
    assert len(Blocklist(root).requests()) == 1
    for use in (lambda: checked_requests(world.made.store), lambda: certify(world.made.store, world.made.tables),
                lambda: asked_for(world, PAGE.format(13))):  # fmt: skip
        with pytest.raises(BlocklistError, match=r"it lacks request .* is the certificate"):
            use()


def test_a_list_that_was_begun_anew_is_told_by_the_certificates(world: World):
    root = world.made.root
    made = asked_for(world, PAGE.format(7))
    line = json.loads((root / "blocklist.jsonl").read_bytes())
    for name in ("blocklist.jsonl", "blocklist.head.json"):
        (root / name).unlink()
    request = Blocklist(root)
    request.append(request_of(line, reason="another"))
    with pytest.raises(BlocklistError, match=f"{made.request}.json names"):
        checked_requests(world.made.store)


def request_of(line, **changes):
    from gem_assets.takedown.blocklist import BlockRequest

    return BlockRequest.model_validate({key: value for key, value in (line | changes).items() if key != "previous"})


def test_a_list_that_vanished_with_all_its_records_is_told_by_the_snapshots(world: World):
    root = world.made.root
    ids = rights_holders(world)
    asked_for(world, SPELLINGS[0])
    (request,) = Blocklist(root).requests()
    commit_without(world, "2026-07", {ids[0]}, (request.entries[0].id,))
    for name in ("blocklist.jsonl", "blocklist.head.json"):
        (root / name).unlink()
    shutil.rmtree(root / "takedowns")
    with pytest.raises(BlocklistError, match=r"by which rows of 2026-07 were refused"):
        checked_requests(world.made.store)
