"""Replace two snapshots of a table for ever, acknowledging each commit on standard output; run as a script."""

import os
import signal
import sys
from pathlib import Path

from gem_assets.storage.lance import LanceTables
from tests.crash.power import record_fsync
from tests.resources.tables import rows


def expected(number: int) -> tuple[str, int, int]:
    """Snapshot, rows and seed of the commit with that number."""
    return ("s1", "s2")[number % 2], 50 + number % 7, number


def kill_at_fsync(number: int) -> None:
    """Kill this process before its ``number``-th fsync from now."""
    real, seen = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = counted


def main(root: Path, start: int, kill: int) -> None:
    record_fsync(root.with_suffix(".synced"))
    tables = LanceTables(root)
    number = start
    while True:
        if kill and number == start + 2:
            kill_at_fsync(kill)
        snapshot, n, seed = expected(number)
        tables.replace_snapshot("t", rows(snapshot, n, seed=seed), snapshot)
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
