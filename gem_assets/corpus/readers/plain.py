"""Read text, Markdown and HTML files: one document per file."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.records import Damaged, Item, Quarantined, RawDocument
from gem_assets.corpus.readers.streams import open_stream, read_up_to
from gem_assets.corpus.readers.web import utf8_text
from gem_assets.corpus.text.charsets import decode_bytes, decode_unmistakable
from gem_assets.corpus.text.contained import page_text

TEXT_SUFFIXES: Final = frozenset({".txt", ".md", ".markdown", ".rst", ".text"})
HTML_SUFFIXES: Final = frozenset({".html", ".htm", ".xhtml"})


def read_plain(source: BinaryIO, relative: str, config: CorpusConfig) -> Iterator[Item]:
    """Yield the one document of a file; its ``url`` is empty and its place is the file."""
    stream = open_stream(source, config, relative)
    data = read_up_to(stream, config.max_record_bytes + 1)
    damage = stream.damage
    if damage is None and len(data) > config.max_record_bytes:
        damage = Damaged("too_large", f"max_record_bytes is {config.max_record_bytes}")
    suffixes = {suffix.lower() for suffix in PurePosixPath(relative).suffixes}
    try:
        if damage is not None:
            raise damage
        if suffixes & HTML_SUFFIXES:
            text = page_text(decode_bytes(data, None, is_html=True))
        else:
            found = decode_unmistakable(data)
            text = found if found is not None else utf8_text(data)
    except Damaged as error:
        yield Quarantined(relative, 0, error.reason, error.detail, len(data))
        return
    yield RawDocument(relative, 0, text, len(data))
