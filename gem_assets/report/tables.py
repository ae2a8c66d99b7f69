"""Tables and numbers as Markdown, for asset metadata and terminals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.printable import printable

_MOST_POSITIONS = 12
_STEPS = ((1e15, "Q"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def compact(value: float, unit: str = "") -> str:
    """Write a count in three digits and a letter: ``1.2M tokens``.

    ``k``, ``M``, ``B``, ``T`` and ``Q`` are powers of a thousand; below a thousand the number stands as it is.
    """
    tail = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return f"{value}{tail}"
    # a value that rounds up to the next power is written in it: 999,950 is 1.00M, not 1000k
    rounded = float(f"{value:.3g}")
    for size, letter in _STEPS:
        if abs(rounded) >= size:
            return f"{_three_digits(rounded / size)}{letter}{tail}"
    return f"{_three_digits(rounded)}{tail}"


def effective_number(shares: NDArray[np.floating[Any]]) -> float:
    """Effective number of clusters, ``exp`` of the entropy of the shares."""
    positive = np.asarray(shares, np.float64)
    positive = positive[positive > 0]
    return float(np.exp(-np.sum(positive * np.log(positive)))) if len(positive) else 0.0


def percent(share: float) -> str:
    """Write a share as a percentage with a digit that still says something about small ones."""
    if not math.isfinite(share):
        return str(share)
    value = 100 * share
    if value == 0 or abs(value) >= 1:
        return f"{value:.1f} %"
    return f"{value:.2g} %" if abs(value) >= 0.01 else f"{'-' if value < 0 else ''}< 0.01 %"


def cell(value: Any) -> str:
    """Write one value of a table: counts with separators, fractions in four digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.4g}"
    return str(value)


def markdown_table(
    rows: pa.Table | Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, max_rows: int = 50
) -> str:
    """Write rows as a Markdown table.

    Pipes, line breaks and angle brackets in values are escaped, so no value can break the table or bring markup in. An
    empty table says so.

    Parameters
    ----------
    columns
        Columns to show, in order; all those of the first row by default. A row without one shows an empty cell.
    max_rows
        Rows shown; a line below the table says how many there are when that is not all.
    """
    head: list[Mapping[str, Any]]
    if isinstance(rows, pa.Table):
        table: pa.Table = rows
        total, head, known = table.num_rows, table.slice(0, max_rows).to_pylist(), table.column_names
    else:
        total, head = len(rows), list(rows[:max_rows])
        known = list(head[0]) if head else []
    columns = known if columns is None else columns
    if not columns or not head:
        return "*(no rows)*"
    numeric = [all(isinstance(r.get(c), int | float | None) for r in head) for c in columns]
    lines = [
        "| " + " | ".join(escape_markdown(c) for c in columns) + " |",
        "|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(escape_markdown(cell(r.get(c))) for c in columns) + " |" for r in head]
    if total > len(head):
        lines += ["", f"*{len(head):,} of {total:,} rows*"]
    return "\n".join(lines)


def _three_digits(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(digits, 2)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def escape_markdown(text: str) -> str:
    """Return text in one line that no Markdown reader takes for markup."""
    line = printable(" ".join(text.split()))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        line = line.replace(character, entity)
    # what would open a link, an image or emphasis stands as itself
    return "".join("\\" + c if c in "[]*_\\!" else c for c in line)


def positions_text(positions: Sequence[int], rows: int) -> str:
    """Write positions of a run as a short list."""
    if not positions:
        return ""
    shown = ", ".join(f"{p:,}" for p in positions[:_MOST_POSITIONS])
    return f"{shown}{', …' if len(positions) > _MOST_POSITIONS else ''} of {rows:,}"
