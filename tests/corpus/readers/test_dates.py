import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.readers.dates import has_open_day, iso_date


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02", "2026-01-02"),
        (" 2026-01-02 03:04 ", "2026-01-02 03:04"),
        ("2026-01", "2026-01"),
        ("2026", "2026"),
        ("20260102030405", "2026-01-02T03:04:05Z"),
        ("20260102", "2026-01-02T00:00:00Z"),
        ("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05+00:00"),
        ("20261302", None),
        ("2026-13", None),
        ("last Tuesday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(value, date):
    assert iso_date(value) == date


@pytest.mark.parametrize(
    "value",
    [
        "1700000000",
        "1700000000000",
        "1700000000000000",
        "1700000000000000000",
        "1700000000.25",
        "1.7e9",
        "[1700000000]",
    ],
)
def test_times_since_1970_in_every_unit(value):
    assert iso_date(value) == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("value", ["0", "17", "-1", "1.0", "12345678", "9" * 30, "1e400", "inf", "nan", "true", "[]"])
def test_numbers_that_are_no_times(value):
    assert iso_date(value) is None


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2023-01-01 00:00:00 UTC", "2023-01-01"),
        ("2023-11-14 22:13:20.000 +01:00", "2023-11-14"),
        ("2023-11-14T22:13:20+00:00[UTC]", "2023-11-14"),
        ("2023/01/02", "2023-01-02"),
        ("2024-1-5", "2024-01-05"),
        ("2023年1月2日", "2023-01-02"),
        ("2 Jan 2023", "2023-01-02"),
        ("January 2nd, 2023", "2023-01-02"),
        ("December 2023", "2023-12"),
        ("Thu Nov 14 22:13:20 2023", "2023-11-14"),
        ("14/Nov/2023:22:13:20 +0000", "2023-11-14"),
        ("31.12.2023", "2023-12-31"),
        ("12/31/2023", "2023-12-31"),
        ("04/04/2023", "2023-04-04"),
        ("2024.0", "2024"),
        ("20240131.0", "2024-01-31"),
        ('["2023-01-01", "2024-01-01"]', "2023-01-01"),
        ("['2023-01-01']", "2023-01-01"),
        ('{"$date": 1700000000000}', "2023-11-14"),
        ('{"$date": {"$numberLong": "1700000000000"}}', "2023-11-14"),
        ('{"day": 14, "month": 11, "year": 2023}', "2023-11-14"),
        ("[2023, 11, 14]", "2023-11-14"),
        ("[2023, 11]", "2023-11"),
        ("2023-318", "2023-11-14"),
        ("2023-W46-2", "2023-11-14"),
        ("20231114T221320Z", "2023-11-14T22:13:20"),
        ("2023 Nov 14", "2023-11-14"),
        ("Sept. 5, 2021", "2021-09-05"),
        ("5 Sept 2021", "2021-09-05"),
        ("03.04.2023", "2023-04-03"),
    ],
)
def test_other_spellings(value, day):
    assert iso_date(value).startswith(day)


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        ("2008-10-294T12:00:00Z", "2008-10-29"),
        ("2008-10-29T99:00:00Z", "2008-10-29"),
        ("2008-10-29 at noon", "2008-10-29"),
        ("1994-11-06T08:49:37-99:00", "1994-11-06"),
        ("2023-02-30", "2023-02"),
        ("2023-00-00", "2023"),
        ("03/04/2023", "2023"),
        ("31/31/2023", "2023"),
        ("2024-05-01/2024-05-02", "2024-05-01"),
        ("0000-00-00 00:00:00", None),
    ],
)
def test_of_a_damaged_or_doubtful_date_what_is_sound_is_kept(value, sound):
    assert iso_date(value) == sound


@pytest.mark.parametrize(
    ("value", "is_open"),
    [
        *[("03/04/2023", True), ("3-4-2023 10:00", True), ("3/3/2023", False), ("31/12/2023", False)],
        *[("3.4.2023", False), ("2023-03-04", False), ("3/4-2023", False), ("", False)],
    ],
)
def test_which_dates_leave_the_day_open(value, is_open):
    assert has_open_day(value) == is_open


@given(st.datetimes(dt.datetime(1974, 1, 1), dt.datetime(2200, 1, 1)), st.sampled_from([1, 10**3, 10**6]))
def test_a_moment_comes_back_from_its_number(moment, unit):
    seconds = int(moment.replace(tzinfo=dt.UTC).timestamp())
    assert iso_date(str(seconds * unit)) == moment.replace(microsecond=0).isoformat() + "Z"


@given(st.text(max_size=40) | st.from_regex(r"[\[{(]?['\"]?\d{1,4}[-/.T ]\d{1,3}[-/.: ]?\d{0,6}.{0,9}", fullmatch=True))
def test_no_text_breaks_a_date(value):
    found = iso_date(value)
    assert found is None or (found[:4].isdecimal() and iso_date(found) is not None)


@given(st.recursive(st.integers() | st.floats() | st.text(max_size=6), lambda x: st.lists(x, max_size=3), max_leaves=6))
def test_no_json_breaks_a_date(value):
    found = iso_date(json.dumps(value))
    assert found is None or found.strip() == found
