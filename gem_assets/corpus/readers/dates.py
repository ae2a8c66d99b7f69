"""Normalise dates from data sets to ISO 8601, or to None."""

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

_LONGEST: Final = 256
_DIGITS: Final = re.compile(r"\d{8}|\d{14}")
_YEAR_MONTH: Final = re.compile(r"[12]\d{3}(-(0[1-9]|1[0-2]))?")
_NUMBER: Final = re.compile(r"([+-]?\d+)(?:\.(\d+))?(?:[eE]\+?(\d{1,2}))?")
_FIRST_DATE: Final = re.compile(r"([12]\d{3})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?")
_ZONE: Final = re.compile(r"\s*(?:UTC|GMT|Z)$", re.I)
_SLASHED: Final = re.compile(r"([12]\d{3})[/.年](\d{1,2})[/.月](\d{1,2})日?")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2([12]\d{3})\b")
_DAY_OF_YEAR: Final = re.compile(r"[12]\d{3}-\d{3}")
_EXTENDED: Final = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_SEPTEMBER: Final = re.compile(r"\bsept\b", re.I)
_SHORTENED: Final = re.compile(r"(?<=[a-z])\.(?=\s)", re.I)
_PARTS: Final = ("year", "month", "day")
_ZONE_NAME: Final = re.compile(r"\[[\w/+-]+\]$|\s+(?=[+-]\d\d:?\d\d$)")
_WRITTEN: Final = (
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d-%b-%Y", "%d-%b-%y", "%d. %B %Y"),
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a, %d %b %Y", "%B %Y"),
    *("%Y %b %d", "%Y %B %d", "%Y-%b-%d"),
    *("%b %Y", "%d-%b-%Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
)
_SECONDS: Final = 10**8, 10**10
"""Seconds since 1970 that are taken for a time: 1973 to 2286. Smaller numbers may be anything."""
_UNITS: Final = (1, 10**3, 10**6, 10**9)


def iso_date(value: str | None) -> str | None:
    """Return a date as ISO 8601, or None if it is not one.

    Understood are ISO 8601 itself (also a year, or a year and month), the 8 or 14 digits of ARC files, seconds,
    milli-, micro- and nanoseconds since 1970, dates of mail and HTTP headers and some written ones, and lists of
    these, of which the first counts. Of a date that is damaged after its day, the day is kept.
    """
    if not value:
        return None
    value = value.strip()
    if value[:1] in ("[", "(", "{"):
        return _first_of(value)
    value = value.strip("'\"")[:_LONGEST]
    if _DIGITS.fullmatch(value):
        found = _parsed(value.ljust(14, "0"), "%Y%m%d%H%M%S")
        # eight digits that are not a day, and all others, may still be seconds
        return found.isoformat() + "Z" if found is not None else _since_1970(value)
    if _YEAR_MONTH.fullmatch(value):
        return value
    if (number := _NUMBER.fullmatch(value)) is not None:
        return _since_1970(value) or _whole_year(number)
    return _iso(value) or _written(value) or _sound_part(value)


def has_open_day(value: str) -> bool:
    """Tell whether a date leaves open which number is the day, as ``03/04/2023`` does; its year is kept."""
    found = _YEAR_LAST.match(value.strip())
    return found is not None and found[2] != "." and 12 >= int(found[1]) != int(found[3]) <= 12


def _first_of(value: str) -> str | None:
    try:
        entries = json.loads(value)
        if isinstance(entries, dict):
            named = cast(dict[str, Any], entries)
            entries = [named[part] for part in _PARTS if part in named] or list(named.values())
        if len(entries) == 1 and isinstance(entries[0], dict):
            # {"$date": {"$numberLong": "…"}}
            entries = list(cast(dict[str, Any], entries[0]).values())
        if 2 <= len(entries) <= 3 and all(type(entry) is int for entry in entries) and entries[0] < 10**4:
            return iso_date("-".join(f"{entry:02}" for entry in entries))
    except (ValueError, RecursionError):
        entries = re.split(r",\s*(?=['\"\d])|\s(?=')", value.strip("[](){}"))
    if not isinstance(entries, list):
        return None
    plain = [str(entry).strip("'\"") for entry in cast(list[Any], entries) if isinstance(entry, str | int | float)]
    return next((date for entry in plain if entry[:1] not in ("[", "{", "(") and (date := iso_date(entry))), None)


def _parsed(value: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(value, form)
    except ValueError:
        return None


def _iso(value: str) -> str | None:
    plain = _SLASHED.sub(lambda m: f"{m[1]}-{int(m[2]):02}-{int(m[3]):02}", _ZONE.sub("Z", value), count=1)
    plain = _ZONE_NAME.sub("", plain)
    for spelling in (value, plain):
        try:
            moment = datetime.fromisoformat(spelling)
        except ValueError:
            continue
        if _EXTENDED.match(spelling):
            return spelling
        # weeks, and dates without hyphens
        return moment.isoformat() if "T" in spelling else f"{moment:%Y-%m-%d}"
    if _DAY_OF_YEAR.fullmatch(value) and (day := _parsed(value, "%Y-%j")) is not None:
        return f"{day:%Y-%m-%d}"
    return None


def _since_1970(value: str) -> str | None:
    try:
        number = float(value)
        for unit in _UNITS:
            if _SECONDS[0] <= number / unit < _SECONDS[1]:
                moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number // unit)
                return moment.isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        pass
    return None


def _whole_year(number: re.Match[str]) -> str | None:
    """Read 2024.0 and 20240131.0, as pandas writes a column with gaps."""
    if number[3] or (number[2] or "").strip("0"):
        return None
    return iso_date(number[1]) if number[2] else None


def _written(value: str) -> str | None:
    try:
        return parsedate_to_datetime(value).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b", "", value)
    plain = _SEPTEMBER.sub("Sep", _SHORTENED.sub("", plain))
    plain = " ".join(_ZONE.sub("", plain).split())
    for form in _WRITTEN:
        if (found := _parsed(plain, form)) is not None:
            if "%d" not in form:
                return f"{found:%Y-%m}"
            return found.isoformat() if "%H" in form else f"{found:%Y-%m-%d}"
    return None


def _sound_part(value: str) -> str | None:
    """Return the day, or the month or year, with which a damaged date begins."""
    if (turned := _YEAR_LAST.match(value)) is not None:
        # 31/12 is a day and a month whoever writes it, and so is 3.4.; 3/4 is not
        first, sign, second, year = turned.groups()
        readings = ((first, second),) if sign == "." else ((first, second), (second, first))
        days = {(int(day), int(month)) for day, month in readings if int(month) <= 12}
        month_and_day = days.pop() if len(days) == 1 else None
        value = f"{year}-{month_and_day[1]}-{month_and_day[0]}" if month_and_day is not None else year
    if (found := _FIRST_DATE.match(value)) is None:
        year = re.match(r"([12]\d{3})(?:-|/|T|\s|$)", value)
        return year[1] if year is not None else None
    year, month, day = found.groups()
    if day is None and not 1 <= int(month) <= 12:
        return None
    for text, form in ((f"{year}-{month}-{day}", "%Y-%m-%d"), (f"{year}-{month}", "%Y-%m")):
        if (sound := _parsed(text, form)) is not None:
            return sound.strftime(form)
    return year
