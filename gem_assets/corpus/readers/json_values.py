"""Read JSON rows that are not lines: arrays, concatenated objects, objects over several lines, arrays under a key.

Values are decoded from a buffer that grows until the next one is whole, at most to ``max_record_bytes``. After damage
reading continues where a row begins as the first one began: an opening brace, the same blanks and the same first key.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.records import Damaged
from gem_assets.corpus.readers.streams import Source

_READ: Final = 1 << 18
_FIRST_TRY: Final = 1 << 14
_DEEP: Final = 500
_BETWEEN: Final = re.compile(r"[\s,\ufeff\x1e]*+")
_BEGINNING: Final = re.compile(r'\{\s*+"(?:[^"\\]|\\.)*+"')
# an error this close to the end of the buffer may be a token that the buffer cuts
_LONGEST_TOKEN: Final = 16
_WRAPPERS: Final = ("row", "_source")
BLANK: Final = b" \t\r\n\x1e"
"""What may stand around a row: blanks, and the separator of RFC 7464."""
_WAY_OUT: Final = "write one object a line, or one array of objects"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a JSON file: its value, or what is wrong with it."""

    number: int
    n_bytes: int
    value: Any = None
    damage: Damaged | None = None


def is_lines(head: bytes, text_names: tuple[str, ...]) -> bool:
    """Tell by the first bytes of a file whether its rows are lines: at least half of its lines are objects.

    Parameters
    ----------
    head
        Without a byte order mark; ends with the file, or anywhere.
    text_names
        Names of the text, by which an object that holds all rows is known.
    """
    lines = [line for line in head.split(b"\n")[:-1] if line.strip()]
    if len(lines) == 1 and _is_object(lines[0]):
        # it may be the whole file
        return not rows_below(json.loads(lines[0].strip(BLANK)), text_names)
    return bool(lines) and 2 * sum(map(_is_object, lines)) >= len(lines)


def _is_object(line: bytes) -> bool:
    try:
        return line.lstrip(BLANK).startswith(b"{") and isinstance(json.loads(line.strip(BLANK)), dict)
    except (ValueError, RecursionError):
        return False


def rows_below(value: Any, text_names: tuple[str, ...]) -> list[Any]:
    """Return the rows that an object holds: as columns, in a list at most two keys deep, or one under each key."""
    if not isinstance(value, dict):
        return []
    table = cast(dict[str, Any], value)
    if (rows := _rows_of_columns(table, text_names)) or _has(table, text_names):
        return rows
    entries = list(table.values())
    if len(entries) > 1 and all(_has(entry, text_names) for entry in entries):
        return entries
    for entry in entries:
        if isinstance(entry, list):
            rows = [_unwrapped(row, text_names) for row in cast(list[Any], entry)]
            if any(_has(row, text_names) for row in rows):
                return rows
    nested = (cast(dict[str, Any], entry) for entry in entries if isinstance(entry, dict))
    lists = ({key: v for key, v in entry.items() if isinstance(v, list)} for entry in nested)
    return next((rows for entry in lists if (rows := rows_below(entry, text_names))), [])


def _rows_of_columns(table: dict[str, Any], text_names: tuple[str, ...]) -> list[Any]:
    """Return the rows of a table that pandas wrote with ``split`` or ``columns``, or that holds a list a column."""
    names, data = table.get("columns"), table.get("data")
    if isinstance(names, list) and isinstance(data, list) and any(name in names for name in text_names):
        names, data = cast(list[Any], names), cast(list[Any], data)
        return [dict(zip(map(str, names), row, strict=False)) if isinstance(row, list) else row for row in data]
    if not _has(table, text_names):
        return []
    columns = list(table.values())
    if all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    if all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        return [{name: column[key] for name, column in table.items()} for key in columns[0]]
    return []


def _has(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and any(name in value for name in names)


def _unwrapped(row: Any, names: tuple[str, ...]) -> Any:
    """Return what an API wraps: ``{"row_idx": 0, "row": {…}}``, or ``{"_id": "a", "_source": {…}}``."""
    if not isinstance(row, dict) or _has(row, names):
        return row
    inner = (cast(dict[str, Any], row).get(key) for key in _WRAPPERS)
    return next((entry for entry in inner if _has(entry, names)), row)


def read_values(stream: Source, config: CorpusConfig) -> Iterator[Row]:
    """Yield the rows of a JSON file whose rows are not lines; a file without any row is one damaged row."""
    reader = _Values(stream, config.max_record_bytes)
    opening: str | None = None
    number = 0
    in_array = False
    while (sign := reader.next_sign()) is not None:
        if sign == "[" and not in_array:
            reader.skip()
            in_array = True
            continue
        if sign == "]" and in_array:
            reader.skip()
            in_array = False
            continue
        if sign == "{" and opening is None:
            opening = reader.beginning()
        if sign != "{" and opening is None:
            yield Row(number, 0, damage=Damaged("json_shape", _what(sign, in_array=in_array)))
            return
        value, n_bytes, damage = reader.decode() if sign == "{" or in_array else _foreign(sign)
        if damage is not None:
            if opening is None and damage.reason == "damaged_json":
                damage = Damaged("json_shape", _what(sign, in_array=in_array))
            if stream.damage is None or not reader.ended:
                yield Row(number, n_bytes, damage=damage)
            number += 1
            if opening is None or not reader.seek(opening):
                return
            continue
        rows = [] if in_array else rows_below(value, config.columns.text)
        for row in rows or [value]:
            yield Row(number, n_bytes // max(len(rows), 1), row)
            number += 1
    if in_array and stream.damage is None:
        yield Row(number, 0, damage=Damaged("truncated_json", "the array is not closed"))


def _what(sign: str, *, in_array: bool) -> str:
    if not in_array:
        return f"no JSON: the file begins with neither an object nor an array; {_WAY_OUT}"
    kinds = {'"': "strings", "[": "arrays"}
    return f"a JSON array of {kinds.get(sign, 'something else')} and not of objects; {_WAY_OUT}"


def _foreign(sign: str) -> tuple[Any, int, Damaged]:
    kind = "an array" if sign == "[" else "something else"
    return None, 0, Damaged("damaged_json", f"{kind} where an object has to begin")


class _Values:
    """Decodes one value after the other from a stream of bytes."""

    def __init__(self, stream: Source, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._decoder = json.JSONDecoder()
        # bytes that are not UTF-8 cost their own row, which is told when it is written back
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self.ended = False

    def _grow(self, size: int) -> None:
        parts = [self._text[self._at :]]
        while size > 0 and not self.ended:
            data = self._stream.read(_READ)
            self.ended = not data
            parts.append(self._utf8.decode(data, final=self.ended))
            size -= len(data)
        self._text, self._at = "".join(parts), 0

    def next_sign(self) -> str | None:
        """Go to the next character that is neither blank nor comma and return it; None at the end."""
        while True:
            found = _BETWEEN.match(self._text, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self.ended:
                return None
            self._grow(_READ)

    def skip(self) -> None:
        """Go over one character."""
        self._at += 1

    def beginning(self) -> str | None:
        """Return the brace, the blanks and the key with which the object here begins."""
        if (found := _BEGINNING.match(self._text, self._at)) is None and not self.ended:
            self._grow(_READ)
            found = _BEGINNING.match(self._text, self._at)
        return found.group() if found is not None else None

    def decode(self) -> tuple[Any, int, Damaged | None]:
        """Return the value here, its bytes, and what is wrong with it; move past it if nothing is."""
        size = _FIRST_TRY
        while True:
            # an error counts the lines before it, so its text must not be much longer than the value
            text = self._text[self._at : self._at + size]
            whole = self.ended and self._at + size >= len(self._text)
            try:
                value, end = self._decoder.raw_decode(text)
                raw = text[:end].encode("utf-8")
            except UnicodeEncodeError:
                return None, 0, Damaged("invalid_utf8", "bytes that are not UTF-8 in a row")
            except json.JSONDecodeError as error:
                if not error.msg.startswith("Unterminated") and error.pos < len(text) - _LONGEST_TOKEN:
                    return None, 0, Damaged("damaged_json", f"JSONDecodeError at character {error.pos}")
                if whole:
                    return None, len(text), Damaged("truncated_json", "the file ends inside a row")
                if len(text) > self._limit:
                    return None, len(text), Damaged("too_large", f"above max_record_bytes, which is {self._limit}")
                size *= 4
                if not self.ended and self._at + size > len(self._text):
                    self._grow(size)
                continue
            except (ValueError, RecursionError) as error:
                # what is nested too deep is that many characters long at least, and no row begins inside it
                self._at += _DEEP if isinstance(error, RecursionError) else 0
                return None, 0, Damaged("damaged_json", type(error).__name__)
            # a row that is not taken is looked behind from its last character
            self._at += end - 1 if len(raw) > self._limit else end
            if len(raw) > self._limit:
                detail = f"{len(raw)} bytes, max_record_bytes is {self._limit}"
                return None, len(raw), Damaged("too_large", detail)
            return value, len(raw), None

    def seek(self, opening: str) -> bool:
        """Go to the next place after this one where a row begins; tell whether there is one."""
        self._at += 1
        while (found := self._text.find(opening, self._at)) < 0:
            if self.ended:
                return False
            self._at = max(self._at, len(self._text) - len(opening))
            self._grow(_READ)
        self._at = found
        return True
