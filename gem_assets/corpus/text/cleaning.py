"""Clean text, content digests and document ids.

Cleaning keeps what a reader of the page would see: NFC, one kind of newline, no control or invisible characters, no
blanks at line ends, at most two empty lines in a row. Zero-width joiners stay (Persian, Indic scripts and emoji need
them). All rules are linear in the length of the text.
"""

import re
import unicodedata
from functools import cache
from hashlib import blake2b
from pathlib import PurePosixPath
from urllib.parse import urlsplit

DIGEST_BYTES = 16

_ODD_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\u2028\u2029]")
# more combining marks in a row than any text has: UAX 15 counts on 30
_RUN = 32
_C1 = re.compile(r"[\x80-\x9f]")
# UTF-8 whose bytes were read as Latin-1, one character
_BYTES_OF_UTF8 = re.compile(r"[\xc2-\xdf][\x80-\x9f]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# controls but tab and newline; soft hyphen, zero-width space, word joiner, byte order mark, interlinear marks
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff\ufff9-\ufffb]")
_JOINERS = re.compile(r"[\u200c-\u200f\u202a-\u202e\u2066-\u2069]")
_TRAILING = re.compile(r"[^\S\n]\n")
_MANY_EMPTY_LINES = re.compile(r"\n{4,}")
_SUFFIXES = re.compile(
    r"(\.(gz|zst|bz2|xz|lz4|sz|parquet|jsonl|ndjson|json|warc|wet|wat|arc|txt|md|markdown|rst|html?|xhtml))+$", re.I
)
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "gob", "go", "ne", "net", "nom", "or", "org"})


def clean_text(text: str) -> str:
    """Return the text in the form in which it is stored.

    Raises UnicodeEncodeError when the text holds lone surrogates and cannot be written as UTF-8.
    """
    ascii_only = text.isascii()
    if not ascii_only:
        text.encode("utf-8")
        if _C1.search(text):
            text = _without_c1(text)
    text = _ODD_NEWLINES.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    # last, because taking out an invisible character can put a mark beside its letter
    if not ascii_only and _marks(2).search(text[:: _RUN // 2]):
        text = _marks(_RUN).sub(_in_order, text)
    if not ascii_only and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if _TRAILING.search(text):
        # a pattern for runs of blanks would be quadratic on a line of blanks that ends in a letter
        text = "\n".join([line.rstrip() for line in text.split("\n")])
    text = _MANY_EMPTY_LINES.sub("\n\n\n", text)
    return text.strip("\n").rstrip()


@cache
def _marks(least: int) -> re.Pattern[str]:
    """Return a pattern for runs of combining marks."""
    # most characters are neither combining nor composed, and cost no normalisation
    chars = (c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.combining(c) or unicodedata.decomposition(c))
    marks = "".join(char for char in chars if all(map(unicodedata.combining, unicodedata.normalize("NFD", char))))
    return re.compile(f"[{re.escape(marks)}]{{{least},}}")


def _in_order(run: re.Match[str]) -> str:
    # normalisation sorts a run by insertion, which takes an hour for a few megabytes; sorted runs it only reads
    parts = "".join(unicodedata.normalize("NFD", char) for char in run.group())
    return "".join(sorted(parts, key=unicodedata.combining))


def _without_c1(text: str) -> str:
    """Return the text with Windows-1252 in the place of the controls U+0080 to U+009F, as browsers show it.

    Nobody writes these controls; they are bytes of Windows-1252, or of UTF-8, that were read as Latin-1. Five of them
    mean nothing and go. U+0085 is the line end it claims to be only in a text of several lines without any other.
    """
    if text.count("\x85") > 1 and "\n" not in text and len(_C1.findall(text)) == text.count("\x85"):
        return text.replace("\x85", "\n")
    text = _BYTES_OF_UTF8.sub(_utf8_character, text)
    return _C1.sub(lambda match: match.group().encode("latin-1").decode("cp1252", "ignore"), text)


def _utf8_character(match: re.Match[str]) -> str:
    found = match.group()
    if not _C1.search(found):
        return found
    try:
        return found.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return found


def digest_form(text: str) -> str:
    """Return the text with case, blanks and invisible marks taken out of the comparison."""
    if not text.isascii():
        text = _JOINERS.sub("", text)
    return " ".join(text.casefold().split())


def content_digest(text: str) -> str:
    """Return 32 hex digits (BLAKE2b, 128 bits) that whitespace and case do not change."""
    return blake2b(digest_form(text).encode("utf-8"), digest_size=DIGEST_BYTES).hexdigest()


def document_id(source: str, locator: str, text: str, *, digest: str | None = None) -> str:
    """Return the 32 hex digits that name a document: this text, at this place, of this source.

    Parameters
    ----------
    source, locator
        Where the document is from; ``locator`` is its address, or ``file#offset`` where it has none.
    text
        Clean text; two texts that differ in case or blanks only have one id at one place.
    digest
        ``content_digest(text)`` if it is known.
    """
    h = blake2b(digest_size=DIGEST_BYTES, person=b"gem-doc-id")
    for part in (source, locator):
        raw = part.encode("utf-8", "backslashreplace")
        # lengths first: ("ab", "c") and ("a", "bc") are two places
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    h.update(bytes.fromhex(digest or content_digest(text)))
    return h.hexdigest()


def host_source(url: str | None) -> str | None:
    """Return the site of an http(s) address, close to its registrable domain, or None.

    The last two labels of the host, three under a two-letter country code with a usual second level (``co.uk``). A
    rule of thumb and not the public suffix list: ids must not change when that list does.
    """
    if not url or not url[:8].lower().startswith(("http://", "https://")):
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    if not host:
        return None
    labels = host.strip(".").split(".")
    if len(labels) <= 2 or labels[-1].isdigit() or ":" in host:
        return host
    three = len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if three else labels[-2:])


def file_source(relative: str) -> str:
    """Return the source named by the landing layout: the first folder, or the file's name without its suffixes."""
    path = PurePosixPath(relative)
    return path.parts[0] if len(path.parts) > 1 else _SUFFIXES.sub("", path.name) or path.name
