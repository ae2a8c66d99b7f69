import gzip
import zlib
from random import Random

import pytest
import zstandard

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.description import skipped_kinds
from gem_assets.corpus.readers.records import SKIP_KINDS, Quarantined
from gem_assets.corpus.readers.warc import KNOWN_TYPES
from tests.corpus.fuzzing import TOKENS, WARC, WET, mutate
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


def raw_record(body, nl=b"\r\n", version=b"1.0", end=None, **fields):
    """Return a record with headers as they are given; the length is right unless it is among them."""
    named = {
        "WARC-Type": "response",
        "WARC-Target-URI": "https://www.example.org/page",
        "WARC-Date": "2026-01-02T03:04:05Z",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = [f"{name}: {value}".encode() for name, value in named.items() if value is not None]
    return nl.join([b"WARC/" + version, *lines, b"", b""]) + body + (nl * 2 if end is None else end)


@pytest.mark.parametrize("version", [b"0.17", b"0.18", b"1.0", b"1.1"])
@pytest.mark.parametrize("nl", [b"\r\n", b"\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n", b"\r\n" * 5])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_versions_and_line_ends(tmp_path, version, nl, end, pack):
    bodies = [f"HTTP/1.1 200 OK{nl.decode()}Content-Type: text/html{nl.decode() * 2}".encode() for _ in range(3)]
    records = [raw_record(body + page(prose(i)), nl, version, end) for i, body in enumerate(bodies)]
    found = items(save(tmp_path, b"".join(map(pack, records)), "crawl.warc"))
    assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(3)]
    assert quarantined(found) == []


def test_what_stands_before_the_first_record(tmp_path):
    for before, rows in ((b"\xef\xbb\xbf", 0), (b"\r\n\n", 0), (b"junk\n", 1)):
        found = items(save(tmp_path, before + response(prose(1)), "crawl.warc"))
        assert len(documents(found)) == 1
        assert len(quarantined(found)) == rows


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_zeros_between_records_cost_no_record(tmp_path, pack):
    data = bytes(600) + response(prose(1)) + bytes(70) + response(prose(2))
    found = items(save(tmp_path, pack(data), "crawl.warc"))
    assert len(documents(found)) == 2
    assert {reason for _, reason in quarantined(found)} == {"damaged_warc"}


def test_a_resource_that_is_a_response(tmp_path):
    record = warc_record("resource", http(page(prose(1))), "https://x.org/r", "application/http; msgtype=response")
    (found,) = documents(items(save(tmp_path, members([record]))))
    assert "HTTP/1.1" not in found.text


def test_skipped_records_are_shown_by_kind():
    assert skipped_kinds({"binary_body": 2, "request": 5}) == [
        {"kind": "request", "records": 5, "what": SKIP_KINDS["request"]},
        {"kind": "binary_body", "records": 2, "what": SKIP_KINDS["binary_body"]},
    ]


def test_field_names_and_folded_lines(tmp_path):
    body = http(page(prose(1)))
    head = (
        b"WARC/1.0\r\nwarc-type:response\r\nWARC-TARGET-URI :  https://www.example.org/a\r\n"
        b"WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: application/http;\r\n\tmsgtype=response\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    [found] = items(save(tmp_path, head + body + b"\r\n\r\n", "crawl.warc"))
    assert (found.url, found.date) == ("https://www.example.org/a", "2026-01-02T03:04:05Z")


LIES = [40_000_000, 10**9, 10**12, 10**17, 10**30, 3000, 100_000, -1, "", "abc", "0x10", "1e3", "1,000", "+10", None]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("shape", ["plain", "a member a record", "one member", "one zstd frame"])
@pytest.mark.parametrize("limit", [1 << 15, 32 << 20])
def test_a_length_that_lies_costs_its_record(tmp_path, lie, shape, limit):
    records = [response(prose(i), URL.format(i)) for i in range(60)]
    records[20] = raw_record(http(page(prose(20))), Content_Length=lie)
    data = {
        "plain": b"".join,
        "a member a record": members,
        "one member": lambda records: gzip.compress(b"".join(records)),
        "one zstd frame": lambda records: zstandard.compress(b"".join(records)),
    }[shape](records)
    found = items(save(tmp_path, data), CorpusConfig(max_record_bytes=limit))
    assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(60) if i != 20]
    [(_, reason)] = quarantined(found)
    assert reason in ("truncated_record", "damaged_warc")


@pytest.mark.parametrize("lie", [1, 100, 300])
def test_a_length_that_is_too_short(tmp_path, lie):
    records = [response(prose(i), URL.format(i)) for i in range(6)]
    records[2] = raw_record(http(page(prose(2))), Content_Length=lie)
    for data in (b"".join(records), members(records)):
        found = items(save(tmp_path, data))
        assert [prose(i) for i in range(6) if i != 2] == [
            d.text.strip() for d in documents(found) if d.text.strip() in {prose(i) for i in range(6) if i != 2}
        ]
        assert "damaged_warc" in [reason for _, reason in quarantined(found)]


@pytest.mark.parametrize("too_much", range(1, 5))
def test_a_length_that_ends_in_the_next_header(tmp_path, too_much):
    records = [response(prose(i), URL.format(i)) for i in range(6)]
    body = http(page(prose(2)))
    records[2] = raw_record(body, end=b"\r\n\r\n", Content_Length=len(body) + 4 + too_much)
    for data in (b"".join(records), members(records)):
        found = items(save(tmp_path, data))
        assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(6)]
        assert quarantined(found) == []


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.arc"])
def test_line_ends_that_a_copy_changed(tmp_path, name):
    pages = [http(page("\r\n".join([prose(i), *map(str, range(40))]))) for i in range(6)]
    if name.endswith("warc"):
        data = b"".join(warc_record("response", body, URL.format(i)) for i, body in enumerate(pages))
    else:
        data = arc(*((URL.format(i).encode(), b"text/html", body) for i, body in enumerate(pages)))
    found = items(save(tmp_path, data.replace(b"\r\n", b"\n"), name))
    assert [d.url for d in documents(found)] == [URL.format(i) for i in range(6)]
    assert quarantined(found) == []


def test_two_lengths(tmp_path):
    body = http(page(prose(1)))
    same = raw_record(body).replace(b"Content-Type", b"Content-Length: %d\r\nContent-Type" % len(body), 1)
    other = same.replace(b"Content-Length: %d" % len(body), b"Content-Length: 7", 1)
    found = items(save(tmp_path, same + other + response(prose(2)), "crawl.warc"))
    assert [d.text.strip() for d in documents(found)] == [prose(1), prose(2)]
    assert [reason for _, reason in quarantined(found)] == ["damaged_warc"]


def test_lengths_that_lie_in_every_record(tmp_path):
    liars = [raw_record(http(page(prose(i))), Content_Length=40_000_000) for i in range(50)]
    for data in (b"".join(liars), members(liars), gzip.compress(b"".join(liars))):
        assert [reason for _, reason in quarantined(items(save(tmp_path, data)))] == ["truncated_record"] * 50


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_page_that_quotes_a_record_is_one_page(tmp_path, pack):
    quoted = prose(1) + "\r\n\r\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n" + prose(2)
    record = warc_record("response", http(quoted.encode(), "Content-Type: text/plain"))
    found = items(save(tmp_path, pack(record) + pack(response(prose(3), URL.format(3))), "crawl.warc"))
    assert [quoted.replace("\r\n", "\n"), prose(3)] == [d.text.replace("\r\n", "\n").strip() for d in documents(found)]
    large = CorpusConfig(max_record_bytes=1024)
    found = items(save(tmp_path, pack(record) + pack(response("short " * 9, URL.format(3))), "crawl.warc"), large)
    assert [reason for _, reason in quarantined(found)] == ["too_large"] * (len(record) > 1024)
    assert len(documents(found)) == 1


def test_whatever_goes_wrong_with_a_record_is_its_row(tmp_path, monkeypatch):
    def explode(html, *_, **__):
        if prose(3) in html:
            raise RuntimeError(html)
        return html

    monkeypatch.setattr("gem_assets.corpus.readers.web.page_text", explode)
    records = [response(prose(i), URL.format(i)) for i in range(6)]
    found = items(save(tmp_path, members(records)))
    assert len(documents(found)) == 5
    [row] = [item for item in found if isinstance(item, Quarantined)]
    assert (row.reason, row.detail, row.url) == ("reader_error", "RuntimeError", URL.format(3))


def test_segments_are_skipped_by_name(tmp_path):
    first = raw_record(http(page(prose(1))), WARC_Segment_Number=1)
    rest = raw_record(b"the rest", WARC_Type="continuation", WARC_Segment_Number=2)
    assert skipped(items(save(tmp_path, first + rest, "crawl.warc"))) == ["segment", "continuation"]


def test_bodies_cut_short_are_counted(tmp_path):
    whole = gzip.compress(page(" ".join(map(prose, range(40)))))
    cut = warc_record("response", http(whole[:-200], "Content-Type: text/html\r\nContent-Encoding: gzip"))
    told = raw_record(http(page(prose(1))), WARC_Truncated="length")
    found = items(save(tmp_path, cut + told, "crawl.warc"))
    assert prose(0) in documents(found)[0].text
    assert len(documents(found)) == 2
    assert skipped(found) == ["cut_body", "cut_body"]


def test_what_the_crawler_identified(tmp_path):
    body = http(page(prose(1)))
    records = [
        raw_record(body, WARC_Identified_Payload_Type="application/pdf"),
        raw_record(body, WARC_Identified_Payload_Type="text/html"),
        raw_record(http(b"%PDF-1.4 and so on")),
        raw_record(http(page(prose(2)), "Server: x"), WARC_Identified_Payload_Type="text/html"),
        raw_record(b"%PDF-1.4 as text", WARC_Type="conversion", Content_Type="text/plain"),
        raw_record(b"\x89PNG", WARC_Type="conversion", Content_Type="image/png"),
    ]
    found = items(save(tmp_path, b"".join(records), "crawl.warc"))
    assert [d.text.strip() for d in documents(found)] == [prose(1), prose(2)]
    assert skipped(found) == ["binary_body", "binary_body", "binary_body", "media_type"]


def test_every_kind_of_skipped_record_is_explained():
    assert set(KNOWN_TYPES) - {"response", "resource", "conversion"} <= set(SKIP_KINDS)
    assert all(SKIP_KINDS.values())


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("shape", ["plain", "a member a record", "one member"])
def test_an_arc_length_that_lies_costs_its_record(tmp_path, lie, shape):
    head = arc()
    records = [arc((b"http://e.org/%d" % i, b"text/html", http(page(prose(i)))))[len(head) :] for i in range(60)]
    line, _, body = records[20].partition(b"\n")
    lie = b"" if lie is None else str(lie).encode()
    records[20] = line.rsplit(b" ", 1)[0] + b" " + lie + b"\n" + body
    data = {
        "plain": b"".join,
        "a member a record": members,
        "one member": lambda records: gzip.compress(b"".join(records)),
    }[shape]([head, *records])
    found = items(save(tmp_path, data, "c.arc"))
    assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(60) if i != 20]
    assert len(quarantined(found)) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"http://www.example.org/a b 1.2.3.4 20260102030405 text/html %d",
        b"http://www.example.org/a 1.2.3.4 20260102030405 text/html 200 CHECKSUM - 123 file.arc.gz %d",
        b"http://www.example.org/a 0.0.0.0 20260102 no-type %d",
        b"http://www.example.org/a 1.2.3.4 20260102030405 text/html; charset=utf-8 %d",
    ],
)
@pytest.mark.parametrize("nl", [b"\n", b"\r\n"])
def test_arc_header_lines(tmp_path, line, nl):
    body = http(page(prose(1)))
    found = items(save(tmp_path, arc() + line % len(body) + nl + body + b"\n", "c.arc"))
    assert [d.text.strip() for d in documents(found)] == [prose(1)]
    assert quarantined(found) == []


HEADERS = [
    b"",
    b"\xff\xe2\x82: x\r\nName\xc2\r\n",
    b" folded before any field\r\n",
    b"WARC-Target-URI: https://a.example/1\r\n\tfolded\r\n",
    b"Note: \x0b\xc2\xa0 blanks \xe3\x80\x80\r\n",
    b"Via: a WARC/1.0 tool\r\n",
    b"WARC/1.0\r\nWARC-Type: conversion\r\n",
    b"no colon\n\rX: y\r",
    b"WARC-Target-URI: https://a.example/2\r\r\n",
]


@pytest.mark.parametrize("nl", [b"\r\n", b"\n"])
def test_a_header_is_the_same_at_once_and_line_by_line(tmp_path, monkeypatch, nl):
    body = prose(1).encode()
    last = [b"WARC-Type: conversion", b"Content-Length: %d" % len(body), b"", b""]
    heads = [b"WARC/1.0" + nl + lines + nl.join(last) for lines in HEADERS]
    damaged = [mutate(b"".join(WET), TOKENS["warc"], [WARC], Random(seed)) for seed in range(150)]
    paths = [
        save(tmp_path, data, f"{number}.wet")
        for number, data in enumerate([b"".join(head + body + nl * 2 for head in heads), *damaged])
    ]
    at_once = [items(path) for path in paths]
    monkeypatch.setattr("gem_assets.corpus.readers.warc.LOOK", 0)
    assert [items(path) for path in paths] == at_once
    assert len(documents(at_once[0])) >= len(HEADERS) - 1
