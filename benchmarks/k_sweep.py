"""Compare numbers of clusters: objective, coherence, balance, stability and, given texts, drop in bigram loss over K.

There is no K that the objective itself prefers (it rises with K), so the table is what a choice is made on: coherence
and loss drop that have stopped rising, stability that has not yet fallen. Stability is that of two fits on disjoint
halves of the rows, compared on all rows. Cost: three fits for each K.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from gem_assets.report import style
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance, cosine_coherence, pairwise_cosine
from gem_assets.teacher.stability import half_stability

#: Drop in loss, nats per token, of labels (n,) with K clusters: :class:`gem_assets.proxy.bigram_drop.BigramDrop`.
LossDrop = Callable[[NDArray[np.integer], int], float]


@dataclass(frozen=True)
class SweepPoint:
    """One K.

    Attributes
    ----------
    objective
        F, nats per document.
    coherence, pairwise
        Mean cosine to the centre and between two documents of a cluster; the first rises with K by itself.
    stability
        Adjusted Rand index between the fits to two halves.
    n_eff_over_k, max_over_min
        Balance on all rows.
    bigram_drop
        Nats per token by which knowing the cluster lowers a bigram model's loss; None without texts.
    """

    k: int
    objective: float
    coherence: float
    pairwise: float
    stability: float
    n_eff_over_k: float
    max_over_min: float
    bigram_drop: float | None = None


def sweep_k(
    x: NDArray[np.floating],
    ks: Sequence[int],
    config: TeacherConfig,
    *,
    bigram_drop: LossDrop | None = None,
    progress: Callable[[SweepPoint], None] | None = None,
) -> list[SweepPoint]:
    """Fit each K on all rows and on two disjoint halves.

    Parameters
    ----------
    x
        Unit rows, shape (n, d).
    ks
        Numbers of clusters to try, each at least 2.
    config
        Settings of the fits; its ``k`` is replaced.
    bigram_drop
        Called with the labels of all rows and K.
    progress
        Called with each finished point.
    """
    points: list[SweepPoint] = []
    for k in ks:
        settings = TeacherConfig.model_validate({**config.model_dump(), "k": k})
        whole = GemTeacher.from_config(settings).fit(x)

        def make(seed: int, settings: TeacherConfig = settings) -> GemTeacher:  # noqa: ARG001
            return GemTeacher.from_config(settings)

        sizes = balance(whole.labels_, k)
        point = SweepPoint(
            k=k,
            objective=whole.objective_[-1],
            coherence=cosine_coherence(x, whole.labels_, k),
            pairwise=pairwise_cosine(x, whole.labels_, k),
            stability=half_stability(make, np.asarray(x, dtype=np.float32), config.seed),
            n_eff_over_k=sizes.n_eff_over_k,
            max_over_min=sizes.max_over_min,
            bigram_drop=None if bigram_drop is None else bigram_drop(whole.labels_, k),
        )
        points.append(point)
        if progress is not None:
            progress(point)
    return points


def sweep_curves(points: Sequence[SweepPoint]) -> bytes:
    """Objective, coherence, stability and, where measured, drop in bigram loss over K, one panel each."""
    panels: list[tuple[str, list[float]]] = [
        ("objective, nats per document", [p.objective for p in points]),
        ("cosine inside clusters", [p.pairwise for p in points]),
        ("stability: two halves, ARI", [p.stability for p in points]),
    ]
    drops = [p.bigram_drop for p in points if p.bigram_drop is not None]
    if points and len(drops) == len(points):
        panels.append(("drop in bigram loss, nats per token", drops))
    figure = style.new_figure(
        3.3, "Number of clusters", "take the K after which coherence and drop level off, before stability falls"
    )
    ks = [p.k for p in points]
    for axes, (title, values) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.plot(ks, values, color=style.ACCENT, linewidth=1.8, marker="o", markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(ks))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.ticklabel_format(axis="y", useOffset=False)
        style.clean_axes(axes)
        axes.minorticks_off()
        axes.tick_params(labelsize=8)
        axes.set_title(title, size=8, color=style.INK, family=style.FONT, loc="left")
        style.label_axes(axes, "K")
    return style.render(figure)
