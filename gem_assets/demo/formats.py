"""Write pages as WARC, parquet and JSON lines, and damage files the way transfers and crawlers do.

All writers are deterministic: no time stamps but those derived from the page, no file names inside gzip headers.
"""

import gzip
import hashlib
import html
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.demo.crawl import Page
from gem_assets.demo.finding import fraction
from gem_assets.demo.passages import Passage

_CODE = frozenset(
    {
        "python-code",
        "c-headers",
        "type-stubs",
        "cython",
        "javascript",
        "stylesheets",
        "html",
        "json",
        "build-files",
        "tables",
    }
)

_NAVIGATION = (
    '<nav class="menu"><ul><li><a href="/">Home</a></li><li><a href="/packages">Packages</a></li>'
    '<li><a href="/a-z">All pages</a></li><li><a href="/recent">Recent changes</a></li></ul></nav>'
)
_FOOTER = '<footer><a href="/about">About this mirror</a> · <a href="/terms">Terms</a></footer>'


def crawl_date(snapshot: str, url: str) -> str:
    """Return when the crawl fetched the page (ISO 8601, UTC)."""
    second = int(fraction("date", snapshot, url) * 28 * 86_400)
    day, second = divmod(second, 86_400)
    return f"{snapshot}-{day + 1:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def as_row(page: Page, snapshot: str) -> dict[str, str | None]:
    """Return the page as the columns that parquet and JSONL snapshots have."""
    passage = page.passage
    return {
        "url": passage.url,
        "date": crawl_date(snapshot, passage.url),
        "source": passage.source,
        "lang": passage.language,
        "license": passage.licence,
        "text": passage.text,
    }


def as_html(passage: Passage) -> str:
    """Render a passage as the page that a simple documentation mirror would serve."""
    title = html.escape(passage.url.split("/", 3)[3])
    licence = f'<meta name="license" content="{html.escape(passage.licence)}">\n' if passage.licence else ""
    body = _pre(passage.text) if passage.kind in _CODE else _paragraphs(passage.text)
    return (
        f'<!DOCTYPE html>\n<html lang="{passage.language or "en"}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n{licence}</head>\n<body>\n{_NAVIGATION}\n"
        f"<main><article>\n{body}\n</article></main>\n{_FOOTER}\n</body>\n</html>\n"
    )


def _pre(text: str) -> str:
    return f"<pre><code>{html.escape(text, quote=False)}</code></pre>"


def _paragraphs(text: str) -> str:
    """Render prose: blank lines part paragraphs, indented blocks keep their line breaks."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.split("\n")
        indented = len(lines) > 1 and any(line[:1].isspace() for line in lines)
        out.append(_pre(block) if indented else f"<p>{html.escape(block.strip(), quote=False)}</p>")
    return "\n".join(out)


def write_warc(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write a WARC 1.0 file, one gzip member per record: warcinfo, then a response for each page."""
    info = b"software: gem-assets demo\r\nformat: WARC File Format 1.0\r\n"
    with path.open("wb") as stream:
        _record(stream, "warcinfo", path.name, f"{snapshot}-01T00:00:00Z", "application/warc-fields", info)
        for page in pages:
            url = page.passage.url
            body = as_html(page.passage).encode("utf-8")
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode("ascii")
            date = crawl_date(snapshot, url)
            _record(stream, "response", url, date, "application/http; msgtype=response", head + body)


def _record(stream: io.BufferedWriter, kind: str, target: str, date: str, content_type: str, payload: bytes) -> None:
    digest = hashlib.sha256(f"{kind} {target} {date}".encode()).hexdigest()
    identity = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    name = "WARC-Filename" if kind == "warcinfo" else "WARC-Target-URI"
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\nWARC-Date: {date}\r\n"
        f"{name}: {target}\r\nContent-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n\r\n"
    ).encode()
    stream.write(gzip.compress(header + payload + b"\r\n\r\n", 6, mtime=0))


def write_parquet(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write the pages as one parquet file."""
    names = ["url", "date", "source", "lang", "license", "text"]
    table = pa.Table.from_pylist(
        [as_row(page, snapshot) for page in pages], schema=pa.schema([(name, pa.string()) for name in names])
    )
    pq.write_table(table, path, compression="zstd")


def jsonl_bytes(pages: Sequence[Page], snapshot: str) -> bytes:
    """Return the pages as JSON lines in UTF-8."""
    return b"".join(json.dumps(as_row(page, snapshot), ensure_ascii=False).encode() + b"\n" for page in pages)


def write_jsonl_gz(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write the pages as gzip-compressed JSON lines."""
    path.write_bytes(gzip.compress(jsonl_bytes(pages, snapshot), 6, mtime=0))


def write_truncated_gzip(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write a JSONL.gz whose transfer broke off after two thirds."""
    whole = gzip.compress(jsonl_bytes(pages, snapshot), 6, mtime=0)
    path.write_bytes(whole[: len(whole) * 2 // 3])


def write_cut_line(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write JSON lines whose last line stops half-way."""
    whole = jsonl_bytes(pages[:-1], snapshot)
    last = jsonl_bytes(pages[-1:], snapshot)
    path.write_bytes(whole + last[: len(last) // 2])


def write_invalid_utf8(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write JSON lines of which every third holds bytes that are not UTF-8."""
    lines = jsonl_bytes(pages, snapshot).splitlines(keepends=True)
    path.write_bytes(b"".join(_garbled(line) if number % 3 == 1 else line for number, line in enumerate(lines)))


def _garbled(line: bytes) -> bytes:
    middle = len(line) - len(line) // 3
    return line[:middle] + b"\xff\xfe\xe9\xfc" + line[middle:]


def write_broken_parquet(path: Path, pages: Sequence[Page], snapshot: str) -> None:
    """Write a parquet file that lost its footer."""
    write_parquet(path, pages, snapshot)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
