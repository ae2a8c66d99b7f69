"""Pictures about clusterings as a whole: a sweep over K, and methods side by side."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from gem_assets.report import style


class KRecord(Protocol):
    """One K of a sweep, as the picture reads it."""

    @property
    def k(self) -> int:
        """Number of clusters."""
        ...

    @property
    def objective(self) -> float:
        """Objective, nats per document."""
        ...

    @property
    def pairwise(self) -> float:
        """Mean cosine between two documents of a cluster."""
        ...

    @property
    def stability(self) -> float:
        """Adjusted Rand index between fits to two halves."""
        ...

    @property
    def bigram_drop(self) -> float | None:
        """Nats a token that the cluster saves a bigram model."""
        ...


def sweep_curves(points: Sequence[KRecord]) -> bytes:
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


def method_bars(values: Mapping[str, Mapping[str, float]], accent: str) -> bytes:
    """Measures of several clusterings as small bar panels, one a measure; the clustering ``accent`` in colour.

    Parameters
    ----------
    values
        Measure to (clustering to value); every measure names the same clusterings.
    accent
        Name of the clustering to set off.
    """
    names = list(next(iter(values.values()), {}))
    height = 1.35 + 0.27 * max(len(names), 1)
    figure = style.new_figure(height, "Clusterings of the same documents", "higher is better in every panel")
    shown = style.drawable(names, 24)
    rows = np.arange(len(names))[::-1]
    for number, (axes, (measure, found)) in enumerate(
        zip(np.atleast_1d(figure.subplots(1, max(len(values), 1))), values.items(), strict=True)
    ):
        colors = [style.ACCENT if name == accent else style.FAINT for name in names]
        numbers = [found[name] for name in names]
        axes.barh(rows, numbers, color=colors, height=0.66)
        low, high = min([0.0, *numbers]), max([0.0, *numbers])
        for row, value in zip(rows, numbers, strict=True):
            style.write(axes, max(value, 0.0), float(row), f" {value:.3f}", va="center", size=7.5)
        axes.set_xlim(low, high + 0.35 * max(high - low, 1e-9))
        style.clean_axes(axes, grid="")
        axes.set_yticks(rows, shown if number == 0 else [""] * len(names), size=8.5, family=style.FONT)
        axes.set_xticks([])
        axes.set_title(measure, size=8.5, color=style.INK, family=style.FONT, loc="left")
    return style.render(figure)


def spectrum_curves(before: NDArray[np.floating], after: NDArray[np.floating]) -> bytes:
    """Cumulated share of the squared length over the axes of two sets of rows; the diagonal is an even spread.

    Parameters
    ----------
    before, after
        Shares by axis, largest first, as :func:`gem_assets.teacher.metrics.spectrum` returns them.
    """
    figure = style.new_figure(3.8, "Anisotropy of the vectors", "the nearer to the dashed line, the more even")
    axes = figure.subplots()
    top = max(len(before), len(after))
    for shares, name, color in (
        (before, "vectors", style.FAINT),
        (after, "less their cluster's direction", style.ACCENT),
    ):
        axes.plot(np.arange(len(shares) + 1), [0.0, *np.cumsum(shares)], color=color, linewidth=2, label=name)
    axes.plot([0, top], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, top)
    axes.set_ylim(0, 1.02)
    style.clean_axes(axes)
    axes.yaxis.set_major_formatter(style.PERCENT)
    style.label_axes(axes, "leading axes", "share of the squared length")
    axes.legend(frameon=False, loc="lower right", prop={"family": style.FONT, "size": 9.5}, labelcolor=style.INK)
    return style.render(figure)


def cost_curves(points: Sequence[tuple[int, int, float]]) -> bytes:
    """Seconds an iteration against rows times clusters on two logarithmic axes, with the line of cost in proportion.

    Parameters
    ----------
    points
        Rows, clusters, seconds.
    """
    figure = style.new_figure(
        4.4, "Cost of an iteration", "each number of rows its own line; dashed: in proportion to rows × clusters"
    )
    axes = figure.subplots()
    sizes = sorted({n for n, _, _ in points})
    for color, n in zip(style.cluster_colors(len(sizes)), sizes, strict=True):
        mine = sorted((n * k, s) for m, k, s in points if m == n)
        axes.plot([w for w, _ in mine], [s for _, s in mine], color=color, marker="o", markersize=4, label=f"N = {n:,}")
    work = np.array(sorted(n * k for n, k, _ in points), np.float64)
    if len(work):
        rate = float(np.median([s / (n * k) for n, k, s in points]))
        axes.plot(work, rate * work, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    style.clean_axes(axes)
    style.label_axes(axes, "rows × clusters", "processor seconds")
    axes.legend(frameon=False, loc="upper left", prop={"family": style.FONT, "size": 9}, labelcolor=style.INK)
    return style.render(figure)
