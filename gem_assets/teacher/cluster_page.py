"""The cluster report as one self-contained page."""

from collections.abc import Mapping, Sequence

from gem_assets.report.pages import escape, figure_row, html_table, image, page
from gem_assets.report.tables import cell, compact, percent
from gem_assets.teacher.compare import TEACHER, ClusteringFigures, ClusterReport

#: Heading, field and what it means, in the order shown.
COLUMNS = (
    ("effective / K", "n_eff_over_k", "effective number of clusters over their number: 1 when all are equally large"),
    ("largest / smallest", "max_over_min", "largest cluster over smallest; empty when one has no document"),
    ("cosine", "cosine", "mean cosine to the centre of the cluster; rises with the number of clusters by itself"),
    ("pairwise", "pairwise", "mean cosine of two documents of a cluster"),
    ("NPMI", "npmi", "how often the words that set a cluster apart occur together, from -1 to 1"),
    ("loss drop", "bigram_drop", "nats per token that a bigram model saves by knowing the cluster"),
    ("reseeding", "reseeding", "agreement (adjusted Rand index) of fits with different seeds"),
    ("two halves", "halves", "agreement of fits to two disjoint halves of the documents"),
)


def cluster_page(report: ClusterReport, pictures: Mapping[str, bytes], version: str = "") -> str:
    """Write the report: figures, comparison, shares, anisotropy, and one row per cluster.

    Parameters
    ----------
    report
        What was measured.
    pictures
        PNG bytes by caption, shown in order.
    version
        Identity of the report, for the footer.
    """
    teacher = next(c for c in report.clusterings if c.name == TEACHER)
    figures = [
        (str(teacher.clusters), "clusters"),
        (compact(report.documents), "seed documents"),
        (f"{teacher.n_eff_over_k:.3f}", "effective / K"),
        (_number(teacher.max_over_min), "largest / smallest"),
        (_number(teacher.npmi), "NPMI of topic words"),
        (_number(teacher.halves), "agreement of two halves"),
    ]
    before, after = report.anisotropy_before, report.anisotropy_after
    spread = html_table(
        ["", "mean cosine of two documents", "share of the leading axis", "effective axes"],
        [
            [when, f"{a.mean_cosine:.4f}", escape(percent(a.top_share)), f"{a.effective_axes:.1f}"]
            for when, a in (("vectors", before), ("less their cluster's direction", after))
        ],
    )
    meanings = "".join(f"<dt>{escape(head)}</dt><dd>{escape(what)}</dd>" for head, _, what in COLUMNS)
    order = sorted(report.clusters, key=lambda c: (-c.share, c.id))
    rows = [
        [
            escape(c.name),
            escape(percent(c.share)),
            f"{c.cosine:.3f}",
            _number(c.npmi),
            f"{c.kappa:.0f}",
            escape(", ".join(c.words)),
        ]
        for c in order
    ]
    body = (
        "<h1>Cluster report</h1>\n"
        '<p class="muted">How balanced, coherent and stable the clusters are, beside other ways to cut the same '
        f"documents.</p>\n{figure_row(figures)}\n<h2>Beside other clusterings</h2>\n"
        f'<p class="muted">On {report.compared:,} documents. Refits start from fewer short fits than the teacher did, '
        f"so its own stability may be higher.</p>\n{_comparison(report.clusterings)}\n<dl>{meanings}</dl>\n"
        + "\n".join(image(png, caption) for caption, png in pictures.items())
        + '\n<h2>Anisotropy</h2>\n<p class="muted">How unevenly the vectors fill their space, and how unevenly what is '
        f"left of them when the clusters are taken out.</p>\n{spread}\n<h2>Clusters</h2>\n"
        f"{html_table(['cluster', 'share', 'cosine', 'NPMI', 'κ', 'words'], rows)}"
    )
    return page("Cluster report", body, version)


def _comparison(clusterings: Sequence[ClusteringFigures]) -> str:
    rows = [
        [escape(c.name), str(c.clusters), *(_number(getattr(c, field)) for _, field, _ in COLUMNS)] for c in clusterings
    ]
    return html_table(["clustering", "K", *(escape(head) for head, _, _ in COLUMNS)], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else escape(cell(float(f"{value:.3g}")))
