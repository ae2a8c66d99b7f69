import gzip
import zlib

import pytest

from gem_assets.corpus.charsets import decode_bytes
from gem_assets.corpus.html import html_to_text, nesting_depth
from gem_assets.corpus.http import parse_response
from gem_assets.corpus.records import Damaged
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
