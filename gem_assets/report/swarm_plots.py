"""Pictures of a swarm, of the laws fitted to it, and of recipes side by side, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gem_assets.report import style

Floats = NDArray[np.floating[Any]]

_PANELS = 12


def shares_against_loss(
    mixtures: Floats, loss: Floats, names: Sequence[str], fixed: dict[str, int] | None = None, what: str = "mean loss"
) -> bytes:
    """Loss of every proxy against the share of a cluster, one panel each for the clusters that matter most.

    Parameters
    ----------
    mixtures, loss
        ``(n, K)`` and ``(n,)``.
    fixed
        Row of each fixed mixture by name; drawn in the second colour.
    """
    shares, values = np.asarray(mixtures, np.float64), np.asarray(loss, np.float64)
    centred = shares - shares.mean(0)
    strength = np.abs(centred.T @ (values - values.mean())) / np.maximum(np.linalg.norm(centred, axis=0), 1e-12)
    shown = np.argsort(-strength, kind="stable")[:_PANELS]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    anchors = fixed or {}
    told = f"; orange: {', '.join(anchors)}" if anchors else ""
    figure = style.new_figure(0.9 + 1.75 * rows, f"{len(values)} proxies: share against loss", f"{what}, nats{told}")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    titles = style.drawable(names, 26)
    for number, axes in enumerate(panels.flat):
        if number >= len(shown):
            axes.set_visible(False)
            continue
        k = int(shown[number])
        axes.scatter(shares[:, k], values, s=14, color=style.ACCENT, alpha=0.65, linewidths=0)
        picked = list(anchors.values())
        axes.scatter(shares[picked, k], values[picked], s=26, color=style.SECOND, zorder=3, linewidths=0)
        axes.set_title(titles[k], loc="left", size=8, color=style.INK, family=style.FONT)
        style.clean_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.xaxis.set_major_formatter(style.PERCENT)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return style.render(figure)


def law_fit(held_out: Floats, observed: Floats, law: str, correlation: float) -> bytes:
    """Held-out prediction of every run against its loss; on the dashed line they are equal."""
    x, y = np.asarray(observed, np.float64), np.asarray(held_out, np.float64)
    figure = style.new_figure(
        4.6,
        "Does the law predict runs that it has not seen?",
        f"{style.drawable([law], 70)[0]}; rank correlation {correlation:.2f} over {len(x)} runs",
    )
    axes = figure.subplots()
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    axes.plot([low, high], [low, high], color=style.FAINT, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.scatter(x, y, s=26, color=style.ACCENT, alpha=0.8, linewidths=0)
    style.clean_axes(axes, grid="both")
    style.label_axes(axes, "loss of the proxy, nats", "held-out prediction")
    return style.render(figure)


def loss_bars(
    names: Sequence[str],
    gains: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    title: str,
    subtitle: str,
) -> bytes:
    """One bar a recipe: its loss less that of the proportional mixture, with an interval where there is one."""
    order = np.argsort(gains, kind="stable")
    figure = style.new_figure(1.3 + 0.3 * max(len(names), 1), title, subtitle)
    axes = figure.subplots()
    shown = style.drawable(names, 34)
    for row, i in enumerate(order):
        value = float(gains[i])
        axes.barh(row, value, height=0.62, color=style.ACCENT if value < 0 else style.FAINT)
        interval = intervals[i]
        if interval is not None:
            axes.hlines(row, interval[0], interval[1], color=style.INK, linewidth=1.4)
    axes.axvline(0.0, color=style.INK, linewidth=1.0)
    style.clean_axes(axes, grid="x")
    axes.set_yticks(np.arange(len(order)), [shown[i] for i in order], size=8.5, family=style.FONT, color=style.INK)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    return style.render(figure)
