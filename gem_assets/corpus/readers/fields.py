"""What a data set says about a document besides its text, as short strings."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, Final, cast
from urllib.parse import unquote

from gem_assets.corpus.config import ColumnNames

FIELDS: Final = ("text", "url", "source", "date", "lang", "label", "license")
_ID: Final = "id"
_LONGEST: Final = 8192
_MISSING: Final = frozenset({"", "nan", "null", "none", "<na>", "nat", "__hive_default_partition__"})
_PARTS: Final = (("year", 4), ("month", 2), ("day", 2))


def choose_names(columns: ColumnNames, present: Callable[[str], bool]) -> dict[str, str]:
    """Return the name that stands for each field of a record.

    Without an address the record's own ``id`` is taken: it tells documents apart and is never read as an address,
    unless it is one.

    ``columns`` are the names to look for; the first present one wins.
    """
    wanted: dict[str, tuple[str, ...]] = {field: getattr(columns, field) for field in FIELDS}
    chosen = {f: name for f, names in wanted.items() if (name := next(filter(present, names), None)) is not None}
    if "url" not in chosen and (name := next(filter(present, columns.id), None)) is not None:
        chosen[_ID] = name
    return chosen


def as_string(value: Any) -> str | None:
    """Return a field's value as one short string; None where there is nothing to say.

    Nothing to say have nulls, NaN, empty lists and objects, and what pandas writes for them. Whole numbers are written
    without a decimal point, as pandas makes ``17.0`` of 17 in a column with gaps; a list of one is what it holds.
    """
    if isinstance(value, list) and len(cast(list[Any], value)) <= 1:
        value = cast(list[Any], value)[0] if value else None
    if value is None or value == {} or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    elif isinstance(value, datetime | date):
        value = value.isoformat()
    elif isinstance(value, float) and value.is_integer():
        value = str(int(value))
    elif isinstance(value, dict | list | bool | int | float):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return _short(str(value))


def _short(value: str) -> str | None:
    value = value.strip()
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    return None if value[:32].lower() in _MISSING else value[:_LONGEST]


def as_fields(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields of a document, by the names of :class:`RawDocument`."""
    fields = {field: as_field(field, value) for field, value in values.items()}
    if _is_address(fields.get(_ID)):
        fields["url"] = fields.pop(_ID)
    return fields


def as_field(field: str, value: Any) -> str | None:
    """Return one field of a document."""
    if type(value) is str:
        return _short(value)
    # of several dates or languages the first counts, which is found later; several licences or labels are one text
    return as_string(value if field in ("date", "lang") else _joined(value))


def with_addresses(fields: Mapping[str, Sequence[str | None]]) -> dict[str, Sequence[str | None]]:
    """Return columns of fields in which an ``id`` that is an address is the address, as in :func:`as_fields`."""
    ids = fields.get(_ID)
    if ids is None or not any(map(_is_address, ids)):
        return dict(fields)
    urls = [own if _is_address(own) else None for own in ids]
    return {**fields, "url": urls, _ID: [None if url else own for own, url in zip(ids, urls, strict=True)]}


def _is_address(own: str | None) -> bool:
    return own is not None and "://" in own[:16]


def _joined(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    entries = [entry for entry in cast(list[Any], value) if entry is not None]
    return ", ".join(entries) if entries and all(isinstance(entry, str) for entry in entries) else entries


def folder_fields(relative: str, columns: ColumnNames) -> dict[str, str | None]:
    """Return the fields that folders give, as Hive and Spark write columns: ``lang=en/date=2024-01-31/part.parquet``.

    Folders named year, month and day together are a date where no other is given.
    """
    parts = [part.partition("=") for part in PurePosixPath(relative).parent.parts]
    given = {name.lower(): unquote(value) for name, equals, value in parts if equals}
    names = choose_names(columns, given.__contains__) if given else {}
    fields = {field: as_string(given[name]) for field, name in names.items() if field not in ("text", "url", _ID)}
    if "date" not in fields and "year" in given:
        numbers = [given[name].zfill(width) for name, width in _PARTS if name in given]
        fields["date"] = "-".join(numbers)
    return fields
