"""Read one landed file of any format: documents, damaged records and skipped records.

The first bytes decide, inside the compression if there is one; the name decides only for formats without a mark of
their own (JSON Lines, text). Whatever is wrong with the bytes becomes a row: :func:`read_file` does not raise on bad
input, and what was readable before the damage has been yielded by then. Failing storage is not a row; it raises.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Reader:
    """One format: how a file of it is read, its suffixes, and the mark at its start if it has one of its own."""

    read: Callable[[BinaryIO, str, CorpusConfig], Iterator[Item]]
    suffixes: frozenset[str]
    mark: re.Pattern[bytes] | None = None


def _after_blanks(mark: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\xef\xbb\xbf)?\s*" + mark)


def _read_parquet(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    return read_parquet(Path(source.name), relative, config)


#: The formats by name. Where neither a mark nor text decides, the first one with a suffix of the file reads it.
READERS: Final[Mapping[str, Reader]] = {
    "parquet": Reader(_read_parquet, frozenset({".parquet"}), re.compile(b"PAR1")),
    "warc": Reader(read_warc, frozenset({".warc", ".wet", ".wat"}), _after_blanks(b"WARC/")),
    "arc": Reader(read_arc, frozenset({".arc"}), _after_blanks(b"filedesc:")),
    "jsonl": Reader(read_jsonl, frozenset({".jsonl", ".ndjson", ".json", ".jl"})),
    "plain": Reader(read_plain, TEXT_SUFFIXES | HTML_SUFFIXES),
}
_HEAD: Final = 1 << 16
_JSON_OBJECT: Final = _after_blanks(rb'\{"')
_JSON_START = re.compile(rb"(?:\A|\n)[ \t\r]*[\[{]\s*\"")


def read_file(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield everything that one landed file holds, in the order of the file.

    ``relative`` is its name in the rows: the path below the landing folder, with forward slashes.

    Raises OSError when the storage fails.
    """
    items = 0
    try:
        for item in _items(path, relative, config):
            items += 1
            yield item
    except BaseException as error:
        if not is_fault(error):
            raise
        reason = "unreadable_file" if isinstance(error, OSError) else "reader_error"
        # the message may quote the document, so only the class is written
        yield Quarantined(relative, 0, reason, f"{type(error).__name__} after {items} records")


def _items(path: Path, relative: str, config: CorpusConfig) -> Iterator[Item]:
    size = path.stat().st_size
    if size == 0:
        yield Quarantined(relative, 0, "empty_file", "zero bytes")
        return
    with path.open("rb") as source:
        kind, problem = _kind(source, relative, config)
        source.seek(0)
        if kind:
            yield from READERS[kind].read(source, relative, config)
        else:
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
    for kind, reader in READERS.items():
        if reader.mark is not None and reader.mark.match(head[:512]):
            return kind
    named = [kind for kind, reader in READERS.items() if suffixes & reader.suffixes]
    # plain text may begin like JSON, and its name says so; a packed name like a.warc.txt does not
    if "plain" in named and set(named) <= {"plain", "parquet"}:
        return "plain"
    if "jsonl" in named or _JSON_OBJECT.match(head[:512]):
        return "jsonl"
    return next(iter(named), "")
