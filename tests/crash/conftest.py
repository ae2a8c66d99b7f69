"""The fault table is printed after the tests, and written to the file that ``GEM_FAULT_TABLE`` names."""

import os
from pathlib import Path

import pytest

from tests.crash.ledger import LEDGER, Ledger


@pytest.fixture
def ledger() -> Ledger:
    return LEDGER


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not LEDGER.rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(LEDGER.table())
    if target := os.environ.get("GEM_FAULT_TABLE"):
        LEDGER.write(Path(target))
