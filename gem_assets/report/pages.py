"""Self-contained HTML pages: own style sheet, inline pictures, nothing loaded from elsewhere, no script.

They are opened from an artifact folder, sent by mail or kept for years, so they must not depend on a server. The markup
is in ``gem_assets/templates``: ``page.html`` is the frame and ``parts.html`` has what several pages share. A page's own
module says what it shows, in plain text; every value is escaped when a template shows it.
"""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gem_assets.printable import printable
from gem_assets.report.tables import percent

# 1,204 / 0.31 / -1e-05 / +2.1% / < 0.01 % / 3.1M / 4.20× / 3 / 5
_NUMBER = re.compile(r"[<+\-−]*\s*(\d[\d,.]*(e[+-]?\d+)?|nan|inf)\s*[kMBTQ%×]?( / \d+)?")


@dataclass(frozen=True)
class Cell:
    """A cell of a table that shows more than its text; plain cells are strings.

    Attributes
    ----------
    note
        Stands behind it, muted.
    more
        Stands below it, small; one line each.
    bar
        Length of a bar before it, in pixels.
    """

    text: str
    note: str = ""
    more: Sequence[str] = ()
    bar: float | None = None
    strong: bool = False
    link: bool = False


def render(template: str, title: str = "", footer: str = "", **values: object) -> str:
    """Fill a template of ``gem_assets/templates``; controls and direction marks are shown as escapes."""
    return _templates().get_template(template).render(title=title, footer=footer, **values)


def bar_cell(share: float, top: float) -> Cell:
    """Return a share as a percentage behind a bar; that of ``top`` is 90 pixels long."""
    return Cell(percent(share), bar=90 * share / top)


def numeric_columns(rows: Sequence[Sequence[str | Cell]]) -> set[int]:
    """Return the columns of which every cell that is not empty shows a number, perhaps with a sign and a unit."""
    columns = ([cell.text if isinstance(cell, Cell) else cell for cell in column] for column in zip(*rows, strict=True))
    return {i for i, texts in enumerate(columns) if any(texts) and all(_NUMBER.fullmatch(t) for t in texts if t)}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("gem_assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_escaped,
    )
    filters: dict[str, Any] = environment.filters  # pyright: ignore[reportAssignmentType]  # those of Jinja, by name
    filters |= {"base64": _base64, "numeric_columns": numeric_columns, "percent": percent}
    return environment


def _escaped(value: object) -> Markup:
    """Return a value as HTML text; what a template made of escaped values already is left as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value, lines=True)))  # noqa: S704


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
