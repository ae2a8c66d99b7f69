import dagster as dg
import great_expectations.expectations as gxe
import pandas as pd
import pytest

from gem_assets.checks.validation import validate_frame

FRAME = pd.DataFrame({"n": [1, 2, 3], "text": ["a secret sentence", "b", "c"]})


def test_sound_frame_passes():
    result = validate_frame(
        FRAME, [gxe.ExpectColumnValuesToBeBetween(column="n", min_value=1, description="n is small")], "suite"
    )
    assert result.passed is True


def test_critical_failure_is_an_error_and_says_a_sentence():
    result = validate_frame(
        FRAME, [gxe.ExpectColumnValuesToBeBetween(column="n", min_value=2, description="n is too small")], "suite"
    )
    assert result.passed is False
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == "n is too small (1 of 3 rows)"


def test_warning_alone_does_not_block():
    result = validate_frame(
        FRAME,
        [gxe.ExpectColumnValuesToBeBetween(column="n", min_value=2, severity="warning", description="n is small")],
        "suite",
    )
    assert result.passed is False
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_missing_column_is_a_failure_that_says_so():
    result = validate_frame(
        FRAME, [gxe.ExpectColumnValuesToNotBeNull(column="absent", description="It has no value")], "suite"
    )
    assert result.passed is False
    assert "absent" in result.description


def test_empty_frame_fails_when_rows_are_expected():
    result = validate_frame(
        FRAME.head(0), [gxe.ExpectTableRowCountToBeBetween(min_value=1, description="There are no rows")], "suite"
    )
    assert result.passed is False


def test_offending_values_never_reach_the_metadata():
    result = validate_frame(
        FRAME, [gxe.ExpectColumnValuesToBeInSet(column="text", value_set=["b"], description="A text is odd")], "suite"
    )
    assert result.passed is False
    assert "secret" not in f"{result.description} {result.metadata}"


def test_an_expectation_without_a_sentence_is_refused():
    with pytest.raises(ValueError, match="ExpectColumnValuesToNotBeNull has no description"):
        validate_frame(FRAME, [gxe.ExpectColumnValuesToNotBeNull(column="n")], "suite")
