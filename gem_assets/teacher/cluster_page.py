"""The cluster report as one self-contained page."""

from collections.abc import Mapping

from gem_assets.report.pages import render
from gem_assets.report.tables import cell, compact, percent
from gem_assets.teacher.compare import TEACHER, ClusterReport

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
    return render(
        "cluster_report.html",
        "Cluster report",
        version,
        figures=figures,
        compared=report.compared,
        columns=COLUMNS,
        clusterings=[
            [c.name, str(c.clusters), *(_number(getattr(c, field)) for _, field, _ in COLUMNS)]
            for c in report.clusterings
        ],
        pictures=pictures,
        anisotropy=[
            [f"{a.mean_cosine:.4f}", percent(a.top_share), f"{a.effective_axes:.1f}"]
            for a in (report.anisotropy_before, report.anisotropy_after)
        ],
        clusters=[
            [c.name, percent(c.share), f"{c.cosine:.3f}", _number(c.npmi), f"{c.kappa:.0f}", ", ".join(c.words)]
            for c in sorted(report.clusters, key=lambda c: (-c.share, c.id))
        ],
    )


def _number(value: float | None) -> str:
    return "–" if value is None else cell(float(f"{value:.3g}"))
