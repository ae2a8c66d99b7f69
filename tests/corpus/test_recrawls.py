"""Pages over snapshots: counts, history by content digest, and what each policy leaves out."""

from collections import Counter
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.corpus.addresses import canonical_url
from gem_assets.corpus.recrawls import RecrawlConfig, Selection, describe_recrawls, publish_history
from gem_assets.corpus.schema import DUPLICATE_SCHEMA

CATEGORIES = ("first_seen", "unchanged", "edited", "returned")
KEPT = pa.schema([(name, pa.string()) for name in ("doc_id", "snapshot", "url", "content_digest")])
PLACES = pa.schema([DUPLICATE_SCHEMA.field(name).with_nullable(True) for name in DUPLICATE_SCHEMA.names])


def ingested(folder, crawls):
    """Write what ingest leaves of crawls: each text once, where it was seen first, and a place for each repetition."""
    owner, documents, duplicates = {}, {}, {}
    for name, pages in crawls.items():
        kept, places = [], []
        for url, text in pages:
            digest = sha256(text.encode()).hexdigest()
            if digest in owner:
                places.append({"snapshot": name, "url": url, "content_digest": digest, "kept_snapshot": owner[digest]})
            else:
                owner[digest] = name
                kept.append({"doc_id": digest[:32], "snapshot": name, "url": url, "content_digest": digest})
        (folder / name).mkdir(parents=True)
        documents[name], duplicates[name] = [folder / name / "part-0.parquet"], folder / name / "duplicates.parquet"
        pq.write_table(pa.Table.from_pylist(kept, KEPT), documents[name][0])
        pq.write_table(pa.Table.from_pylist(places, PLACES), duplicates[name])
    return documents, duplicates


def followed(tmp_path, crawls, use="all"):
    out = tmp_path / use
    out.mkdir()
    report = publish_history(*ingested(tmp_path / f"in-{use}", crawls), RecrawlConfig(use=use), out, tmp_path)
    return out, report


CRAWLS = {
    "01": [("a", "one"), ("b", "two"), ("c", "three"), (None, "nameless")],
    "02": [("a", "one"), ("b", "two, edited"), ("d", "four")],
    "03": [("a", "one, edited"), ("b", "two"), ("c", "three"), ("e", "four")],
}


def test_pages_are_counted_by_what_became_of_them(tmp_path):
    out, report = followed(tmp_path, CRAWLS)
    rows = [tuple(row.values()) for row in describe_recrawls(out)]
    # snapshot, pages, first seen, unchanged, edited, returned, gone, without url
    assert rows == [("01", 3, 3, 0, 0, 0, 0, 1), ("02", 3, 1, 1, 1, 0, 1, 0), ("03", 4, 1, 0, 2, 1, 1, 0)]
    assert (report.pages, report.superseded) == (5, 0)
    history = pq.read_table(out / "pages.parquet").to_pylist()
    assert [(h["first_snapshot"], h["last_snapshot"], h["snapshots"]) for h in history if h["url"] == "b"] == [
        ("01", "03", 2),
        ("02", "02", 1),
    ]


@pytest.mark.parametrize(
    ("use", "left_out"),
    [("all", []), ("latest", ["one", "two, edited"]), ("first", ["one, edited", "two, edited"])],
)
def test_policies_leave_out_versions_that_no_page_shows_in_the_wanted_place(tmp_path, use, left_out):
    out, report = followed(tmp_path, CRAWLS, use)
    wanted = sorted(sha256(text.encode()).hexdigest()[:32] for text in left_out)
    assert pq.read_table(out / "superseded.parquet").column("doc_id").to_pylist() == wanted
    assert report.superseded == len(left_out)


def test_selection_lets_the_rest_through_and_counts_what_it_leaves_out(tmp_path):
    out, _ = followed(tmp_path, CRAWLS, "latest")
    texts = ["one", "two", "two, edited", "nameless"]
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": [sha256(t.encode()).hexdigest()[:32] for t in texts], "n_tokens": [1, 2, 3, 4], "n_bytes": [10] * 4}
    )
    selection = Selection.read(out)
    (used,) = selection.used([batch])
    assert used.column("n_tokens").to_pylist() == [2, 4]
    assert (selection.documents, selection.tokens, selection.n_bytes) == (2, 4, 20)


def test_no_snapshot_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ingest one first"):
        publish_history({}, {}, RecrawlConfig(), tmp_path, tmp_path)


def counted_by_hand(crawls):
    rows, seen, before = [], set(), {}
    for name in sorted(crawls):
        now = {}
        for url, text in crawls[name]:
            if url is not None:
                now.setdefault(canonical_url(url), set()).add(text)
        kinds = Counter(
            "first_seen" if url not in seen else "returned" if url not in before
            else "unchanged" if before[url] == texts else "edited" for url, texts in now.items()
        )  # fmt: skip
        rows.append({
            "snapshot": name, "pages": len(now), **{kind: kinds[kind] for kind in CATEGORIES},
            "gone": len(before.keys() - now.keys()), "without_url": 0,
        })  # fmt: skip
        seen |= now.keys()
        before = now
    return rows


PAGES = ["https://a.example/x", "HTTP://A.example/%78", "https://a.example/x/", "https://www.a.example/x", "b"]
visits = st.lists(st.tuples(st.sampled_from(PAGES), st.sampled_from(["one", "two", "three"])), max_size=5)


@settings(max_examples=30)
@given(st.lists(visits, min_size=1, max_size=5))
def test_each_page_of_a_snapshot_is_in_one_category_and_all_add_up(tmp_path_factory, crawled):
    crawls = {f"{number:02}": pages for number, pages in enumerate(crawled)}
    out, report = followed(tmp_path_factory.mktemp("history"), crawls)
    rows = describe_recrawls(out)
    assert rows == counted_by_hand(crawls)
    before = 0
    for row in rows:
        assert row["pages"] == sum(row[kind] for kind in CATEGORIES)
        assert row["pages"] == before - row["gone"] + row["first_seen"] + row["returned"]
        before = row["pages"]
    assert report.pages == len({canonical_url(url) for pages in crawled for url, _ in pages})


def test_a_page_that_returned_edited_is_counted_once(tmp_path):
    url = "https://a.example/"
    out, _ = followed(tmp_path, {"1": [(url, "one")], "2": [("https://b.example/", "x")], "3": [(url, "two")]})
    assert describe_recrawls(out)[2] == {
        "snapshot": "3", "pages": 1, "first_seen": 0, "unchanged": 0, "edited": 0, "returned": 1, "gone": 1,
        "without_url": 0,
    }  # fmt: skip


def test_passages_that_differ_in_the_fragment_are_pages_of_their_own(tmp_path):
    crawls = {"1": [("https://a.example/x#1", "one")], "2": [("https://a.example/x#2", "two")]}
    out, report = followed(tmp_path, crawls, "latest")
    assert (report.pages, report.superseded) == (2, 0)
    assert pq.read_table(out / "pages.parquet").column("url").to_pylist() == [c[0][0] for c in crawls.values()]


def test_a_real_site_over_six_states(shared_corpora, tmp_path):
    rows = pq.read_table(shared_corpora / "snapshots" / "tldr_recrawls.parquet", columns=["snapshot", "url", "text"])
    crawls = {}
    for row in rows.to_pylist():
        crawls.setdefault(row["snapshot"], []).append((row["url"], row["text"]))
    out, report = followed(tmp_path, crawls, "latest")
    expected = counted_by_hand(crawls)
    assert all(len(dict(pages)) == len(pages) for pages in crawls.values())
    assert describe_recrawls(out) == expected
    seen = {url: text for name in sorted(crawls) for url, text in crawls[name]}
    texts = {text for pages in crawls.values() for _, text in pages}
    assert report.pages == len(seen)
    assert report.superseded == len(texts - set(seen.values()))


def test_a_history_that_does_not_tell_snapshots_apart_is_read_whole(tmp_path):
    out, _ = followed(tmp_path, {"a": [("u", "one"), ("v", "two")], "b": [("u", "new one"), ("v", "two")]}, "latest")
    newer = Selection.read(out, "a")
    path = out / "superseded.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["snapshot"]), path)
    assert Selection.read(out, "a").superseded.equals(newer.superseded)
