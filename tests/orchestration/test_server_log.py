import pytest

from gem_assets.orchestration.server_log import LineFilter, plain

RUN = "f6097fb3-74d2-4358-9337-6b0be7ba24cb"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-11-20 12:32:57 +0000 - dagster.daemon.SensorDaemon - INFO - Checking for new runs for sensor: s", None),
        (
            f"2026-11-20 12:33:02 +0000 - dagster - DEBUG - __ASSET_JOB - {RUN} - 12164 - RUN_START - Started it.",
            "12:33:02 run f6097fb3  started",
        ),
        (
            f"2026-11-20 12:33:04 +0000 - dagster - DEBUG - __ASSET_JOB - {RUN} - 12 - thing - ASSET_MATERIALIZATION "
            "- Materialized value recipes unimax.",
            "12:33:04 run f6097fb3  made recipes/unimax",
        ),
        (f"2026-11-20 12:33:02 +0000 - dagster - DEBUG - __ASSET_JOB - {RUN} - 1 - STEP_START - Started step.", None),
        (
            f"2026-11-20 12:33:05 +0000 - dagster - DEBUG - __ASSET_JOB - {RUN} - 1 - RUN_FAILURE - The run ended.",
            "12:33:05 run f6097fb3  The run ended.",
        ),
        (
            "2026-11-20 14:10:24 +0000 - dagster - INFO - __repository__ - automation - raw_shards evaluation result: "
            "1 requested (2026-04) (0.106 seconds)",
            "14:10:24 due           raw_shards [2026-04]",
        ),
        (
            "2026-11-20 14:11:37 +0000 - dagster - INFO - __repository__ - automation - recipes/uniform evaluation "
            "result: 1 requested ((no partition)) (0.174 seconds)",
            "14:11:37 due           recipes/uniform",
        ),
        ("2026-11-20 12:33:07 +0000 - dagster - WARNING - careful", "12:33:07 warning: careful"),
        ("plain output of some library", None),
    ],
)
def test_the_terminal_gets_what_matters(line: str, shown: str | None):
    assert LineFilter().show(line) == shown


def test_the_lines_after_an_error_are_shown_up_to_a_limit():
    lines = LineFilter()
    assert lines.show("2026-11-20 12:33:07 +0000 - dagster - ERROR - it broke") == "12:33:07 error: it broke"
    shown = [lines.show(f'  File "x.py", line {number}') for number in range(20)]
    assert shown[0] == '           File "x.py", line 0'
    assert [line is not None for line in shown] == [True] * 12 + [False] * 8
    assert lines.show("2026-11-20 12:33:08 +0000 - dagster - INFO - next") is None


def test_the_reason_of_a_failed_step_is_shown():
    lines = LineFilter()
    failed = (
        f"2026-11-20 12:33:07 +0000 - dagster - ERROR - __ASSET_JOB - {RUN} - 1 - thing - STEP_FAILURE - It failed."
    )
    assert lines.show(failed) == "12:33:07 run f6097fb3  It failed."
    assert lines.show("ValueError: no text column") == "         ValueError: no text column"


def test_colours_are_taken_out():
    assert plain("\x1b[32m2026-11-20\x1b[0m - \x1b[34mINFO\x1b[0m") == "2026-11-20 - INFO"
