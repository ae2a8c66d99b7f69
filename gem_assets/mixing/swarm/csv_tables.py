"""The CSV files of published swarms, read strictly: each value is known by its line, and nothing is guessed in silence.

Commas, semicolons or tabs; quoted names with any of them, with quotes or with line breaks; a byte order mark; decimal
commas where the cells are not separated by commas; an index column without a name, as pandas writes it.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

KEY_COLUMNS: Final = ("run", "run_id", "index", "name")
_DELIMITERS: Final = (",", ";", "\t")
_MARKS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


@dataclass(frozen=True)
class SwarmFault:
    """Something wrong with one row; ``line`` counts from 1 and includes the header."""

    file: str
    line: int
    run: str
    kind: Literal["sum", "share", "loss", "aggregate", "duplicate_run", "conflict", "unmatched", "cells"]
    message: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, run {self.run}: {self.message}"


class SwarmError(ValueError):
    """A swarm table cannot be used; ``faults`` lists every row that is wrong."""

    def __init__(self, message: str, faults: Sequence[SwarmFault] = ()) -> None:
        shown = "".join(f"\n  {fault}" for fault in faults[:20])
        more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
        super().__init__(message + shown + more)
        self.faults = tuple(faults)


@dataclass(frozen=True)
class SwarmRow:
    """One row: the line on which it ends, and its cells by column as they stand in the file."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class SwarmCsv:
    """A file: its name, columns, sound rows, and the rows whose cells do not fit the header."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[SwarmRow, ...]
    faults: tuple[SwarmFault, ...]
    decimal_comma: bool

    def number(self, text: str) -> float:
        """Return the number that a cell holds; NaN for one that holds none."""
        plain = text.strip()
        if self.decimal_comma and "." not in plain:
            plain = plain.replace(",", ".", 1)
        try:
            return float("nan" if "_" in plain else plain)
        except ValueError:
            return float("nan")


def read_swarm_csv(path: Path) -> SwarmCsv:
    """Read one file.

    Raises SwarmError when it cannot be read or is not text, its quotes do not close, or its header is missing, names a
    column twice or leaves one without a name.
    """
    text = _text(path)
    above = 0
    if text.lower().startswith("sep=") and "\n" in text:  # a line that spreadsheets write
        text, above = text.partition("\n")[2], 1
    delimiter = max(_DELIMITERS, key=lambda mark: _header_rank(text, mark))
    rows: list[SwarmRow] = []
    faults: list[SwarmFault] = []
    # a csv reader splits lines by itself, so that a line break inside quotes stays in its cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(path, next(reader, []))
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            surplus = [cell for cell in cells[len(columns) :] if cell.strip()]
            if surplus or len(cells) < len(columns):
                held = f"{len(cells)} cells where the header has {len(columns)}"
                odd = f"; beyond them stands {', '.join(surplus)}" if surplus else ""
                faults.append(SwarmFault(path.name, reader.line_num + above, cells[0].strip(), "cells", held + odd))
            else:
                rows.append(SwarmRow(reader.line_num + above, dict(zip(columns, cells, strict=False))))
    except csv.Error as error:
        raise SwarmError(f"{path}, line {reader.line_num + above}: cannot be read as CSV: {error}") from error
    columns = _without_empty_end(columns, rows)
    if "" in columns:
        raise SwarmError(f"{path}: column {columns.index('') + 1} of the header has no name; name it or remove it")
    return SwarmCsv(path.name, columns, tuple(rows), tuple(faults), delimiter != ",")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SwarmError(f"{path} cannot be read: {error.strerror or error}") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SwarmError(
            f"{path} is not {encoding} at byte {error.start}; save it as UTF-8, then import it again"
        ) from error


def _header_rank(text: str, delimiter: str) -> tuple[bool, int]:
    """How well a header reads with a delimiter: it has a key column, and how many columns it then has."""
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return False, 2  # more than a header that is one cell: its quotes are at fault, and that is to be said
    names = [_key_name(cell) for cell in cells]
    return any(name in KEY_COLUMNS for name in names) or (len(names) > 1 and not names[0]), len(names)


def _key_name(cell: str) -> str:
    """Return a header cell, trimmed; a key column is known however it is capitalised."""
    name = cell.strip()
    return name.lower() if name.lower() in KEY_COLUMNS else name


def _columns(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    columns = [_key_name(cell) for cell in header]
    if not any(columns):
        raise SwarmError(f"{path} has no header")
    if columns[0] in ("", "Unnamed: 0") and not any(name in KEY_COLUMNS for name in columns):
        columns[0] = "index"
    doubled = [name for name in columns if name and columns.count(name) > 1]
    if doubled:
        raise SwarmError(f"{path} has the column {doubled[0]} twice")
    return tuple(columns)


def _without_empty_end(columns: tuple[str, ...], rows: Sequence[SwarmRow]) -> tuple[str, ...]:
    """Leave out the column that a delimiter at the end of every line makes."""
    if columns[-1] == "" and not any(row.cells[""].strip() for row in rows):
        return columns[:-1]
    return columns
