"""The taxonomy as one page: figures, map, tree, and a card for each cluster."""

import numpy as np

from gem_assets.report.pages import render
from gem_assets.report.tables import compact, effective_number
from gem_assets.taxonomy.taxonomy import Taxonomy


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
    return render(
        "taxonomy.html",
        "Taxonomy",
        f"Taxonomy {taxonomy.version}",
        taxonomy=taxonomy,
        figures=figures,
        parents=parents,
        clusters_of={parent.id: [taxonomy.clusters[c] for c in parent.clusters] for parent in parents},
        largest=largest,
        map_png=map_png,
        tree_png=tree_png,
    )
