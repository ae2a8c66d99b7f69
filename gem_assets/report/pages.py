"""Self-contained HTML pages: own style sheet, inline pictures, nothing loaded from elsewhere, no script.

They are opened from an artifact folder, sent by mail or kept for years, so they must not depend on a server. Every text
that comes from data is escaped; a link is made only of an ``http`` or ``https`` address.
"""

import base64
import html
import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from gem_assets.printable import printable
from gem_assets.report.page_style import CSS

_MARKUP = re.compile(r"<[^>]*>")
# 1,204 / 0.31 / -1e-05 / +2.1% / < 0.01 % / 3.1M / 4.20× / 3 / 5
_NUMBER = re.compile(r"[<+\-−]*\s*(\d[\d,.]*(e[+-]?\d+)?|nan|inf)\s*[kMBTQ%×]?( / \d+)?")


def render(template: str, title: str, footer: str = "", **values: object) -> str:
    """Fill a template of ``gem_assets/templates``; every value is escaped as :func:`escape` does it."""
    return _templates().get_template(template).render(title=title, footer=footer, css=CSS, **values)


def page(title: str, body: str, footer: str = "") -> str:
    """Wrap a body, which must be escaped already, into a complete HTML document."""
    return render("page.html", title, footer, body=body)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("gem_assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if hasattr(value, "__html__") else printable(value, lines=True),
    )


def escape(text: object) -> str:
    """Escape a value for HTML text and attributes; controls and direction marks are shown as escapes."""
    return html.escape(printable(text, lines=True), quote=True)


def image(png: bytes, alt: str) -> str:
    """Return a picture with its bytes inline."""
    data = base64.b64encode(png).decode("ascii")
    return f'<div class="picture"><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></div>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, columns of numbers set to the right and all others to the left.

    Head and cells must be escaped already.
    """
    columns = [[row[i] for row in rows] for i in range(len(head))]
    marks = [' class="n"' if _is_numeric(column) else "" for column in columns]
    top = "".join(f"<th{mark}>{h}</th>" for mark, h in zip(marks, head, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{mark}>{c}</td>" for mark, c in zip(marks, row, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _is_numeric(cells: Sequence[str]) -> bool:
    """Tell whether every cell that is not empty shows a number, which may have a sign, a unit and a second line."""
    shown = [html.unescape(_MARKUP.sub("", cell.split("<br>")[0])).strip() for cell in cells]
    return any(shown) and all(_NUMBER.fullmatch(text) for text in shown if text)


def figure_row(figures: Sequence[tuple[str, str]]) -> str:
    """Return pairs of (value, name) as a row of large figures."""
    return (
        '<div class="figures">'
        + "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in figures)
        + "</div>"
    )


def link(url: str | None) -> str:
    """Return a link to a web address, and nothing for any other."""
    if url is None or not url.lower().startswith(("http://", "https://")):
        return ""
    shown = url if len(url) <= 80 else url[:79] + "…"
    return f'<a href="{escape(url)}" rel="noreferrer nofollow">{escape(shown)}</a> '
