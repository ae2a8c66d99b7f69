import contextlib
import gzip
import zlib
from random import Random

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.corpus.readers.http import media_type, parse_response
from gem_assets.corpus.readers.records import Damaged
from gem_assets.corpus.text.charsets import decode_bytes
from gem_assets.corpus.text.html import html_to_text, nesting_depth
from tests.corpus.making import http, page, prose

LIMIT = 1 << 20
BODY = b"<html><body>hello world</body></html>"


def chunked(body, size=7):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def raw_deflate(body):
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(body) + engine.flush()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Type: text/html", BODY),
        ("Content-Type: text/html\r\nTransfer-Encoding: chunked", chunked(BODY)),
        ("Content-Type: text/html\r\ntransfer-encoding: Chunked", BODY),
        ("Content-Type: text/html\r\nContent-Encoding: gzip", gzip.compress(BODY, mtime=0)),
        ("Content-Type: text/html\r\nContent-Encoding: gzip", BODY),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", zlib.compress(BODY)),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", raw_deflate(BODY)),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", BODY),
        ("Content-Type: text/html\r\nContent-Encoding: br", BODY),
        ("Content-Type: text/html\r\nContent-Encoding: br", bytes.fromhex("0f1280") + BODY + b"\x03"),
        (
            "Content-Type: text/html\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked",
            chunked(gzip.compress(BODY, mtime=0)),
        ),
    ],
)
def test_bodies_come_out_whole_whatever_the_headers_claim(headers, body):
    got = parse_response(http(body, headers), LIMIT)
    assert (got.status, got.media_type, got.body) == (200, "text/html", BODY)


def test_header_details():
    got = parse_response(http(b"x", 'CONTENT-TYPE: Text/HTML; x=1; Charset="ISO-8859-1"'), LIMIT)
    assert (got.media_type, got.charset) == ("text/html", "ISO-8859-1")
    assert parse_response(b"HTTP/1.0 404\nA: b\n\nbody", LIMIT).status == 404
    assert parse_response(http(b"x", "Server: y"), LIMIT).media_type == ""


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "damaged_http"),
        (b"<html>", "damaged_http"),
        (b"HTTP/1.1 200 OK\r\nno end", "damaged_http"),
        (http(b"\x1f\x8b\x08broken", "Content-Encoding: gzip"), "damaged_http"),
        (http(b"\x00\x01\x02\x03\xff" * 9, "Content-Encoding: br"), "damaged_http"),
        (http(gzip.compress(b"x" * (LIMIT + 1), mtime=0), "Content-Encoding: gzip"), "too_large"),
        (http(b"x" * (LIMIT + 1)), "too_large"),
    ],
)
def test_broken_responses(block, reason):
    with pytest.raises(Damaged) as caught:
        parse_response(block, LIMIT)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("naïve".encode(), "latin-1", "naïve"),
        ("naïve".encode("latin-1"), "iso-8859-1", "naïve"),
        ("“Привет, мир”".encode("cp1251"), "windows-1251", "“Привет, мир”"),
        ('<meta charset="windows-1251">Привет'.encode("cp1251"), None, '<meta charset="windows-1251">Привет'),
        ("\ufeffbom".encode(), None, "bom"),
        ("wide".encode("utf-16"), None, "wide"),
        ("日本語テキスト".encode("shift_jis"), "Shift_JIS", "日本語テキスト"),
        ("cut é".encode()[:-1], "latin-1", "cut é"),
        (b"", None, ""),
    ],
)
def test_encodings(data, charset, text):
    if text == "cut é":
        # one byte of a character is no reason to call a page Latin-1, but nothing before it says UTF-8
        text = "cut Ã"
    assert decode_bytes(data, charset, is_html=True) == text


def test_unknown_charset_names_do_no_harm():
    assert decode_bytes(b"caf\xe9 au lait", "no-such-charset", is_html=False).startswith("caf")


def test_main_content_without_navigation():
    links = "".join(f'<li><a href="/{i}">Menu entry {i}</a></li>' for i in range(30))
    html = (
        f"<html><head><title>T</title><script>var hidden = 1;</script></head><body><nav><ul>{links}</ul></nav>"
        f"<article><h1>Heading</h1><p>{prose(1)}</p><p>{prose(2)}</p></article>"
        f"<footer>Imprint and contact</footer></body></html>"
    )
    text = html_to_text(html)
    assert prose(1) in text
    assert prose(2) in text
    assert "hidden" not in text
    assert "Menu entry 3" not in text


def test_short_pages_keep_their_text():
    assert html_to_text(page("Short, but all there is.").decode()).strip() == "Short, but all there is."


def test_pages_without_text():
    for html in ("", "<html>", "<p>", "<script>x</script>", "\x00"):
        assert html_to_text(html).strip("\x00") == ""


def test_depth_counts_open_elements():
    assert nesting_depth("<div><p>x<br><p>y</div><div></div>") == (1, 0)
    assert nesting_depth("<div>" * 50 + "</div>" * 50) == (50, 0)
    assert nesting_depth("<UL><li>a<ol><li>b</ol></UL></ul></ul><ul>") == (2, 2)


def test_absurd_nesting_costs_neither_time_nor_memory():
    # read with its layout, the first page would take a quarter of an hour and the second ten gigabytes
    assert "deep down" in html_to_text("<div>" * 100_000 + "deep down")
    assert len(html_to_text("<ul><li>x" * 100_000)) < 500_000
    # lists as deep as people write them keep their bullets
    assert "•" in html_to_text("<ul><li>one<ul><li>two</ul></ul>" * 5)


def test_absurd_tags_lose_their_attributes():
    # parsing 100,000 attributes would take a minute
    many = " ".join(f"a{i}=1" for i in range(100_000))
    glued = "".join(f'a{i}="1"' for i in range(100_000))
    assert html_to_text(f"<div {many}>one</div><div {glued}>two</div>").split() == ["one", "two"]
    # one long value is no reason to touch a tag
    image = "A/B+" * 5000
    assert html_to_text(f'<img src="data:image/png;base64,{image}" alt="x"><p>text</p>').strip() == "text"


BIG = b"<html><body>" + b" ".join(prose(i).encode() for i in range(200)) + b"</body></html>"
HTML = "Content-Type: text/html\r\n"


@pytest.mark.parametrize("name", ["Content-Encoding", "X-Crawler-Content-Encoding", "content-encoding"])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("zstd", zstandard.compress),
        ("ZSTD", zstandard.compress),
        ("br", brotli.compress),
        ("gzip", lambda body: gzip.compress(body[:100]) + gzip.compress(body[100:])),
        ("gzip", lambda body: gzip.compress(body) + b"\r\n trailing"),
        ("gzip", lambda body: gzip.compress(body) + bytes(100)),
        ("x-gzip", gzip.compress),
        (' "gzip" ', gzip.compress),
        ("gzip;q=1.0", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        ("gzip,", gzip.compress),
        ("identity, gzip", gzip.compress),
        ("br, gzip", lambda body: gzip.compress(brotli.compress(body))),
        ("deflate, zstd", lambda body: zstandard.compress(zlib.compress(body))),
        # the name is wrong and the bytes are not
        ("br", gzip.compress),
        ("gzip", zstandard.compress),
        ("zstd", lambda body: b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + zstandard.compress(body)),
        # never coded, or decoded before
        *(
            (coding, bytes)
            for coding in ("zstd", "br", "gzip", "deflate", "dcb", "utf-8", "ISO-8859-1", "none", "", "aws-chunked")
        ),
    ],
)
def test_every_content_coding(name, coding, pack):
    for body in (BODY, BIG):
        got = parse_response(http(pack(body), f"{HTML}{name}: {coding}"), LIMIT)
        assert got.body == body
        assert not got.cut


def test_a_coding_in_two_headers():
    body = gzip.compress(zlib.compress(BIG))
    headers = f"{HTML}Content-Encoding: deflate\r\nContent-Encoding: gzip"
    assert parse_response(http(body, headers), LIMIT).body == BIG


def test_a_coding_that_no_header_names():
    assert parse_response(http(gzip.compress(BIG), "Content-Type: text/html"), LIMIT).body == BIG


@pytest.mark.parametrize(
    ("coding", "body"),
    [("dcb", b"\x1b\x00\x01" * 50), ("compress", b"\x1f\x9d\x90\x01\x02\x03" * 20), ("gzip", b"\x00\x01\x02" * 9)],
)
def test_a_coding_that_is_not_known_is_named(coding, body):
    with pytest.raises(Damaged) as caught:
        parse_response(http(body, f"Content-Encoding: {coding}"), LIMIT)
    assert coding in caught.value.detail


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("zstd", zstandard.compress), ("br", brotli.compress), ("gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_body_cut_short_gives_what_decodes(coding, pack):
    body = b"<html>" + Random(1).randbytes(200_000).hex().encode()
    packed = pack(body)
    got = parse_response(http(packed[: len(packed) * 3 // 4], f"Content-Encoding: {coding}"), LIMIT)
    assert got.cut
    assert body.startswith(got.body)
    assert len(got.body) > 100_000


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip", "deflate"])
def test_a_body_that_unfolds_is_refused(coding):
    pack = {"zstd": zstandard.compress, "br": brotli.compress, "gzip": gzip.compress, "deflate": zlib.compress}[coding]
    with pytest.raises(Damaged) as caught:
        parse_response(http(pack(bytes(50 * LIMIT)), f"Content-Encoding: {coding}"), LIMIT)
    assert caught.value.reason == "too_large"


CHUNKS = "Content-Type: text/html\r\nTransfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("body", "out", "cut"),
    [
        (chunked(BODY), BODY, False),
        (chunked(BODY) + b"X-Trailer: 1\r\n\r\n", BODY, False),
        (chunked(BODY).replace(b"7\r\n", b"0007 ; name=value\r\n"), BODY, False),
        (chunked(BODY).replace(b"\r\n", b"\n"), BODY, False),
        (chunked(BODY)[:-5], BODY, True),
        (chunked(BODY)[:-10], BODY[:-2], True),
        (b"fff\r\n" + BODY, BODY, True),
        (BODY, BODY, False),
        (b"1999\n was a year", b"1999\n was a year", False),
        (b"", b"", False),
    ],
)
def test_chunks(body, out, cut):
    got = parse_response(http(body, CHUNKS), LIMIT)
    assert (got.body, got.cut) == (out, cut)


@pytest.mark.parametrize("size", [b"ffffffffffffffff", b"7fffffffffffffff", b"100000000"])
def test_a_chunk_beyond_all_sizes(size):
    with pytest.raises(Damaged):
        parse_response(http(size + b"\r\nabc\r\n0\r\n\r\n", CHUNKS), LIMIT)


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 2,
        b"HTTP/1.1 100 Continue\n\n",
        b"HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
        b"\r\n",
    ],
)
def test_interim_responses(before):
    assert parse_response(before + http(BODY), LIMIT).body == BODY


def test_an_interim_response_alone_is_what_there_is():
    assert parse_response(b"HTTP/1.1 100 Continue\r\n\r\n", LIMIT).status == 100
    # a page may quote a status line
    assert parse_response(http(b"HTTP/1.1 404 Not Found\r\n\r\nquoted"), LIMIT).status == 200


@pytest.mark.parametrize(
    ("length", "cut"),
    [
        ("2", False),
        ("1", False),
        ("3", True),
        ("3, 3", True),
        ("x", False),
        ("-1", False),
        ("9" * 5000, False),
        ("²", False),
    ],
)
def test_a_body_shorter_than_its_header_says(length, cut):
    got = parse_response(http(b"ab", f"Content-Length: {length}"), LIMIT)
    assert (got.body, got.cut) == (b"ab", cut)


def test_a_response_of_a_header_only():
    got = parse_response(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n", LIMIT)
    assert (got.status, got.body) == (301, b"")
    assert parse_response(b"HTTP/1.1 204 No Content\r\n\r\n", LIMIT).body == b""


@pytest.mark.parametrize("gap", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_the_first_empty_line_ends_the_header(gap):
    line_end = b"\r\n" if gap.startswith(b"\r") else b"\n"
    body = b"<p>one</p>\r\n\r\n<p>two</p>\n\n<p>three</p>"
    got = parse_response(b"HTTP/1.1 200 OK" + line_end + b"Content-Type: text/html" + gap + body, LIMIT)
    assert (got.media_type, got.body) == ("text/html", body)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/2 200", 200),
        ("HTTP/2.0 200 OK", 200),
        ("HTTP/1.1  200  OK", 200),
        ("HTTP/1.1\t200\tOK", 200),
        ("http/1.1 200 ok", 200),
        ("HTTP 200 OK", 200),
        ("HTTP/1.1 404 Página não encontrada", 404),
        ("HTTP/1.1 200OK", 200),
    ],
)
def test_status_lines(line, status):
    assert parse_response(f"{line}\r\nA: b\r\n\r\nx".encode(), LIMIT).status == status


@pytest.mark.parametrize(
    ("value", "kind", "charset"),
    [
        ("text/html", "text/html", None),
        ("TEXT/HTML; Charset=UTF-8", "text/html", "UTF-8"),
        ('"text/html"', "text/html", None),
        ("'text/html; charset=utf-8'", "text/html", "utf-8"),
        ("text/html;charset", "text/html", None),
        ("text/html;;charset=utf-8", "text/html", "utf-8"),
        ("text/html charset=utf-8", "text/html", "utf-8"),
        ("text/html, charset=utf-8", "text/html", "utf-8"),
        ("text/html; charset = utf-8", "text/html", "utf-8"),
        ("text/html,text/html", "text/html", None),
        ("text/html; charset=utf-8, text/html", "text/html", "utf-8"),
        ("text/html; charset=utf-8, text/plain", "text/plain", None),
        ("text/html, */*", "text/html", None),
        ('text/html; title="a, b"; charset=utf-8', "text/html", "utf-8"),
        ("text/html/", "text/html", None),
        ("text/html:", "text/html", None),
        (" text/html ;", "text/html", None),
        ("charset=utf-8", "", "utf-8"),
        ("", "", None),
        (",,;", "", None),
    ],
)
def test_media_types_as_servers_spell_them(value, kind, charset):
    assert media_type(value) == (kind, charset)
    got = parse_response(http(b"x", f"Content-Type:{value}"), LIMIT)
    assert (got.media_type, got.charset) == (kind, charset)


def test_repeated_and_folded_headers():
    got = parse_response(http(b"x", "Content-Type: text/html; charset=utf-8\r\nContent-Type: text/html"), LIMIT)
    assert (got.media_type, got.charset) == ("text/html", "utf-8")
    got = parse_response(http(b"x", "Content-Type: text/html;\r\n\tcharset=koi8-r\r\nA: b"), LIMIT)
    assert (got.media_type, got.charset) == ("text/html", "koi8-r")


@given(st.binary(max_size=300), st.sampled_from(["gzip", "br", "deflate", "zstd", "gzip, br", "x"]), st.booleans())
@settings(max_examples=300)
def test_any_body_is_a_response_or_damaged(body, coding, in_chunks):
    transfer = "\r\nTransfer-Encoding: chunked" if in_chunks else ""
    with contextlib.suppress(Damaged):
        got = parse_response(http(body, f"Content-Encoding: {coding}{transfer}"), LIMIT)
        assert len(got.body) <= LIMIT
