"""Self-contained HTML pages: own style sheet, inline pictures, nothing loaded from elsewhere, no script.

They are opened from an artifact folder, sent by mail or kept for years, so they must not depend on a server. Every text
that comes from data is escaped; a link is made only of an ``http`` or ``https`` address.
"""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from gem_assets.printable import printable
from gem_assets.report.page_style import CSS
from gem_assets.report.tables import compact, effective_number, percent
from gem_assets.taxonomy.hierarchy import Parent
from gem_assets.taxonomy.taxonomy import Cluster, Taxonomy

_MARKUP = re.compile(r"<[^>]*>")
# 1,204 / 0.31 / -1e-05 / +2.1% / < 0.01 % / 3.1M / 4.20× / 3 / 5
_NUMBER = re.compile(r"[<+\-−]*\s*(\d[\d,.]*(e[+-]?\d+)?|nan|inf)\s*[kMBTQ%×]?( / \d+)?")


class _Named(Protocol):
    @property
    def value(self) -> str:
        """What it is."""
        ...

    @property
    def share(self) -> float:
        """How much of it there is."""
        ...


def page(title: str, body: str, footer: str = "") -> str:
    """Wrap a body, which must be escaped already, into a complete HTML document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # nothing but inline style and pictures may be used, whatever a text smuggles in
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f"<footer>{escape(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Escape a value for HTML text and attributes; controls and direction marks are shown as escapes."""
    return html.escape(printable(text, lines=True), quote=True)


def image(png: bytes, alt: str) -> str:
    """Return a picture with its bytes inline."""
    data = base64.b64encode(png).decode("ascii")
    return f'<div class="picture"><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></div>'


def taxonomy_page(taxonomy: Taxonomy, map_png: bytes | None = None, tree_png: bytes | None = None) -> str:
    """Write the taxonomy as one page: figures, map, tree, and a card per cluster, by parent, largest first."""
    shares = [c.share for c in taxonomy.clusters]
    largest, smallest = max(shares, default=0.0), min(shares, default=0.0)
    coherence = sum(c.share * c.coherence for c in taxonomy.clusters)
    figures = [
        (str(len(taxonomy.clusters)), "clusters"),
        (compact(taxonomy.documents), "documents in the sample"),
        (f"{effective_number(np.array(shares)):.1f}", "effective clusters"),
        (f"{largest / smallest:.1f}" if smallest > 0 else "∞", "largest / smallest"),
        (f"{coherence:.3f}", "mean cosine to centre"),
    ]
    parents = taxonomy.hierarchy.parents if taxonomy.hierarchy is not None else ()
    if parents:
        figures.insert(1, (str(len(parents)), "parents"))
    pictures = [(map_png, "Map of the sample, coloured by cluster"), (tree_png, "Clusters and their parents as a tree")]
    shown = "\n".join(image(png, alt) for png, alt in pictures if png is not None)
    sections = [_section(p, taxonomy, largest) for p in sorted(parents, key=lambda p: (-p.share, p.id))]
    if not parents:
        sections = [f"<h2>Clusters</h2>\n{_cards(taxonomy.clusters, taxonomy, largest)}"]
    body = (
        "<h1>Taxonomy</h1>\n"
        f'<p class="muted">Clusters of the corpus, with what they hold. Names: {escape(taxonomy.namer)}.</p>\n'
        f"{figure_row(figures)}\n{shown}\n" + "\n".join(sections)
    )
    return page("Taxonomy", body, f"Taxonomy {taxonomy.version}")


def _section(parent: Parent, taxonomy: Taxonomy, largest: float) -> str:
    own = [taxonomy.clusters[c] for c in parent.clusters]
    return (
        f'<h2 id="parent-{parent.id}">{escape(parent.name)} <span class="number">{_percent(parent.share)} in '
        f"{len(own)} clusters · coherence {parent.coherence:.3f}</span></h2>\n"
        f'<p class="small muted">{escape(parent.description)}</p>\n{_cards(own, taxonomy, largest)}'
    )


def _cards(clusters: Sequence[Cluster], taxonomy: Taxonomy, largest: float) -> str:
    order = sorted(clusters, key=lambda c: (-c.share, c.id))
    return '<div class="cards">\n' + "\n".join(_card(c, taxonomy, largest) for c in order) + "\n</div>"


def _card(cluster: Cluster, taxonomy: Taxonomy, largest: float) -> str:
    tags = "".join(f"<li>{escape(k)}</li>" for k in cluster.keywords)
    neighbours = ", ".join(
        f'<a href="#cluster-{n.cluster}">{escape(taxonomy.clusters[n.cluster].name)}</a> {n.cosine:.2f}'
        for n in cluster.neighbours
    )
    facts = [
        ("near", neighbours),
        ("sources", _portions(cluster.sources)),
        ("languages", _portions(cluster.languages)),
        ("coherence", f"{cluster.coherence:.3f} · κ {cluster.kappa:.0f}"),
    ]
    terms = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    exemplars = "".join(
        f"<li>{link(e.url)}<span class='muted'>{escape(e.source)} · GIS {e.gis:.2f}</span><br>{escape(e.snippet)}</li>"
        for e in cluster.exemplars
    )
    width = 100 * cluster.share / largest if largest > 0 else 0.0
    return (
        f'<section class="card" id="cluster-{cluster.id}"><header><h3>{escape(cluster.name)}</h3>'
        f'<span class="number">{_percent(cluster.share)}</span></header>'
        f'<div class="bar"><i style="width:{width:.1f}%"></i></div>'
        f'<p class="small muted">{escape(cluster.description)}</p><ul class="tags">{tags}</ul><dl>{terms}</dl>'
        + (f"<details><summary>Exemplars</summary><ol>{exemplars}</ol></details>" if exemplars else "")
        + "</section>"
    )


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


def _portions(portions: Iterable[_Named]) -> str:
    return ", ".join(f"{escape(p.value)} {_percent(p.share)}" for p in portions)


def link(url: str | None) -> str:
    """Return a link to a web address, and nothing for any other."""
    if url is None or not url.lower().startswith(("http://", "https://")):
        return ""
    shown = url if len(url) <= 80 else url[:79] + "…"
    return f'<a href="{escape(url)}" rel="noreferrer nofollow">{escape(shown)}</a> '


def _percent(share: float) -> str:
    return escape(percent(share))
