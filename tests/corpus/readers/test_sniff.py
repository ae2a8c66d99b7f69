import pytest

from gem_assets.corpus.readers.sniff import judge
from tests.corpus.making import page, prose

PAGE = page(prose(1))
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj"


@pytest.mark.parametrize(
    "declared",
    [
        "text/html",
        "application/xhtml+xml",
        "html",
        "htm",
        "text/x-html",
        "",
        "application/octet-stream",
        "unknown/unknown",
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xef\xbb\xbf",
        b" \r\n\t",
        b"<!-- a comment -->\n<!-- and > another -->",
        b"\xef\xbb\xbf<!---->",
        b'<?xml version="1.0" encoding="utf-8"?>\n',
        b'<?xml version="1.0"?><!-- x -->',
    ],
)
def test_pages(declared, before):
    assert judge(declared, "", before + PAGE) == "html"


@pytest.mark.parametrize("start", [b"<HTML>", b"<title>x", b"<body class=a>", b"<div>", b"<p>", b"<a href=x>", b"<H1>"])
def test_starts_of_pages_without_a_type(start):
    assert judge("", "", start + b" and text") == "html"


@pytest.mark.parametrize(
    "body",
    [
        PDF,
        b"\xef\xbb\xbf" + PDF,
        b"\r\n" + PDF,
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"PK\x03\x04\x14\x00",
        b"RIFF\x00\x00\x00\x00WEBPVP8",
        b"\x00\x00\x00\x18ftypmp42",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"{\\rtf1\\ansi",
        b"%!PS-Adobe-3.0",
        b"\x1f\x8b\x08\x00",
        b"\x7fELF\x02",
        b"MZ\x90\x00\x03",
        b"wOF2\x00\x01",
        b"ID3\x03\x00",
    ],
)
@pytest.mark.parametrize("declared", ["text/html", "text/plain", "application/xhtml+xml"])
def test_what_servers_call_text(declared, body):
    assert judge(declared, "", body + b" more") == "binary_body"


@pytest.mark.parametrize(
    ("declared", "identified", "body", "kind"),
    [
        ("text/html", "application/pdf", b"anything", "binary_body"),
        ("text/html", "image/png", b"anything", "binary_body"),
        ("text/html", "text/html", PAGE, "html"),
        ("text/html", "application/xml", PAGE, "html"),
        ("", "text/html", b"no tag at all", "html"),
        ("application/octet-stream", "text/plain", b"words", "text"),
        ("image/png", "text/html", PAGE, "media_type"),
        ("text/plain", "", b"<html>shown as it is", "text"),
        ("text/plain", "", b"%PDF was a topic", "text"),
        ("text/markdown", "", b"# Title", "text"),
        ("", "", b"just words", "media_type"),
        ("", "", b"", "media_type"),
        ("application/json", "", b"{}", "media_type"),
        ("text/css", "", b"a {}", "media_type"),
        ("application/xml", "", b'<?xml version="1.0"?><rss version="2.0">', "media_type"),
        ("text/xml", "", b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html>', "html"),
        ("application/pdf", "", PDF, "media_type"),
    ],
)
def test_who_is_believed(declared, identified, body, kind):
    assert judge(declared, identified, body) == kind


def test_comments_without_end_cost_little():
    assert judge("", "", b"<!--" * 1_000_000) == "media_type"
    assert judge("", "", b"<!---->" * 1_000_000) == "media_type"
