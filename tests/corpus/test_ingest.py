import gzip
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gem_assets.corpus.config import CorpusConfig, NearDuplicates, QualityFilters
from gem_assets.corpus.dedup.known import NothingKnown, ParquetKnown
from gem_assets.corpus.ingest import ingest_snapshot
from gem_assets.corpus.landing import LandingError
from gem_assets.corpus.report import AccountingError
from gem_assets.corpus.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA, FILTERED_SCHEMA, QUARANTINE_SCHEMA
from gem_assets.corpus.shards import shard_paths
from gem_assets.corpus.text.cleaning import content_digest, document_id
from tests.corpus.making import bytes_of, ingest, jsonl, members, parquet, prose, response, rows, write


def test_one_snapshot_of_three_formats(tmp_path):
    files = {
        "web/crawl.warc.gz": members([response(prose(i), f"https://www.example.org/{i}") for i in range(4)]),
        "books.parquet": parquet({"text": [prose(10), prose(11)], "source": ["shelf", None], "lang": ["en", None]}),
        "notes/more.jsonl": jsonl([{"text": prose(20), "label": "x", "license": "CC0-1.0", "date": "2026-01-01"}]),
    }
    report, out = ingest(tmp_path, files)
    assert (report.n_files, report.read, report.kept, report.n_duplicates) == (3, 7, 7, 0)
    found = rows(out)
    assert [pq.read_schema(path) for path in shard_paths(out)] == [DOCUMENT_SCHEMA]
    # canonical order: file name, then place in the file
    assert [row["file"] for row in found] == ["books.parquet"] * 2 + ["notes/more.jsonl"] + ["web/crawl.warc.gz"] * 4
    assert [row["source"] for row in found] == ["shelf", "books", "notes"] + ["example.org"] * 4
    assert [row["offset"] for row in found[:3]] == [0, 1, 0]
    one = found[2]
    assert (one["label"], one["license"], one["date"], one["url"]) == ("x", "CC0-1.0", "2026-01-01", None)
    assert one["text"] == prose(20)
    assert one["content_digest"] == content_digest(prose(20))
    assert one["doc_id"] == document_id("notes", "notes/more.jsonl#0", prose(20))
    assert found[3]["doc_id"] == document_id("example.org", "https://www.example.org/0", prose(0))
    for row in found:
        assert row["snapshot"] == "s1"
        assert row["n_bytes"] == len(row["text"].encode())
        assert row["n_tokens"] >= 1
        assert row["dup_count"] == 1
        assert row["lang"]
        assert row["q_chars"] == len(row["text"])
    assert report.n_bytes == sum(row["n_bytes"] for row in found)
    assert report.n_tokens == sum(row["n_tokens"] for row in found)
    assert report.languages == dict(sorted(Counter(row["lang"] for row in found).items()))


def test_files_that_are_always_there(tmp_path):
    _, out = ingest(tmp_path, {"a.txt": prose(1).encode()})
    assert sorted(bytes_of(out)) == [
        "duplicates.parquet",
        "filtered.parquet",
        "part-00000.parquet",
        "quarantine.parquet",
    ]
    for name, schema in (
        ("duplicates", DUPLICATE_SCHEMA),
        ("filtered", FILTERED_SCHEMA),
        ("quarantine", QUARANTINE_SCHEMA),
    ):
        table = pq.read_table(out / f"{name}.parquet")
        assert (table.num_rows, table.schema) == (0, schema)


class TestEmptySnapshots:
    def test_no_files(self, tmp_path):
        report, out = ingest(tmp_path, {})
        assert (report.n_files, report.read, report.kept, report.shards) == (0, 0, 0, [])
        assert shard_paths(out) == []

    def test_files_without_a_document(self, tmp_path):
        report, out = ingest(tmp_path, {"a.jsonl": b"", "b.txt": b"tiny"})
        assert (report.n_files, report.read, report.kept) == (2, 2, 0)
        assert report.quarantined == {"empty_file": 1}
        assert report.filtered == {"too_short": 1}
        assert [row["reason"] for row in rows(out, "filtered")] == ["too_short"]

    def test_missing_mark(self, tmp_path):
        write(tmp_path / "landing" / "s1", {"a.txt": b"x"}, success=False)
        with pytest.raises(LandingError, match="no _SUCCESS"):
            ingest_snapshot(tmp_path / "landing", "s1", tmp_path / "out", CorpusConfig(), known=NothingKnown())
        assert not (tmp_path / "out").exists()

    def test_no_such_snapshot(self, tmp_path):
        with pytest.raises(LandingError, match="absent"):
            ingest_snapshot(tmp_path, "s1", tmp_path / "out", CorpusConfig(), known=NothingKnown())

    def test_a_path_for_a_name(self, tmp_path):
        write(tmp_path / "elsewhere", {"a.txt": prose(1).encode()})
        (tmp_path / "landing").mkdir()
        with pytest.raises(LandingError, match="not a name for a snapshot"):
            ingest_snapshot(
                tmp_path / "landing", "../elsewhere", tmp_path / "out", CorpusConfig(), known=NothingKnown()
            )

    def test_output_must_be_empty(self, tmp_path):
        write(tmp_path / "out-s1", {"old.txt": b"x"})
        with pytest.raises(FileExistsError, match="not empty"):
            ingest(tmp_path, {"a.txt": prose(1).encode()})


def test_lengths(tmp_path):
    lines = [{"text": text} for text in ("short", prose(1), prose(2) + " " + "x" * 2000, "  ", "")]
    config = CorpusConfig(max_text_chars=1500)
    report, _ = ingest(tmp_path, {"a.jsonl": jsonl(lines)}, config)
    assert (report.kept, report.filtered) == (1, {"too_long": 1, "too_short": 3})
    cut = CorpusConfig(max_text_chars=1500, overlong="truncate")
    report, out = ingest(tmp_path, {}, cut, out="cut")
    assert (report.kept, report.filtered) == (2, {"too_short": 3})
    assert rows(out)[1]["text"].endswith("x")
    assert len(rows(out)[1]["text"]) == 1500
    words = CorpusConfig(max_text_chars=200, overlong="truncate")
    _, out = ingest(tmp_path, {}, words, out="words")
    assert prose(1).startswith(rows(out)[0]["text"] + " ")
    assert 190 < len(rows(out)[0]["text"]) <= 200


def test_filters(tmp_path):
    lines = [
        {"text": prose(1), "lang": "en"},
        {"text": prose(2), "lang": "DE"},
        {"text": "spam spam spam spam eggs " * 20, "lang": "en"},
        {"text": "caf\ufffd \ufffd\ufffd\ufffd\ufffd garbled text here", "lang": "en"},
    ]
    config = CorpusConfig(languages=("EN",), filters=QualityFilters(max_dup_ngram_share=0.5))
    report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)}, config)
    assert report.filtered == {"dup_ngram_share": 1, "garbled": 1, "language": 1}
    assert [(row["offset"], row["reason"]) for row in rows(out, "filtered")] == [
        (1, "language"),
        (2, "dup_ngram_share"),
        (3, "garbled"),
    ]


def test_text_that_cannot_be_written(tmp_path):
    data = b'{"text": "half a pair \\ud83d of a character, and more"}\n' + jsonl([{"text": prose(1)}])
    report, out = ingest(tmp_path, {"a.jsonl": data})
    assert report.quarantined == {"invalid_unicode": 1}
    assert report.kept == 1
    data = b'{"url": "https://x.org/\\ud83d", "text": "%s"}\n' % prose(2).encode()
    report, out = ingest(tmp_path, {"a.jsonl": data}, out="two")
    assert rows(out)[0]["url"] == "https://x.org/?"


class TestDuplicates:
    def test_exact_copies_are_counted_and_listed(self, tmp_path):
        lines = [{"text": t, "url": f"https://x.org/{i}"} for i, t in enumerate([prose(1), prose(1).upper(), prose(2)])]
        report, out = ingest(tmp_path, {"b.jsonl": jsonl(lines), "a.txt": prose(1).encode()})
        assert report.duplicates == {"exact_within": 2, "near_within": 0, "exact_across": 0}
        kept = {row["content_digest"]: row for row in rows(out)}
        first = kept[content_digest(prose(1))]
        assert (first["file"], first["dup_count"]) == ("a.txt", 3)
        dropped = rows(out, "duplicates")
        assert [(row["file"], row["offset"], row["url"]) for row in dropped] == [
            ("b.jsonl", 0, "https://x.org/0"),
            ("b.jsonl", 1, "https://x.org/1"),
        ]
        for row in dropped:
            assert row["kind"] == "exact_within"
            assert (row["kept_doc_id"], row["kept_snapshot"]) == (first["doc_id"], "s1")
            assert row["doc_id"] != first["doc_id"]

    def test_near_copies(self, tmp_path):
        base = prose(1, 300)
        lines = [{"text": base}, {"text": base + " with a little more"}, {"text": prose(2, 300)}]
        report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)})
        assert report.duplicates["near_within"] == 1
        assert [row["offset"] for row in rows(out)] == [0, 2]
        [dropped] = rows(out, "duplicates")
        assert dropped["kept_doc_id"] == rows(out)[0]["doc_id"]
        assert dropped["content_digest"] == content_digest(lines[1]["text"])
        off = CorpusConfig(near=NearDuplicates(enabled=False))
        report, _ = ingest(tmp_path, {}, off, out="off")
        assert report.kept == 3

    def test_across_snapshots(self, tmp_path):
        base = prose(1, 300)
        _, kept_one = ingest(
            tmp_path, {"a.jsonl": jsonl([{"text": base, "url": "u1"}, {"text": prose(2), "url": "u2"}])}
        )
        lines = [
            {"text": base.title(), "url": "u1"},
            {"text": base + " with a little more", "url": "u3"},
            {"text": base, "url": "u4"},
            {"text": prose(3), "url": "u5"},
        ]
        known = ParquetKnown({"s1": shard_paths(kept_one)})
        two, out = ingest(tmp_path, {"b.jsonl": jsonl(lines)}, known=known, snapshot="s2")
        assert two.duplicates == {"exact_within": 0, "near_within": 1, "exact_across": 2}
        assert [row["url"] for row in rows(out)] == ["u5"]
        owner = rows(kept_one)[0]
        for row in rows(out, "duplicates"):
            assert (row["kept_doc_id"], row["kept_snapshot"]) == (owner["doc_id"], "s1")
        # off: every snapshot keeps its own
        alone = CorpusConfig(duplicates_across_snapshots=False)
        three, _ = ingest(tmp_path, {}, alone, known, snapshot="s2", out="alone")
        assert three.duplicates["exact_across"] == 0
        assert three.kept == 2

    def test_a_snapshot_of_known_texts_keeps_nothing(self, tmp_path):
        _, first = ingest(tmp_path, {"a.txt": prose(1).encode()})
        known = ParquetKnown({"s1": shard_paths(first)})
        report, out = ingest(tmp_path, {"a.txt": prose(1).encode()}, known=known, snapshot="s2")
        assert (report.kept, report.duplicates["exact_across"]) == (0, 1)
        assert shard_paths(out) == []

    def test_blocked_documents_are_filtered_first(self, tmp_path):
        lines = [{"text": prose(1), "url": "bad"}, {"text": prose(1), "url": "good"}, {"text": prose(2), "url": "bad"}]

        def blocked(batch):
            assert "text" not in batch.schema.names
            return np.array([url == "bad" for url in batch.column("url").to_pylist()])

        report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)}, blocked=blocked)
        assert (report.kept, report.filtered) == (1, {"blocked": 2})
        assert [(row["url"], row["dup_count"]) for row in rows(out)] == [("good", 1)]


class TestShards:
    FILES = {f"{c}.jsonl": jsonl([{"text": prose(17 * i + j)} for j in range(7)]) for i, c in enumerate("abc")}  # noqa: RUF012

    def test_row_limit(self, tmp_path):
        report, out = ingest(tmp_path, self.FILES, CorpusConfig(shard_rows=5))
        assert [pq.read_metadata(path).num_rows for path in shard_paths(out)] == [5, 5, 5, 5, 1]
        assert report.shards == [path.name for path in shard_paths(out)]

    def test_byte_limit(self, tmp_path):
        _, out = ingest(tmp_path, self.FILES, CorpusConfig(shard_bytes=1024))
        sizes = [[row["n_bytes"] for row in pq.read_table(path).to_pylist()] for path in shard_paths(out)]
        assert all(sum(shard[:-1]) < 1024 for shard in sizes)
        assert all(sum(shard) >= 1024 for shard in sizes[:-1])
        assert sum(map(len, sizes)) == 21

    def test_limits_do_not_change_the_documents(self, tmp_path):
        _, one = ingest(tmp_path, self.FILES)
        _, two = ingest(tmp_path, {}, CorpusConfig(shard_rows=2), out="two")
        assert rows(one) == rows(two)


MIXED = {
    "a.warc.gz": members([response(prose(i, 80), f"https://www.example.org/{i}") for i in range(30)]),
    "b/cut.jsonl.gz": gzip.compress(jsonl([{"text": prose(i, 80)} for i in range(20, 50)]))[:-30],
    "b/odd.jsonl": jsonl([{"text": prose(3, 80) + " and more"}, {"text": 1}, {"text": "tiny"}]) + b"{",
    "c.parquet": parquet({"text": [prose(i, 80) for i in range(40, 60)] * 2}),
    "empty.txt": b"",
    "what.bin": b"\x00",
}


def pool_map(fn, items, label):
    """Run on two processes and hand out in order, as the engine does."""
    with ProcessPoolExecutor(2) as pool:
        yield from pool.map(fn, items)


def backwards(fn, items, label):
    """Finish the last file first."""
    done = {i: fn(item) for i, item in reversed(list(enumerate(items)))}
    return iter([done[i] for i in range(len(items))])


def test_same_bytes_whatever_the_workers(tmp_path):
    report, one = ingest(tmp_path, MIXED)
    for name, mapper in (("pool", pool_map), ("backwards", backwards)):
        other_report, other = ingest(tmp_path, {}, out=name, map_shards=mapper)
        assert other_report == report
        assert bytes_of(other) == bytes_of(one)


def test_same_bytes_whatever_the_order_on_disk(tmp_path):
    _, one = ingest(tmp_path / "x", MIXED)
    names = list(MIXED)
    random.Random(1).shuffle(names)
    _, two = ingest(tmp_path / "y", {name: MIXED[name] for name in names})
    assert bytes_of(one) == bytes_of(two)


def test_counts_of_the_mixed_snapshot(tmp_path):
    report, out = ingest(tmp_path, MIXED)
    by_file = {file.file: file for file in report.files}
    assert list(by_file) == sorted(MIXED)
    assert by_file["empty.txt"].quarantined == by_file["empty.txt"].read == 1
    assert by_file["b/odd.jsonl"].quarantined == 2
    assert by_file["b/odd.jsonl"].filtered == 1
    assert len(rows(out)) == report.kept
    assert len(rows(out, "duplicates")) == report.n_duplicates
    assert len(rows(out, "filtered")) == report.n_filtered
    assert len(rows(out, "quarantine")) == report.n_quarantined
    assert not (out / ".scratch").exists()
    ids = [row["doc_id"] for row in rows(out)]
    assert len(set(ids)) == len(ids)
    kept = set(ids)
    assert all(row["kept_doc_id"] in kept for row in rows(out, "duplicates"))


DOCUMENT = st.one_of(
    st.integers(0, 12).map(lambda i: {"text": prose(i)}),
    st.integers(0, 5).map(lambda i: {"text": prose(i) + " and then some more"}),
    st.sampled_from([{"text": "tiny"}, {"text": None}, {}, [1], {"text": 5}, "x", {"text": "\ufffd" * 40}]),
)


@given(st.lists(st.lists(DOCUMENT, max_size=8), max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_record_is_accounted_for(tmp_path_factory, files):
    tmp_path = tmp_path_factory.mktemp("counts")
    report, out = ingest(tmp_path, {f"{i}.jsonl": jsonl(lines) for i, lines in enumerate(files)})
    empty = sum(not lines for lines in files)
    assert report.read == sum(map(len, files)) + empty
    places = [
        (row["file"], row["offset"])
        for kind in ("part", "duplicates", "filtered", "quarantine")
        for row in rows(out, kind)
    ]
    expected = [(f"{i}.jsonl", j) for i, lines in enumerate(files) for j in range(max(len(lines), 1))]
    assert sorted(places) == sorted(expected)


def test_lost_records_are_noticed(tmp_path, monkeypatch):
    from gem_assets.corpus.ingest import _Output

    monkeypatch.setattr(_Output, "_drop", lambda self, batch, rows, mask: 0)
    with pytest.raises(AccountingError, match=r"s1/a\.jsonl: 2 records read"):
        ingest(tmp_path, {"a.jsonl": jsonl([{"text": prose(1)}] * 2)})


def test_text_processing_that_fails_is_a_row(tmp_path, monkeypatch):
    def explode(text, facts):
        if "harbour" in text:
            raise RuntimeError("private words")
        return "en", 1.0

    monkeypatch.setattr("gem_assets.corpus.candidate_rows.detect_language", explode)
    lines = [{"text": "harbour " * 9}, {"text": "no such word in this text at all"}]
    report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)})
    assert (report.kept, report.quarantined) == (1, {"reader_error": 1})
    assert rows(out, "quarantine")[0]["detail"] == "RuntimeError"


def test_a_stopped_ingest_leaves_no_scratch(tmp_path):
    def stop(fn, items, label):
        for item in items:
            fn(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(tmp_path, MIXED, map_shards=stop)
    assert not (tmp_path / "out-s1" / ".scratch").exists()


def test_real_crawl_adds_up(tmp_path, shared_corpora):
    crawl = shared_corpora / "crawl"
    files = {
        str(path.relative_to(crawl)): path.read_bytes()
        for path in crawl.rglob("*.*")
        if path.is_file() and path.name != "derived-dev.warc.wet.gz"
    }
    report, out = ingest(tmp_path, files)
    assert report.n_files == 21
    assert report.kept > 100
    assert report.quarantined == {"damaged_arc": 3, "damaged_warc": 1, "truncated_record": 1, "unknown_record_type": 3}
    assert {row["snapshot"] for row in rows(out, "quarantine")} == {"s1"}
