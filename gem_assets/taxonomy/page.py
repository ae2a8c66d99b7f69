"""The taxonomy as one page: figures, map, tree, and a card for each cluster."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from gem_assets.report.pages import escape, figure_row, image, link, page
from gem_assets.report.tables import compact, effective_number, percent
from gem_assets.taxonomy.hierarchy import Parent
from gem_assets.taxonomy.taxonomy import Cluster, Taxonomy


class _Named(Protocol):
    @property
    def value(self) -> str:
        """What it is."""
        ...

    @property
    def share(self) -> float:
        """How much of it there is."""
        ...


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


def _portions(portions: Iterable[_Named]) -> str:
    return ", ".join(f"{escape(p.value)} {_percent(p.share)}" for p in portions)


def _percent(share: float) -> str:
    return escape(percent(share))
