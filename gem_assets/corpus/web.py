"""The document inside an archived web record, or the reason why there is none."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from gem_assets.corpus.contained import page_text
from gem_assets.corpus.html import decode_bytes
from gem_assets.corpus.http import parse_response
from gem_assets.corpus.records import Damaged

HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
TEXT_TYPES: Final = frozenset({"text/plain", "text/markdown"})

_LOOKS_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body)", re.I)
_BLANKS = re.compile(r"[\x00-\x20\x7f]+")
_DIGITS = re.compile(r"\d{8}|\d{14}")
_YEAR_MONTH = re.compile(r"[12]\d{3}(-(0[1-9]|1[0-2]))?")
_LONGEST_DATE: Final = 64


def web_text(media_type: str, charset: str | None, body: bytes) -> str | None:
    """Return the text of a body, or None where its media type holds no document for us.

    Raises
    ------
    Damaged
        ``costly_page`` or ``reader_error``: see :func:`gem_assets.corpus.contained.page_text`.
    """
    if media_type in HTML_TYPES or (not media_type and _LOOKS_HTML.match(body)):
        return page_text(decode_bytes(body, charset, is_html=True))
    if media_type in TEXT_TYPES:
        return decode_bytes(body, charset, is_html=False)
    return None


def response_text(block: bytes, limit: int) -> tuple[str | None, str]:
    """Return the text of a stored HTTP response; where there is none, the kind under which it is counted.

    Raises
    ------
    Damaged
        The response cannot be parsed, or is too large once decoded.
    """
    response = parse_response(block, limit)
    if response.status != 200:
        return None, "http_status"
    text = web_text(response.media_type, response.charset, response.body)
    return text, "" if text is not None else "media_type"


def utf8_text(data: bytes) -> str:
    """Decode strictly.

    Raises
    ------
    Damaged
        ``invalid_utf8``, with the position of the first bad byte.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("invalid_utf8", f"first bad byte at {error.start}") from error


def clean_url(url: str | None) -> str | None:
    """Return an address without the angle brackets of some writers and without control characters."""
    if not url:
        return None
    url = url.strip()
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1]
    url = _BLANKS.sub(lambda m: "%20" * m.group(0).count(" "), url)
    return url.encode("utf-8", "ignore").decode("utf-8")[:8192] or None


def iso_date(value: str | None) -> str | None:
    """Return a date as ISO 8601, or None where it is none.

    Understood are ISO 8601 itself (also a year, or a year and month), the 8 or 14 digits of ARC files, and the dates of
    mail and HTTP headers.
    """
    if not value:
        return None
    value = value.strip()[:_LONGEST_DATE]
    try:
        if _DIGITS.fullmatch(value):
            return datetime.strptime(value.ljust(14, "0"), "%Y%m%d%H%M%S").isoformat() + "Z"
        if not _YEAR_MONTH.fullmatch(value):
            datetime.fromisoformat(value)
    except ValueError:
        return _mail_date(value)
    return value


def _mail_date(value: str) -> str | None:
    try:
        return parsedate_to_datetime(value).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def is_site_file(url: str | None) -> bool:
    """Tell whether an address is one of the files that every crawl fetches and no one reads."""
    return url is not None and url.split("?", 1)[0].endswith("/robots.txt")
