import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.report.tables import compact, markdown_table, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.9, "1k"),
        (1234, "1.23k"),
        (15_000, "15k"),
        (1_200_000, "1.2M"),
        (999_950, "1M"),
        (3.456e9, "3.46B"),
        (-2.5e12, "-2.5T"),
        (0.5, "0.5"),
        (float("nan"), "nan"),
    ],
)
def test_counts_in_three_digits(value, text):
    assert compact(value) == text


def test_units_follow_the_number():
    assert compact(1_200_000, "tokens") == "1.2M tokens"


@given(st.floats(1, 1e17))
def test_compact_never_shows_four_digits_before_the_letter(value):
    digits = compact(value).rstrip("kMBTQ").replace(".", "")
    assert len(digits.lstrip("-")) <= 3


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0 %"), (0.123, "12.3 %"), (0.005, "0.5 %"), (0.00001, "< 0.01 %"), (1, "100.0 %")]
)
def test_percentages(share, text):
    assert percent(share) == text


def test_a_table_is_written():
    text = markdown_table([{"name": "Law", "n": 12345, "share": 0.25}, {"name": "Code", "n": None, "share": 1 / 3}])
    assert text.splitlines() == [
        "| name | n | share |",
        "| --- | ---: | ---: |",
        "| Law | 12,345 | 0.25 |",
        "| Code |  | 0.3333 |",
    ]


def test_arrow_and_row_limit_and_columns():
    table = pa.table({"a": list(range(10)), "b": ["x"] * 10})
    text = markdown_table(table, ["b"], max_rows=3)
    assert text.count("| x |") == 3
    assert "3 of 10 rows" in text
    assert "| a" not in text


def test_nothing_to_show():
    assert markdown_table([]) == "*(no rows)*"
    assert markdown_table(pa.table({"a": []})) == "*(no rows)*"


@given(
    st.lists(st.fixed_dictionaries({"x|y": st.text(max_size=40), "z": st.text(max_size=10)}), min_size=1, max_size=5)
)
def test_no_value_breaks_the_table_or_brings_markup(rows):
    lines = markdown_table(rows).split("\n")
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line.count("|") == 3
        assert "<" not in line
        assert "](" not in line.replace("\\]", "")
