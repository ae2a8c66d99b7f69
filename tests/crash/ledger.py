"""What the fault suite saw, fault by fault: trials, lost, duplicated, repaired."""

import os
from dataclasses import dataclass
from pathlib import Path

FULL = os.environ.get("GEM_CRASH", "quick") == "full"


def trials(quick: int, full: int) -> int:
    """How many trials a fault gets: few in ``make test``, all in ``make test-crash``."""
    return full if FULL else quick


@dataclass
class Row:
    trials: int = 0
    lost: int = 0
    duplicated: int = 0
    repaired: int = 0


class Ledger:
    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def record(self, fault: str, *, trials: int = 1, lost: int = 0, duplicated: int = 0, repaired: int = 0) -> None:
        """Add trials of a fault.

        Parameters
        ----------
        lost
            Results or rows that had been acknowledged and were not there, or not the same, in the end.
        duplicated
            Rows that stood twice.
        repaired
            Trials after which something had to be put right: by stepping back, by running again, or by the doctor.
        """
        row = self.rows.setdefault(fault, Row())
        row.trials += trials
        row.lost += lost
        row.duplicated += duplicated
        row.repaired += repaired

    def table(self) -> str:
        lines = ["| fault | trials | lost | duplicated | repaired |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {r.trials} | {r.lost} | {r.duplicated} | {r.repaired} |" for name, r in self.rows.items()
        ]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        path.write_text(self.table() + "\n", encoding="utf-8")


LEDGER = Ledger()
