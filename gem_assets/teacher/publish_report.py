"""The cluster report as an artifact: the figures as JSON, the page, and its pictures.

Writes ``report.json``, ``clusters.html`` (self-contained), ``comparison.png``, ``shares.png`` and ``spectrum.png``.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gem_assets.report.cluster_plots import method_bars, spectrum_curves
from gem_assets.report.plots import cluster_shares
from gem_assets.teacher.baselines import spherical_kmeans_labels
from gem_assets.teacher.cluster_page import cluster_page
from gem_assets.teacher.compare import TEACHER, ClusterReport, cluster_report
from gem_assets.teacher.metrics import residuals, spectrum
from gem_assets.teacher.report_config import ClusterReportConfig
from gem_assets.teacher.seed_documents import SeedDocuments

REPORT_NAME = "report.json"
PAGE_NAME = "clusters.html"
#: Panels of the comparison: caption and field.
PANELS = (("NPMI of topic words", "npmi"), ("drop in bigram loss", "bigram_drop"), ("effective / K", "n_eff_over_k"))


def publish_report(
    seed: SeedDocuments, names: Mapping[int, str], config: ClusterReportConfig, out: Path, *, version: str = ""
) -> ClusterReport:
    """Measure the teacher's clusters on its seed documents and write the report into ``out``."""
    labels = seed.table.column("label").to_numpy().astype(np.int64)
    texts = [text or "" for text in seed.table.column("text").to_pylist()]
    report = cluster_report(
        seed.teacher, seed.vectors, labels, texts, seed.table.column("source").to_pylist(), names, config
    )
    pictures = _pictures(report, seed.vectors, labels, seed.teacher.theta.k, config.seed)
    for name, (_, png) in pictures.items():
        (out / name).write_bytes(png)
    (out / REPORT_NAME).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    shown = dict(pictures.values())
    (out / PAGE_NAME).write_text(cluster_page(report, shown, version), encoding="utf-8")
    return report


def read_report(folder: Path) -> ClusterReport:
    """Read back what :func:`publish_report` wrote."""
    return ClusterReport.model_validate_json((folder / REPORT_NAME).read_bytes())


def _pictures(
    report: ClusterReport, vectors: NDArray[np.float32], labels: NDArray[np.int64], k: int, seed: int
) -> dict[str, tuple[str, bytes]]:
    panels = {
        caption: {c.name: float(getattr(c, field)) for c in report.clusterings}
        for caption, field in PANELS
        if all(getattr(c, field) is not None for c in report.clusterings)
    }
    unbalanced = spherical_kmeans_labels(vectors, k, seed=seed)
    shares = [np.bincount(found, minlength=k) / len(found) for found in (unbalanced, labels)]
    return {
        "comparison.png": ("Clusterings of the same documents side by side", method_bars(panels, TEACHER)),
        "shares.png": ("Cluster shares: spherical k-means and GEM", cluster_shares(shares[0], shares[1])),
        "spectrum.png": (
            "Share of the squared length on the leading axes, before and after the clusters are taken out",
            spectrum_curves(spectrum(vectors), spectrum(residuals(vectors, labels, k))),
        ),
    }
