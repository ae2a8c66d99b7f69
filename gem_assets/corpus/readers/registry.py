"""Read one landed file of any format: documents, damaged records and skipped records.

The first bytes decide, inside the compression if there is one; the name decides only for formats without a mark of
their own (JSON Lines, text). Whatever goes wrong becomes a row: :func:`read_file` does not raise on bad input, and
what was readable before the damage has been yielded by then.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.arc import read_arc
from gem_assets.corpus.readers.codecs import find_codec
from gem_assets.corpus.readers.jsonl import read_jsonl
from gem_assets.corpus.readers.parquet import read_parquet
from gem_assets.corpus.readers.plain import HTML_SUFFIXES, TEXT_SUFFIXES, read_plain
from gem_assets.corpus.readers.raw import Raw
from gem_assets.corpus.readers.records import Damaged, Item, Quarantined, is_fault
from gem_assets.corpus.readers.sniff import is_binary_body
from gem_assets.corpus.readers.streams import is_binary, open_stream, read_up_to
from gem_assets.corpus.readers.unsupported import unsupported
from gem_assets.corpus.readers.warc import read_warc

JSON_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".jl"})
WARC_SUFFIXES: Final = frozenset({".warc", ".wet", ".wat"})
_HEAD: Final = 1 << 16
_JSON_START = re.compile(rb"(?:\A|\n)[ \t\r]*[\[{]\s*\"")


def read_file(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield everything that one landed file holds, in the order of the file.

    Parameters
    ----------
    path
        The file to read.
    relative
        Its name in the rows: the path below the landing folder, with forward slashes.
    config
        Limits and column names.
    """
    items = 0
    try:
        for item in _items(path, relative, config):
            items += 1
            yield item
    except OSError as error:
        yield Quarantined(relative, 0, "unreadable_file", f"{type(error).__name__} after {items} records")
    except BaseException as error:
        if not is_fault(error):
            raise
        # the message may quote the document, so only the class is written
        yield Quarantined(relative, 0, "reader_error", f"{type(error).__name__} after {items} records")


def _items(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    size = path.stat().st_size
    if size == 0:
        yield Quarantined(relative, 0, "empty_file", "zero bytes")
        return
    with path.open("rb") as source:
        kind, problem = _kind(source, relative, config)
        source.seek(0)
        match kind:
            case "parquet":
                yield from read_parquet(path, relative, config)
            case "warc":
                yield from read_warc(source, relative, config)
            case "arc":
                yield from read_arc(source, relative, config)
            case "jsonl":
                yield from read_jsonl(source, relative, config)
            case "plain":
                yield from read_plain(source, relative, config)
            case _:
                yield Quarantined(relative, 0, problem.reason, problem.detail, size)


def _kind(source: BinaryIO, relative: str, config: CorpusConfig) -> tuple[str, Damaged]:
    """Return what the file is; '' and the reason where it cannot be read."""
    raw = source.read(_HEAD)
    source.seek(0)
    with closing(open_stream(source, config, relative)) as stream:
        head = read_up_to(stream, _HEAD)
        while not head and stream.damage is not None and stream.resume():
            head = read_up_to(stream, _HEAD)
        damage, codec = stream.damage, stream.codec
    strange = unsupported(raw, "" if codec else relative) or (codec and unsupported(head, "", inside=codec))
    packed = find_codec(Raw(BytesIO(head)), config.max_window_bytes) if codec else None
    suffixes = {suffix.lower() for suffix in PurePosixPath(relative).suffixes}
    kind = _kind_of(head, suffixes)
    if strange:
        return "", Damaged("unsupported_compression", strange)
    if packed is not None:
        return "", Damaged("unsupported_compression", f"{packed.name} inside {codec}: decompress it once")
    if kind == "parquet" and codec:
        return "", Damaged("unsupported_compression", f"parquet inside {codec}: decompress it, as its columns are")
    if not head and damage is not None:
        return "", damage
    if kind == "plain" and is_binary_body(head):
        return "", Damaged("unknown_format", "a PDF, picture, archive or program, whatever its name says")
    if kind == "jsonl" and is_binary(head[:512].translate(None, b"\0\x1e")) and not _JSON_START.search(head):
        return "", Damaged("unknown_format", "binary data, neither a format nor a compression that we know")
    detail = "set its suffix to .warc, .arc, .parquet, .jsonl, .txt, .md or .html, or remove it"
    return kind, Damaged("unknown_format", detail)


def _kind_of(head: bytes, suffixes: set[str]) -> str:
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"WARC/"):
        return "warc"
    if start.startswith(b"filedesc:"):
        return "arc"
    if suffixes & (TEXT_SUFFIXES | HTML_SUFFIXES) and not suffixes & (JSON_SUFFIXES | WARC_SUFFIXES | {".arc"}):
        return "plain"
    if start.startswith(b'{"') or suffixes & JSON_SUFFIXES:
        return "jsonl"
    if ".parquet" in suffixes:
        return "parquet"
    if suffixes & WARC_SUFFIXES:
        return "warc"
    return "arc" if ".arc" in suffixes else ""
