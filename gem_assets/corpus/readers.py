"""One landed file to documents, damaged records and skipped records, whatever its format.

The first bytes decide, inside the compression if there is one; the name decides only for formats without a mark of
their own (JSON Lines, text). Whatever goes wrong becomes a row: :func:`read_file` does not raise on bad input, and
what was readable before the damage has been yielded by then.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from gem_assets.corpus.arc import read_arc
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.jsonl import read_jsonl
from gem_assets.corpus.parquet import read_parquet
from gem_assets.corpus.plain import HTML_SUFFIXES, TEXT_SUFFIXES, read_plain
from gem_assets.corpus.records import Item, Quarantined
from gem_assets.corpus.streams import open_stream, read_up_to
from gem_assets.corpus.warc import read_warc

JSON_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".jl"})
WARC_SUFFIXES: Final = frozenset({".warc", ".wet", ".wat"})
_PANIC: Final = "PanicException"


def is_fault(error: BaseException) -> bool:
    """Tell an error of what is read from an interruption of the reading; a panic of native code is no ``Exception``."""
    ordinary = isinstance(error, Exception) and not isinstance(error, MemoryError)
    return ordinary or type(error).__name__ == _PANIC


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
        kind = _kind(source, relative, config)
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
                detail = "set its suffix to .warc, .arc, .parquet, .jsonl, .txt, .md or .html, or remove it"
                yield Quarantined(relative, 0, "unknown_format", detail, size)


def _kind(source: BinaryIO, relative: str, config: CorpusConfig) -> str:
    with closing(open_stream(source, config)) as stream:
        head = read_up_to(stream, 512)
    suffixes = {suffix.lower() for suffix in PurePosixPath(relative).suffixes}
    if head.startswith(b"PAR1") or ".parquet" in suffixes:
        return "parquet"
    if head.startswith(b"WARC/") or suffixes & WARC_SUFFIXES:
        return "warc"
    if head.startswith(b"filedesc:") or ".arc" in suffixes:
        return "arc"
    if suffixes & JSON_SUFFIXES:
        return "jsonl"
    if suffixes & (TEXT_SUFFIXES | HTML_SUFFIXES):
        return "plain"
    return "jsonl" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b'{"') else ""
