import pyarrow as pa
import pytest

from gem_assets.lineage.blocklist import (
    BlockEntry,
    Blocklist,
    BlocklistError,
    BlockRequest,
    Matcher,
    entries_version,
    parse_entry,
)

DIGESTS = ["0" * 31 + str(n) for n in range(6)]


def batch(*urls: str | None) -> pa.RecordBatch:
    n = len(urls)
    return pa.RecordBatch.from_pydict(
        {
            "doc_id": pa.array(DIGESTS[:n], pa.string()),
            "url": pa.array(urls, pa.string()),
            "content_digest": pa.array([digest[::-1] for digest in DIGESTS[:n]], pa.string()),
        }
    )


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("https://Example.org/a?b=1#c", "url", "https://example.org/a?b=1"),
        ("http://example.org:80", "url", "https://example.org/"),
        ("url:u17", "url", "u17"),
        ("example.org", "domain", "example.org"),
        ("*.Example.org.", "domain", "example.org"),
        ("domain:müller.example", "domain", "xn--mller-kva.example"),
        ("doc_id:" + "A" * 32, "doc_id", "a" * 32),
        ("content: " + "b" * 32, "content", "b" * 32),
    ],
)
def test_what_a_line_means(text, kind, value):
    assert parse_entry(text) == BlockEntry(kind=kind, value=value)


@pytest.mark.parametrize("text", ["", "a b", "url:", "doc_id:12", "c" * 32, "example", "../../etc", "' OR 1=1 --"])
def test_what_is_nothing_is_refused_with_the_ways_to_say_it(text):
    with pytest.raises(BlocklistError):
        parse_entry(text)


@pytest.mark.parametrize(
    ("entry", "hit"),
    [
        ("https://a.example/x", [True, True, False, False, False]),
        ("a.example", [True, True, True, False, False]),
        ("example.net", [False, False, False, False, False]),
        ("ample.org", [False, False, False, False, False]),
        (f"doc_id:{DIGESTS[4]}", [False, False, False, False, True]),
        (f"content:{DIGESTS[2][::-1]}", [False, False, True, False, False]),
    ],
)
def test_which_rows_an_entry_concerns(entry, hit):
    matcher = Matcher([parse_entry(entry)])
    rows = batch(
        "https://a.example/x", "HTTP://A.example:80/x#top", "https://www.a.example/y", "https://example.org", None
    )
    assert matcher(rows).tolist() == hit
    assert matcher.hits == ({parse_entry(entry).id} if any(hit) else set())


def test_many_hosts_are_compared_without_a_scan_for_each():
    entries = [parse_entry(f"site{n}.example") for n in range(200)]
    matcher = Matcher(entries)
    assert matcher(batch("https://x.site7.example/", "https://site200.example/", None)).tolist() == [True, False, False]
    assert matcher.hits == {entries[7].id}


def request(number: int) -> BlockRequest:
    return BlockRequest(
        id=f"{number:012x}",
        at="2026-11-25T00:00:00Z",
        entries=(BlockEntry(kind="domain", value=f"d{number}.example"),),
        copies=(DIGESTS[number],),
        documents=(DIGESTS[number],),
    )


def test_requests_come_back_in_order_with_their_copies(tmp_path):
    known = Blocklist(tmp_path / "root")
    assert known.requests() == []
    known.append(request(1))
    known.append(request(2))
    assert known.requests() == [request(1), request(2)]
    assert {str(entry) for entry in known.entries()} == {
        "domain:d1.example", "domain:d2.example", f"content:{DIGESTS[1]}", f"content:{DIGESTS[2]}",
    }  # fmt: skip
    assert known.documents() == {DIGESTS[1], DIGESTS[2]}


def test_a_last_line_that_was_cut_off_does_not_count_and_is_replaced(tmp_path):
    known = Blocklist(tmp_path)
    known.append(request(1))
    whole = known.path.read_bytes()
    known.append(request(2))
    for kept in range(len(whole), known.path.stat().st_size, 40):
        known.path.write_bytes(known.path.read_bytes()[:kept] if kept > len(whole) else whole)
        assert known.requests() == [request(1)]
        known.append(request(2))
        assert known.requests() == [request(1), request(2)]


def test_a_damaged_line_stops_everything_rather_than_letting_documents_back_in(tmp_path):
    known = Blocklist(tmp_path)
    known.append(request(1))
    known.append(request(2))
    data = known.path.read_bytes()
    known.path.write_bytes(b"\0" * 20 + data[20:])
    with pytest.raises(BlocklistError, match="line 1 is damaged"):
        known.requests()


def test_the_version_of_entries_does_not_depend_on_their_order():
    assert entries_version(["b", "a"]) == entries_version(["a", "b"]) != entries_version(["a"])
