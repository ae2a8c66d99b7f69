"""Extract the document from an archived web record, or the reason why there is none."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gem_assets.corpus.addresses import LONGEST_URL
from gem_assets.corpus.readers.dates import iso_date
from gem_assets.corpus.readers.http import parse_response
from gem_assets.corpus.readers.records import Damaged, Item, Quarantined, RawDocument, Skipped, is_fault
from gem_assets.corpus.readers.sniff import judge
from gem_assets.corpus.text.charsets import decode_bytes
from gem_assets.corpus.text.cleaning import host_source
from gem_assets.corpus.text.contained import page_text

_BLANKS = re.compile(r"[\x00-\x20\x7f]+")


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a record, or the kind under which it is counted; ``cut``: the body breaks off after the text."""

    text: str | None
    skipped: str = ""
    cut: bool = False


def web_page(media_type: str, charset: str | None, body: bytes, identified: str = "") -> Page:
    """Return the page in a body; see :func:`gem_assets.corpus.readers.sniff.judge` for what is one.

    Raises Damaged ``costly_page`` or ``reader_error``: see :func:`gem_assets.corpus.text.contained.page_text`.
    """
    kind = judge(media_type, identified, body)
    if kind not in ("html", "text"):
        return Page(None, kind)
    text = decode_bytes(body, charset, is_html=kind == "html")
    return Page(page_text(text) if kind == "html" else text)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was; ``date`` as it is written there."""

    file: str
    offset: int
    n_bytes: int
    url: str | None
    date: str


def page_items(read: Callable[[], Page], place: Place, *, cut: bool = False) -> Iterator[Item]:
    """Yield the document that ``read`` finds, or why there is none; whatever goes wrong is a row of this record.

    ``cut`` tells that the crawler says that it cut the body.
    """
    file, offset, n_bytes, url = place.file, place.offset, place.n_bytes, place.url
    try:
        page = read()
        source, date = host_source(url), iso_date(place.date) or place.date or None
    except Damaged as damage:
        yield Quarantined(file, offset, damage.reason, damage.detail, n_bytes, url)
        return
    except BaseException as error:
        if not is_fault(error):
            raise
        # the message may quote the document, so only the class is written
        yield Quarantined(file, offset, "reader_error", type(error).__name__, n_bytes, url)
        return
    if page.text is None:
        yield Skipped(file, offset, page.skipped)
        return
    yield RawDocument(file, offset, page.text, n_bytes, url, source, date)
    if page.cut or cut:
        yield Skipped(file, offset, "cut_body")


def response_page(block: bytes, limit: int, identified: str = "") -> Page:
    """Return the page in a stored HTTP response.

    Raises Damaged when the response cannot be parsed, or is too large once decoded.
    """
    response = parse_response(block, limit)
    if response.status != 200:
        return Page(None, "http_status")
    page = web_page(response.media_type, response.charset, response.body, identified)
    return replace(page, cut=response.cut)


def utf8_text(data: bytes) -> str:
    """Decode strictly.

    Raises Damaged ``invalid_utf8``, with the position of the first bad byte.
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
    return url.encode("utf-8", "ignore").decode("utf-8")[:LONGEST_URL] or None


def is_site_file(url: str | None) -> bool:
    """Tell whether an address is one of the files that every crawl fetches and no one reads."""
    return url is not None and url.split("?", 1)[0].endswith("/robots.txt")
