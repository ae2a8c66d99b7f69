from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.trace_root import document_batch
from gem_assets.ordering.config import OrderingConfig
from tests.lineage.conftest import ORDERING, World


def document(world: World, number: int) -> dict:
    path = world.made.current("raw_shards", "2026-01").path / "part-00000.parquet"
    return pq.read_table(path).slice(number, 1).to_pylist()[0]


def test_every_name_of_a_document_finds_it(world: World):
    page = document(world, 7)
    answers = [world.tracer.trace(page[name]) for name in ("doc_id", "url", "content_digest")]
    answers.append(world.tracer.trace(page["doc_id"].upper()))
    assert [a.found for a in answers] == [1, 1, 1, 1]
    assert len({a.documents for a in answers}) == 1
    place = answers[0].documents[0].places[0]
    assert (place.file, place.offset, place.kind) == ("pages.jsonl", 7, "kept")
    shard = pq.read_table(world.made.current("raw_shards", "2026-01").path / str(place.shard))
    assert shard.column("doc_id")[place.shard_row].as_py() == page["doc_id"]
    landed = world.made.current("raw_shards", "2026-01").manifest.inputs[0].files[0]
    assert place.file_sha256 == landed.sha256


@pytest.mark.parametrize(
    "spelling",
    ["HTTP://WWW1.SITE1.example/page/7", "//www1.site1.example/page/7", "www1.site1.example/%70age/7#top",
     "https:\\\\me@www1.ｓite1.example.\\x\\..\\page\\7", "https://www1.site1.example:443/./page/%37"],
)  # fmt: skip
def test_every_spelling_of_its_address_finds_it(world: World, spelling):
    page = document(world, 7)
    assert page["url"] == "https://www1.site1.example/page/7"
    assert [found.doc_id for found in world.tracer.trace(spelling).documents] == [page["doc_id"]]


@pytest.mark.parametrize("host", ["site1.example", "www1.site1.example:8080", "www2.site1.example"])
@pytest.mark.parametrize("path", ["page/7", "page/7/", "Page/7", "page/7?a", "page//7", "page%2F7"])
def test_no_other_address_does(world: World, host, path):
    assert world.tracer.trace(f"https://{host}/{path}").found == 0


def odd_places(made, urls: list[str | None], sources: list[str]) -> list[str]:
    batch = document_batch("2026-05", [f"Odd page {i} here." for i in range(len(urls))], urls, [None] * len(urls))
    batch = batch.set_column(batch.schema.get_field_index("source"), batch.schema.field("source"), pa.array(sources))
    made.snapshot("2026-05", [batch], landed=b"odd")
    return batch.column("doc_id").to_pylist()


def test_addresses_without_scheme_and_in_the_source_are_found(world: World):
    ids = odd_places(
        world.made, ["odd.example/a", None, "u17", "https://other.example/x#1", "https://other.example/x#2"],
        ["files", "https://odd.example/%62", "https://odd.example/c", "odd.example", "files"],
    )  # fmt: skip
    for query, expected in {
        "https://odd.example/a": ids[:1], "odd.example/b": ids[1:2], "https://odd.example/c": ids[2:3],
        "u17": ids[2:3], "odd.example": ids[:4], "ODD.example.": ids[:4], "other.example": ids[3:],
        "other.example/x": ids[3:], "http://other.example/x#2": ids[4:], "https://odd.example/": [],
    }.items():  # fmt: skip
        assert sorted(found.doc_id for found in world.tracer.trace(query).documents) == sorted(expected), query


def test_a_copy_in_another_snapshot_leads_to_the_text_that_is_kept(world: World):
    page = document(world, 4)
    for name in ("https://mirror.example/copy", "a" * 32, page["url"]):
        (found,) = world.tracer.trace(name).documents
        assert found.doc_id == page["doc_id"]
        assert [(p.snapshot, p.kind) for p in found.places] == [("2026-01", "kept"), ("2026-02", "exact_across")]


def test_what_was_refused_or_could_not_be_read_is_said(world: World):
    refused = world.tracer.trace("https://blocked.example/x").documents[0]
    assert [p.kind for p in refused.places] == ["filtered: too_short"]
    assert (refused.labels, refused.mixtures) == ((), ())
    broken = world.tracer.trace("https://broken.example/").documents[0]
    assert [(p.kind, p.doc_id) for p in broken.places] == [("quarantined: damaged_json", None)]


def test_each_version_of_labels_and_mixtures_keeps_its_own_answer(world: World):
    page = document(world, 5)
    world.made.label("2026-01", (np.arange(60) % 3 == 0).astype(np.int16), model="two")
    world.made.label("2026-02", np.zeros(30, np.int16), model="two")
    world.made.recipe("balanced", {0: 0.9, 1: 0.1}, 4000)
    (found,) = world.tracer.trace(page["url"]).documents
    assert [(x.cluster, x.name, x.current) for x in found.labels] == [(2, "topic 2", False), (0, "topic 0", True)]
    old, new = found.mixtures
    assert (old.cluster, old.current, len(old.orders)) == (2, False, 1)
    assert (new.cluster, new.current, new.orders) == (0, True, ())
    tokens = [document(world, i)["n_tokens"] for i in range(60)]
    assert old.expected == pytest.approx(0.5 * 4000 / sum(tokens[2::3]))


def test_positions_are_those_of_the_order(world: World):
    shown = pq.read_table(next(world.made.current("training_order/balanced").path.glob("part-*.parquet")))
    for number in range(0, 60, 7):
        page = document(world, number)
        (exposure,) = world.tracer.trace(page["doc_id"]).documents[0].mixtures
        (order,) = exposure.orders
        expected = [p for p, d in enumerate(shown.column("doc_id").to_pylist()) if d == page["doc_id"]]
        assert list(order.positions) == expected
        assert order.times == len(expected)
        assert abs(order.times - order.expected) < 1
        assert order.rows == len(shown)


def test_expected_exposures_follow_the_weights_of_a_rehydrated_order(world: World):
    config = OrderingConfig(**{**ORDERING.model_dump(), "rehydrate": {1: 1.0, 2: 3.0}})
    made = world.made
    batch = pq.read_table(next(made.current("raw_shards", "2026-01").path.glob("part-*.parquet"))).to_batches()[0]
    counts = np.where(np.arange(60) < 30, 1, 2).astype(np.int32)
    for name, values in (("dup_count", pa.array(counts)), ("snapshot", pa.array(["2026-03"] * 60))):
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, batch.schema.field(place), values)
    made.snapshot("2026-03", [batch], landed=b"again")
    for name in made.store.partitions("student_labels"):
        made.store.remove("student_labels", name)
    made.label("2026-03", np.zeros(60, np.int16))
    made.recipe("balanced", {0: 1.0}, 4000)
    order = made.order("balanced", config)
    tokens = batch.column("n_tokens").to_numpy()
    rate = 4000 / (tokens * np.where(counts == 1, 1.0, 3.0)).sum()
    times = Counter(pq.read_table(next(order.path.glob("part-*.parquet"))).column("doc_id").to_pylist())
    for number, weight in ((3, 1.0), (40, 3.0)):
        page = document(world, number)
        found = next(m for m in world.tracer.trace(page["doc_id"]).documents[0].mixtures if m.current)
        assert found.orders[0].expected == pytest.approx(weight * rate)
        assert found.orders[0].times == times[page["doc_id"]]


def test_a_domain_sums_over_what_is_below_it_and_over_nothing_beside(world: World):
    whole, sub, source = (world.tracer.trace(q) for q in ("site1.example", "www1.site1.example", "SITE1.example"))
    assert whole.domain is not None
    assert sub.domain is not None
    assert whole.domain.documents == sub.domain.documents == 20 + 10
    assert whole.domain.by_snapshot == {"2026-01": 20, "2026-02": 10}
    assert source.found == whole.found == 30
    assert world.tracer.trace("ite1.example").found == 0
    (mixture,) = whole.domain.mixtures
    shown = pq.read_table(next(world.made.current("training_order/balanced").path.glob("part-*.parquet")))
    pages = {document(world, i)["doc_id"]: i for i in range(60)}
    own = [
        (d, t) for d, t in zip(shown["doc_id"].to_pylist(), shown["n_tokens"].to_pylist(), strict=True)
        if pages[d] % 3 == 1
    ]  # fmt: skip
    assert mixture.documents == 20
    assert mixture.shown_exposures == len(own)
    assert mixture.shown_tokens == sum(t for _, t in own)
    assert mixture.token_share == pytest.approx(0.3)
    refused = world.tracer.trace("blocked.example").domain
    assert refused is not None
    assert (refused.documents, refused.places) == (0, 1)


@pytest.mark.parametrize(
    ("query", "there_is", "differs"),
    [
        ("https://www1.site1.example/page/7/", "https://www1.site1.example/page/7", "trailing slash"),
        ("www1.site1.example/PAGE/7", "https://www1.site1.example/page/7", "case"),
        ("https://www1.site1.example/page/7?x", "https://www1.site1.example/page/7", "query"),
        ("https://www1.site1.example/nothing", "domain:www1.site1.example", "another page of the site"),
        ("www9.site1.example", "domain:www1.site1.example", "subdomain"),
    ],
)
def test_where_nothing_is_found_the_near_misses_are_named_and_can_be_traced(world: World, query, there_is, differs):
    answer = world.tracer.trace(query)
    assert (answer.found, answer.domain) == (0, None)
    assert (there_is, differs) in [(near.what, near.differs) for near in answer.near]
    for near in answer.near:
        assert world.tracer.trace(near.what).found
    assert world.tracer.trace("https://www1.site1.example/page/7").near == ()


def test_a_name_may_say_what_kind_it_is_of(world: World):
    page = document(world, 7)
    names = [f"url:{page['url']}", f"doc_id:{page['doc_id']}", f"CONTENT:{page['content_digest']}"]
    assert [world.tracer.trace(name).documents[0].doc_id for name in names] == [page["doc_id"]] * 3
    whole = world.tracer.trace("site1.example").domain
    assert whole is not None
    assert world.tracer.trace("domain:site1.example").found == world.tracer.trace("site1.example").found
    assert world.tracer.trace(f"source:{page['source']}").found == world.tracer.trace(page["source"]).found > 0


def test_what_is_not_there_is_not_found(world: World):
    answer = world.tracer.trace("https://nowhere.example/")
    assert (answer.found, answer.documents, answer.domain) == (0, (), None)
