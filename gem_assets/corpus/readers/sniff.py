"""Decide what a response body is from its media type, the crawler's own finding, and its first bytes."""

import re
from typing import Final

HTML_TYPES: Final = frozenset(
    {
        *("text/html", "application/xhtml+xml", "application/xhtml", "application/vnd.wap.xhtml+xml", "text/xhtml"),
        *("html", "htm", "text/htm", "text/x-html", "application/html", "text/html-sandboxed", "text_html"),
    }
)
TEXT_TYPES: Final = frozenset({"text/plain", "text/markdown", "text/x-markdown", "text", "plain/text", "text/text"})
_VAGUE: Final = frozenset(
    {
        *(
            "",
            "*/*",
            "text/*",
            "application/octet-stream",
            "binary/octet-stream",
            "application/unknown",
            "none",
            "null",
        ),
        *("unknown", "unknown/unknown", "content/unknown", "application/xml", "text/xml", "httpd/unix-directory"),
        *("application/x-httpd-php", "application/x-unknown-content-type", "no-type", "unk", "text/unknown"),
    }
)
_BINARY_FAMILIES: Final = ("image/", "audio/", "video/", "font/")
_BINARY_TYPES: Final = frozenset(
    {
        *("application/pdf", "application/zip", "application/gzip", "application/postscript", "application/rtf"),
        *("application/msword", "application/java-archive", "application/x-shockwave-flash", "application/x-bzip2"),
        *("application/x-rar-compressed", "application/x-7z-compressed", "application/x-tar", "application/x-xz"),
        *("application/epub+zip", "application/x-dosexec", "application/x-tika-msoffice", "application/zstd"),
        *("application/x-tika-ooxml", "application/x-font-ttf", "application/vnd.ms-fontobject", "application/ogg"),
    }
)
_SIGNATURE = re.compile(
    rb"%PDF-|%!PS|\{\\rtf|\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....(?:WEBP|WAVE|AVI )|II\*\x00|MM\x00\*|\x00\x00\x01\x00"
    rb"|PK(?:\x03\x04|\x05\x06)|7z\xbc\xaf\x27\x1c|Rar!\x1a|\x1f\x8b|\x28\xb5\x2f\xfd|BZh[1-9]1AY|\xfd7zXZ"
    rb"|\x00\x00\x00.ftyp|OggS\x00|ID3[\x02-\x04]|\x1a\x45\xdf\xa3|[FC]WS[\x01-\x20]|wOF[F2]|OTTO\x00|\x00\x01\x00\x00\x00"
    rb"|\xd0\xcf\x11\xe0|\x7fELF|MZ[\x00-\x90]\x00|\xca\xfe\xba\xbe|SQLite format 3\x00|\x00asm",
    re.S,
)
_HTML = re.compile(
    rb"<(?:!doctype\s+html|(?:html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p|meta|link)[\s>/])",
    re.I,
)
_XHTML = re.compile(rb"<!doctype\s+html|<html[\s>]", re.I)
_BLANK: Final = b" \t\r\n\x0c"
_HEAD: Final = 4096


def looks_html(body: bytes) -> bool:
    """Tell whether a page begins here, be it after a byte order mark, comments or an XML declaration."""
    head = body[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    while head.startswith(b"<!--"):
        head = head.partition(b"-->")[2].lstrip(_BLANK)
    if head.startswith(b"<?xml"):
        return _XHTML.search(head) is not None
    return _HTML.match(head) is not None


def is_binary_body(body: bytes) -> bool:
    """Tell whether the first bytes are those of a document that is not text: PDF, pictures, archives, programs."""
    return _SIGNATURE.match(body[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)) is not None or (
        _SIGNATURE.match(body[:32]) is not None
    )


def judge(declared: str, identified: str, body: bytes) -> str:
    """Return ``html`` or ``text``; where a body is neither, the kind under which it is counted.

    Parameters
    ----------
    declared
        Media type of the server, lower case, '' where it gave none.
    identified
        What the crawler found (WARC-Identified-Payload-Type), '' where it did not look.
    """
    kind = "html" if declared in HTML_TYPES else "text" if declared in TEXT_TYPES else ""
    if not kind and declared in _VAGUE:
        by_crawler = "html" if identified in HTML_TYPES else "text" if identified in TEXT_TYPES else ""
        kind = "html" if looks_html(body) else by_crawler
    if not kind:
        return "media_type"
    binary = identified.startswith(_BINARY_FAMILIES) or identified in _BINARY_TYPES
    return "binary_body" if binary or is_binary_body(body) else kind
