"""The picture of several clusterings of the same documents, side by side."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gem_assets.report import style


def method_bars(values: Mapping[str, Mapping[str, float]], accent: str) -> bytes:
    """Measures of several clusterings as small bar panels, one a measure; the clustering ``accent`` in colour.

    ``values`` maps a measure to (clustering to value); every measure names the same clusterings.
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

    ``before`` and ``after`` are shares by axis, largest first, as :func:`gem_assets.teacher.metrics.spectrum` returns
    them.
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
