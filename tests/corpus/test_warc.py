import gzip
import zlib

import pytest

from gem_assets.corpus.config import CorpusConfig
from tests.corpus.making import (
    conversion,
    documents,
    http,
    items,
    members,
    page,
    prose,
    quarantined,
    response,
    skipped,
    warc_record,
)

URL = "https://www.example.org/{}"


def save(tmp_path, data, name="crawl.warc.gz"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.fixture
def three():
    return [response(prose(i), URL.format(i)) for i in range(3)]


def test_records_that_are_no_documents_are_counted_by_kind(tmp_path):
    records = [
        warc_record("warcinfo", b"software: x", None, "application/warc-fields"),
        warc_record("request", b"GET / HTTP/1.1\r\n\r\n"),
        response(prose(1)),
        warc_record("metadata", b"{}", content_type="application/json"),
        warc_record("revisit", b"HTTP/1.1 200 OK\r\n\r\n"),
        warc_record("response", b"1.2.3.4", "dns:example.org", "text/dns"),
        warc_record("response", http(page("gone"), status="404 Not Found")),
        warc_record("response", http(b"\x89PNG", "Content-Type: image/png")),
        warc_record("response", http(b"User-agent: *", "Content-Type: text/plain"), "https://x.org/robots.txt"),
        warc_record("resource", page(prose(2)), "https://x.org/r", "text/html"),
        warc_record("resource", b"\x00", "https://x.org/i.gif", "image/gif"),
    ]
    found = items(save(tmp_path, members(records)))
    assert [d.url for d in documents(found)] == ["https://www.example.org/page", "https://x.org/r"]
    assert skipped(found) == [
        *("warcinfo", "request", "metadata", "revisit", "dns", "http_status", "media_type", "robots_txt", "media_type")
    ]
    assert quarantined(found) == []


def test_document_fields(tmp_path):
    [found] = documents(items(save(tmp_path, members([response(prose(3), "<http://news.example.co.uk/a b>")]))))
    assert found.text.strip() == prose(3)
    assert (found.url, found.source) == ("http://news.example.co.uk/a%20b", "example.co.uk")
    assert (found.date, found.file, found.offset) == ("2026-01-02T03:04:05Z", "crawl.warc.gz", 0)


def test_offsets_are_those_of_the_gzip_members(tmp_path, three):
    data = members(three)
    found = documents(items(save(tmp_path, data)))
    for i, document in enumerate(found):
        record = zlib.decompressobj(31).decompress(data[document.offset :])
        assert record == three[i]


def test_offsets_of_plain_files(tmp_path, three):
    found = documents(items(save(tmp_path, b"".join(three), "crawl.warc")))
    assert [d.offset for d in found] == [0, len(three[0]), len(three[0]) + len(three[1])]


def test_one_member_for_the_whole_file(tmp_path, three):
    found = documents(items(save(tmp_path, gzip.compress(b"".join(three)))))
    assert [d.text.strip() for d in found] == [prose(i) for i in range(3)]
    assert len({d.offset for d in found}) == 3


def test_wet(tmp_path):
    found = items(save(tmp_path, members([conversion(prose(i), URL.format(i)) for i in range(3)]), "c.warc.wet.gz"))
    assert [d.text for d in documents(found)] == [prose(i) for i in range(3)]


def test_wet_that_is_not_utf8(tmp_path):
    bad = warc_record("conversion", b"caf\xe9 " * 10, URL.format(1), "text/plain")
    found = items(save(tmp_path, members([bad, conversion(prose(1), URL.format(2))]), "c.warc.wet.gz"))
    assert quarantined(found) == [(0, "invalid_utf8")]
    assert len(documents(found)) == 1


@pytest.mark.parametrize("compressed", [True, False])
def test_what_stands_before_and_behind_the_damage_is_read(tmp_path, compressed):
    records = [response(prose(i), URL.format(i)) for i in range(6)]
    parts = [gzip.compress(r, mtime=0) for r in records] if compressed else records
    broken = bytearray(parts[2])
    if compressed:
        broken[40:60] = b"\xff" * 20
    else:
        broken[:8] = b"GARBAGE!"
    path = save(tmp_path, b"".join([*parts[:2], bytes(broken), *parts[3:]]), "c.warc.gz" if compressed else "c.warc")
    found = items(path)
    assert [d.url[-1] for d in documents(found)] == ["0", "1", "3", "4", "5"]
    [(offset, reason)] = quarantined(found)
    assert reason == ("damaged_gzip" if compressed else "damaged_warc")
    # without members, the length of the record before it tells only about where
    assert len(parts[0]) < offset <= len(parts[0]) + len(parts[1])
    assert not compressed or offset == len(parts[0]) + len(parts[1])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("keep", [0.4, 0.7, 0.97])
def test_cut_files_give_what_is_whole(tmp_path, three, compressed, keep):
    data = members(three) if compressed else b"".join(three)
    found = items(save(tmp_path, data[: int(len(data) * keep)], "c.warc.gz" if compressed else "c.warc"))
    assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(int(3 * keep))]
    assert len(quarantined(found)) == 1
    assert quarantined(found)[0][1] in ("truncated_record", "truncated_gzip", "damaged_warc")


def test_a_record_that_lies_about_its_length_costs_itself(tmp_path):
    liar = warc_record("response", http(page(prose(1))), URL.format(1), length=10**12)
    found = items(save(tmp_path, members([response(prose(0)), liar, response(prose(2))])))
    assert [reason for _, reason in quarantined(found)] == ["truncated_record"]
    assert [d.text.strip() for d in documents(found)] == [prose(0), prose(2)]


def test_large_records_are_refused_without_being_held(tmp_path):
    config = CorpusConfig(max_record_bytes=4096)
    big = response("word " * 5000, URL.format(1))
    found = items(save(tmp_path, members([response(prose(0)), big, response(prose(2))])), config)
    assert [reason for _, reason in quarantined(found)] == ["too_large"]
    assert [d.text.strip() for d in documents(found)] == [prose(0), prose(2)]


def test_a_small_body_that_unfolds_is_refused(tmp_path):
    config = CorpusConfig(max_record_bytes=100_000)
    body = gzip.compress(b"<html>" + b" " * 10_000_000)
    record = warc_record("response", http(body, "Content-Type: text/html\r\nContent-Encoding: gzip"))
    found = items(save(tmp_path, members([record, response(prose(1))])), config)
    assert [reason for _, reason in quarantined(found)] == ["too_large"]
    assert len(documents(found)) == 1


def test_types_outside_the_standard(tmp_path):
    found = items(save(tmp_path, warc_record("novel", b"x" * 50), "c.warc"))
    assert quarantined(found) == [(0, "unknown_record_type")]


def test_a_response_that_is_no_http(tmp_path):
    found = items(save(tmp_path, members([warc_record("response", b"not http at all")])))
    assert quarantined(found) == [(0, "damaged_http")]


def test_a_file_that_only_claims_to_be_warc(tmp_path):
    assert quarantined(items(save(tmp_path, b"nothing of the kind" * 10, "c.warc"))) == [(0, "damaged_warc")]
    assert quarantined(items(save(tmp_path, gzip.compress(b"nothing"), "d.warc.gz"))) == [(0, "damaged_warc")]


def arc(*records):
    head = b"filedesc://x.arc 0.0.0.0 20260101000000 text/plain 22\n1 0 x\nURL IP-address\n\n\n"
    return head + b"".join(
        b"%s 1.2.3.4 20260102030405 %s %d\n%s\n" % (url, mime, len(body), body) for url, mime, body in records
    )


def test_arc(tmp_path):
    data = arc(
        (b"http://www.example.org/a", b"text/html", http(page(prose(1)))),
        (b"dns:example.org", b"text/dns", b"1.2.3.4"),
        (b"http://www.example.org/b", b"text/plain", prose(2).encode()),
    )
    for name, content in (("c.arc", data), ("c.arc.gz", gzip.compress(data)), ("unnamed", data)):
        found = items(save(tmp_path, content, name))
        assert [d.text.strip() for d in documents(found)] == [prose(1), prose(2)]
        assert [d.date for d in documents(found)] == ["2026-01-02T03:04:05Z"] * 2
        assert skipped(found) == ["filedesc", "dns"]
        assert quarantined(found) == []


def test_damaged_arc_goes_on_at_the_next_header(tmp_path):
    one = arc((b"http://www.example.org/a", b"text/html", http(page(prose(1)))))
    rest = arc((b"http://www.example.org/b", b"text/html", http(page(prose(2))))).split(b"\n\n\n", 1)[1]
    found = items(save(tmp_path, one + b"garbage line\nanother one\n" + rest, "c.arc"))
    assert len(documents(found)) == 2
    assert [reason for _, reason in quarantined(found)] == ["damaged_arc"]
    found = items(save(tmp_path, (one + rest)[:-100], "c.arc"))
    assert [reason for _, reason in quarantined(found)] == ["truncated_record"]
