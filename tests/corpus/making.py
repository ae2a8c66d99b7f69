"""Small crawl files for tests."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.known import KnownContent, NothingKnown
from gem_assets.corpus.ingest import ingest_snapshot
from gem_assets.corpus.readers.records import Documents, Item, Quarantined, RawDocument, Skipped
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.report import IngestReport

WORDS = [
    *("harbour", "lantern", "meadow", "copper", "violin", "thunder", "orchard"),
    *("granite", "whisper", "canyon", "saddle", "ribbon", "marble", "falcon"),
    *("timber", "glacier", "pepper", "anchor", "velvet", "compass", "prairie"),
    *("cobalt", "juniper", "lattice", "quarry", "sparrow", "tundra", "walnut"),
]


def prose(seed: int, words: int = 60) -> str:
    """Return a text of its own for every seed."""
    return " ".join(
        WORDS[(seed * 7919 + i * (seed % 11 + 3) + i * i * (seed % 5)) % len(WORDS)] + str(seed) * (i % 9 == 0)
        for i in range(words)
    )


def items(
    path: Path, config: CorpusConfig | None = None, relative: str | None = None
) -> list[RawDocument | Quarantined | Skipped]:
    return list(one_by_one(read_file(path, relative or path.name, config or CorpusConfig())))


def one_by_one(found: Iterable[Item]) -> Iterator[RawDocument | Quarantined | Skipped]:
    """Yield what a reader gave with its columns as documents."""
    for item in found:
        if isinstance(item, Documents):
            for row, text in enumerate(item.texts.to_pylist()):
                fields = {name: values[row] for name, values in item.fields.items()}
                yield RawDocument(item.file, int(item.offsets[row]), text, int(item.n_bytes[row]), **fields)
        else:
            yield item


def documents(found: Iterable[Item]) -> list[RawDocument]:
    return [item for item in found if isinstance(item, RawDocument)]


def quarantined(found: Iterable[Item]) -> list[tuple[int, str]]:
    return [(item.offset, item.reason) for item in found if isinstance(item, Quarantined)]


def skipped(found: Iterable[Item]) -> list[str]:
    return [item.kind for item in found if isinstance(item, Skipped)]


def warc_record(
    kind: str,
    body: bytes,
    url: str | None = "https://www.example.org/page",
    content_type: str = "application/http; msgtype=response",
    length: int | None = None,
    date: str = "2026-01-02T03:04:05Z",
) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: {date}\r\n"
    head += "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
    if url is not None:
        head += f"WARC-Target-URI: {url}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def http(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body


def page(text: str, title: str = "A page") -> bytes:
    return f"<!doctype html><html><head><title>{title}</title></head><body><p>{text}</p></body></html>".encode()


def response(text: str, url: str = "https://www.example.org/page") -> bytes:
    return warc_record("response", http(page(text)), url)


def conversion(text: str, url: str) -> bytes:
    return warc_record("conversion", text.encode(), url, "text/plain")


def members(records: Sequence[bytes]) -> bytes:
    """Return one gzip member a record, as crawls are written."""
    return b"".join(gzip.compress(record, mtime=0) for record in records)


def jsonl(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def parquet(table: pa.Table | dict[str, list[Any]], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), sink, **options)
    return sink.getvalue()


def write(folder: Path, files: dict[str, bytes], *, success: bool = True) -> Path:
    """Lay out a landed snapshot by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if success:
        (folder / "_SUCCESS").touch()
    return folder


def ingest(
    tmp_path: Path,
    files: dict[str, bytes],
    config: CorpusConfig | None = None,
    known: KnownContent | None = None,
    snapshot: str = "s1",
    out: str | None = None,
    **more: Any,
) -> tuple[IngestReport, Path]:
    write(tmp_path / "landing" / snapshot, files)
    folder = tmp_path / (out or f"out-{snapshot}")
    report = ingest_snapshot(
        tmp_path / "landing", snapshot, folder, config or CorpusConfig(), known=known or NothingKnown(), **more
    )
    return report, folder


def rows(folder: Path, kind: str = "part") -> list[dict[str, Any]]:
    """Return the rows of the documents, or of duplicates, filtered or quarantine."""
    names = sorted(folder.glob("part-*.parquet")) if kind == "part" else [folder / f"{kind}.parquet"]
    return [row for name in names for row in pq.read_table(name).to_pylist()]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
