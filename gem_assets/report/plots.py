"""The pictures of the asset pages, as PNG bytes.

Each function takes plain arrays and returns a finished picture 9 inches wide, readable at 900 pixels.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from gem_assets.report import style
from gem_assets.report.layout import landmark_map, spread_labels
from gem_assets.report.tables import effective_number

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

MAP_POINTS = 12_000
MOST_LABELS = 40
_PALETTE = 64


class FitRecord(Protocol):
    """One iteration of a fit, as the objective curve reads it."""

    @property
    def stage(self) -> str:
        """Part of the fit that it belongs to; the last stage is the fit on all documents."""
        ...

    @property
    def objective(self) -> float:
        """Objective, nats per document."""
        ...

    @property
    def moved(self) -> float:
        """Part of the documents whose cluster changed."""
        ...

    @property
    def claimed(self) -> bool:
        """Whether the objective may not fall here; False while annealing."""
        ...


def cluster_shares(before: Floats, after: Floats) -> bytes:
    """Shares by rank under spherical k-means and under GEM, of the same documents, as multiples of the even share.

    The clusters of the two need not correspond: each side is sorted from its largest cluster to its smallest.
    """
    told = f"{_balance_line('spherical k-means', before)} · {_balance_line('GEM', after)}"
    figure = style.new_figure(4.1, "Cluster sizes: GEM against spherical k-means", told)
    axes = figure.subplots()
    top = 0.0
    for shares, name, color, offset in (
        (before, "spherical k-means", style.FAINT, -0.21),
        (after, "GEM", style.ACCENT, 0.21),
    ):
        multiples = np.sort(np.asarray(shares, np.float64))[::-1] * len(shares)
        axes.bar(np.arange(1, len(shares) + 1) + offset, multiples, width=0.4, color=color, label=name)
        top = max(top, float(multiples.max(initial=0.0)))
    axes.axhline(1.0, color=style.INK, linewidth=1.0, linestyle=(0, (4, 3)))
    count = max(len(before), len(after))
    style.write(axes, count + 0.5, 1.0, "even share", ha="right", va="bottom", color=style.MUTED)
    axes.set_xlim(0.3, count + 0.7)
    axes.set_ylim(0, max(1.25, 1.08 * top))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    style.clean_axes(axes)
    style.label_axes(axes, "clusters, largest first", "share of documents × K")
    axes.legend(frameon=False, loc="upper right", prop={"family": style.FONT, "size": 9.5}, labelcolor=style.INK)
    return style.render(figure)


def objective_curve(trace: Sequence[FitRecord]) -> bytes:
    """Objective and churn of the last stage of a fit; annealing, where nothing is claimed, is shaded.

    Earlier stages, the starts on a sample, stand in a panel of their own, the one that ended highest in ink: their
    objective is over other documents and not comparable with that of the last stage.
    """
    stages: dict[str, list[FitRecord]] = {}
    for line in trace:
        stages.setdefault(line.stage, []).append(line)
    last = stages[trace[-1].stage] if trace else []
    starts = [lines for lines in stages.values() if lines is not last]
    told = f"{len(starts)} starts on a sample, then {len(last)} iterations" if starts else f"{len(last)} iterations"
    figure = style.new_figure(
        4.6, "Objective of the teacher", f"{told}; shaded: annealing, where it may fall", fitted=False
    )
    left, width = (0.42, 0.56) if starts else (0.085, 0.895)
    objective = figure.add_axes((left, 0.40, width, 0.43))
    churn = figure.add_axes((left, 0.125, width, 0.215), sharex=objective)
    objective.tick_params(labelbottom=False)
    if starts:
        _draw_starts(figure.add_axes((0.055, 0.125, 0.27, 0.705)), starts)
    steps = np.arange(1, len(last) + 1)
    values = np.array([t.objective for t in last], np.float64)
    claimed = np.array([t.claimed for t in last], bool)
    moved = np.array([t.moved for t in last], np.float64)
    for axes in (objective, churn):
        for begin, end in _runs(~claimed):
            axes.axvspan(begin + 0.5, end + 0.5, color=style.WASH, linewidth=0)
    objective.plot(steps, values, color=style.ACCENT, linewidth=2, solid_capstyle="round")
    finite = values[np.isfinite(values)]
    settled = values[claimed & np.isfinite(values)]
    if len(settled) > 1:
        # the last, slow part is what one wants to see; a deep start may leave the frame
        span = max(float(np.ptp(settled)), 1e-3 * abs(float(settled.max())), 1e-9)
        low = float(settled.min()) - span
        high = float(finite.max()) + 0.12 * (float(finite.max()) - low)
        objective.set_ylim(low, high)
    if len(finite):
        style.write(
            objective, float(steps[-1]), float(values[-1]), f"{values[-1]:.3f} ", ha="right", va="bottom", weight="bold"
        )
    shown = np.where(moved > 0, moved, np.nan)
    churn.plot(steps, shown, color=style.SECOND, linewidth=1.6)
    if np.isfinite(shown).any():
        churn.set_yscale("log")
        churn.yaxis.set_major_locator(LogLocator(numticks=4))
    objective.set_xlim(0.5, max(len(last), 1) + 0.5)
    churn.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    objective.yaxis.set_major_locator(MaxNLocator(nbins=6))
    objective.ticklabel_format(axis="y", useOffset=False)
    for axes in (objective, churn):
        style.clean_axes(axes)
    churn.yaxis.set_major_formatter(style.PERCENT)
    churn.minorticks_off()
    style.label_axes(objective, y="nats per document")
    style.label_axes(churn, "iteration", "moved")
    return style.render(figure)


def _draw_starts(axes: Axes, starts: Sequence[Sequence[FitRecord]]) -> None:
    curves = [np.array([t.objective for t in lines], np.float64) for lines in starts]
    ends = np.array([c[-1] for c in curves])
    best = int(np.argmax(np.where(np.isfinite(ends), ends, -np.inf)))
    for number, curve in enumerate(curves):
        style_of = (style.INK, 1.8) if number == best else (style.FAINT, 1.2)
        axes.plot(
            np.arange(1, len(curve) + 1), curve, color=style_of[0], linewidth=style_of[1], zorder=2 + (number == best)
        )
    known = ends[np.isfinite(ends)]
    if len(known):
        span = max(float(np.ptp(known)), 1e-3 * abs(float(known.max())), 1e-9)
        axes.set_ylim(float(known.min()) - 3 * span, float(known.max()) + 0.6 * span)
    axes.set_xlim(0.5, max(len(c) for c in curves) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.ticklabel_format(axis="y", useOffset=False)
    style.clean_axes(axes)
    style.label_axes(axes, "iteration of a start", "")


def agreement_matrix(confusion: Integers | Floats, names: Sequence[str] | None = None) -> bytes:
    """Where the student puts the documents of each teacher cluster; rows are the teacher's and sum to 1."""
    counts = np.asarray(confusion, np.float64)
    k = len(counts)
    total = counts.sum()
    rows = np.divide(counts, counts.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    agreed = float(np.trace(counts) / total) if total else 0.0
    shown = style.drawable(names, 28) if names is not None else [str(i) for i in range(k)]
    size = float(np.clip(0.27 * k, 3.0, 8.2))
    figure = style.new_figure(
        size + 1.5, "Student against teacher", f"{agreed:.1%} of {total:,.0f} held-out documents agree"
    )
    axes = figure.subplots()
    image = axes.imshow(rows, cmap=style.SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    if k <= 30:
        for i in range(k):
            if counts[i].sum():
                ink = "white" if rows[i, i] > 0.55 else style.INK
                style.write(axes, i, i, f"{100 * rows[i, i]:.0f}", ha="center", va="center", color=ink, size=7)
    style.clean_axes(axes, grid="")
    every = max(1, math.ceil(k / 48))
    ticks = np.arange(0, k, every)
    axes.set_xticks(ticks, [str(t) for t in ticks], size=7.5, family=style.FONT)
    axes.set_yticks(ticks, [shown[t] for t in ticks], size=7.5, family=style.FONT)
    style.label_axes(axes, "student", "teacher" if names is None else "")
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, format=style.PERCENT)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(length=0, labelsize=8, colors=style.MUTED)
    return style.render(figure)


def mixture_bars(mixtures: Mapping[str, Floats], names: Sequence[str]) -> bytes:
    """Token shares of several recipes side by side, one column each; ticks mark the first recipe's shares."""
    shown = style.drawable(names, 34)
    titles = list(mixtures)
    table = np.array([np.asarray(mixtures[t], np.float64) for t in titles]).reshape(len(titles), len(shown))
    order = np.argsort(-table[0], kind="stable")
    subtitle = "token share per cluster" + (f"; tick: {titles[0]}" if len(titles) > 1 else "")
    figure = style.new_figure(1.35 + 0.235 * len(shown), "Mixtures" if len(titles) > 1 else titles[0], subtitle)
    panels = figure.subplots(1, len(titles), sharey=True, sharex=True, squeeze=False)[0]
    rows = np.arange(len(shown))
    limit = float(table.max(initial=1e-9)) * (1.22 if len(titles) < 5 else 1.36)
    for column, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        values = table[column, order]
        axes.barh(rows, values, height=0.66, color=style.FAINT if column == 0 and len(titles) > 1 else style.ACCENT)
        if column:
            axes.vlines(table[0, order], rows - 0.4, rows + 0.4, color=style.INK, linewidth=1.3)
        for row, value in zip(rows, values, strict=True):
            style.write(
                axes, limit, float(row), f"{100 * value:.1f}", ha="right", va="center", size=7.5, color=style.MUTED
            )
        axes.set_title(style.drawable([title], 22)[0], loc="left", size=9.5, color=style.INK, family=style.FONT)
        axes.set_xlim(0, limit)
        style.clean_axes(axes, grid="x")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.xaxis.set_major_formatter(style.PERCENT)
    panels[0].set_yticks(rows, [shown[i] for i in order], size=8.5, family=style.FONT, color=style.INK)
    panels[0].set_ylim(len(shown) - 0.4, -0.6)
    return style.render(figure)


def cluster_map(vectors: Floats, labels: Integers, names: Sequence[str], *, seed: int = 0) -> bytes:
    """A sample in the plane, coloured by cluster, with the names where the documents lie.

    Unit rows ``(n, d)``; more than ``MAP_POINTS`` are sampled. The cluster centres are laid out by their
    angles, and each document stands between the centres that it resembles. Distances across the map are a picture, not
    a measure.
    """
    chosen = np.arange(len(vectors))
    if len(vectors) > MAP_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MAP_POINTS, replace=False))
    points = np.asarray(vectors, np.float32)[chosen]
    own = np.asarray(labels)[chosen]
    plane = landmark_map(points, own, len(names))
    drawn = f"{len(points):,} documents; each stands between the cluster centres it resembles"
    figure = style.new_figure(7.4, "Map of the sample", drawn)
    axes = figure.subplots()
    colors = np.array(style.cluster_colors(len(names))).reshape(-1, 3)
    if len(points):
        # shuffled, or the last cluster would lie on top of the others
        mixed = np.random.default_rng(seed).permutation(len(points))
        axes.scatter(
            plane[mixed, 0], plane[mixed, 1], s=5, c=colors[own[mixed]], alpha=0.55, linewidths=0, rasterized=True
        )
        _name_clusters(axes, plane, own, names, colors)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06)
    style.clean_axes(axes, grid="")
    return style.render(figure)


def _name_clusters(axes: Any, plane: Floats, own: Integers, names: Sequence[str], colors: Floats) -> None:
    sizes = np.bincount(own, minlength=len(names))
    named = [int(k) for k in np.argsort(-sizes, kind="stable")[:MOST_LABELS] if sizes[k]]
    anchors = np.array([np.median(plane[own == k], axis=0) for k in named])
    shown = style.drawable(names, 30)
    texts = [shown[k] for k in named]
    span = np.maximum(np.ptp(plane, axis=0), 1e-9)
    # at this width a character of 8 points is about 0.0073 of the frame, a line 0.027
    boxes = np.array([[0.0073 * len(t) * span[0] * 1.12, 0.030 * span[1]] for t in texts])
    places = spread_labels(anchors, boxes)
    for k, text, anchor, place in zip(named, texts, anchors, places, strict=True):
        if np.any(np.abs(place - anchor) > 0.7 * boxes[0, 1]):
            axes.plot(*zip(anchor, place, strict=True), color=style.MUTED, linewidth=0.6)
        style.write(
            axes,
            float(place[0]),
            float(place[1]),
            text,
            ha="center",
            va="center",
            size=8,
            weight="bold",
            color=tuple(0.55 * colors[k]),
            path_effects=[withStroke(linewidth=2.6, foreground="white")],
        )


def reliability(table: pa.Table, margins: pa.Table | None = None) -> bytes:
    """Agreement with the teacher against the student's confidence, with the number of documents below.

    Parameters
    ----------
    table
        Columns ``lower``, ``upper``, ``n_documents``, ``mean_confidence`` and ``agreement``, one row a bin; the last
        two are null in an empty bin.
    margins
        The same of the margins, with ``mean_margin`` and ``lead``; drawn as a second curve.
    """
    said, seen, counts = _bins(table, "mean_confidence", "agreement")
    lower, upper = (table.column(c).to_numpy() for c in ("lower", "upper"))
    subtitle = f"expected calibration error {_gap(said, seen, counts):.3f} over {counts.sum():,.0f} documents"
    curves = [("confidence", style.ACCENT, said, seen)]
    if margins is not None:
        margin, lead, of_margin = _bins(margins, "mean_margin", "lead")
        subtitle += f", of the margins {_gap(margin, lead, of_margin):.3f}"
        curves.append(("margin over the runner-up", style.SECOND, margin, lead))
    figure = style.new_figure(5.2, "Is the student as sure as it is right?", f"{subtitle}; dashed: as sure as right")
    curve, bars = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    curve.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1.4, linestyle=(0, (4, 3)))
    for name, color, x, y in curves:
        filled = np.isfinite(x)
        curve.plot(x[filled], y[filled], color=color, linewidth=1.6, label=name)
        curve.scatter(x[filled], y[filled], s=34, color=color, zorder=3)
    curve.set_xlim(0, 1)
    curve.set_ylim(min(0.0, *(float(np.nanmin(y, initial=0.0)) for _, _, _, y in curves)), 1.03)
    bars.bar((lower + upper) / 2, counts, width=0.92 * (upper - lower), color=style.FAINT)
    for axes in (curve, bars):
        style.clean_axes(axes)
    curve.yaxis.set_major_formatter(style.PERCENT)
    bars.xaxis.set_major_formatter(style.PERCENT)
    bars.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    style.label_axes(curve, y="agreement")
    style.label_axes(bars, "confidence" if margins is None else "confidence or margin", "documents")
    if margins is not None:
        curve.legend(frameon=False, loc="upper left", prop={"family": style.FONT, "size": 9.5}, labelcolor=style.INK)
    return style.render(figure)


def _bins(table: pa.Table, said: str, seen: str) -> tuple[Floats, Floats, Floats]:
    columns = (np.array(table.column(name).to_pylist(), np.float64) for name in (said, seen, "n_documents"))
    x, y, counts = columns
    return x, y, counts


def _gap(said: Floats, seen: Floats, counts: Floats) -> float:
    filled = counts > 0
    return float(np.sum(counts[filled] * np.abs(seen[filled] - said[filled])) / max(counts.sum(), 1))


def shares_over_snapshots(snapshots: Sequence[str], shares: Floats, names: Sequence[str]) -> bytes:
    """Cluster shares of each snapshot, stacked; ``shares`` is ``(snapshots, clusters)``."""
    table = np.asarray(shares, np.float64).reshape(len(snapshots), len(names))
    shown = style.drawable(names, 34)
    colors = style.cluster_colors(len(names))
    figure = style.new_figure(6.6, "Composition of the snapshots", "share of tokens per cluster")
    axes = figure.subplots()
    # with many snapshots the columns touch, like an area chart
    width = 0.72 if len(snapshots) < 25 else 1.0
    bottoms = np.zeros(len(snapshots))
    order = np.argsort(table.mean(axis=0) if len(table) else np.zeros(len(names)), kind="stable")
    for k in order:
        axes.bar(
            np.arange(len(snapshots)), table[:, k], width, bottoms, color=colors[k], edgecolor="white", linewidth=0.5
        )
        if len(snapshots) and table[-1, k] > 0.011:
            middle = float(bottoms[-1] + table[-1, k] / 2)
            style.write(
                axes,
                len(snapshots) - 1 + width / 2 + 0.03 * len(snapshots),
                middle,
                f"{shown[k]}  {table[-1, k]:.1%}",
                va="center",
                size=7.8,
            )
        bottoms += table[:, k]
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.6, len(snapshots) - 1 + width / 2 + 0.75 * max(1, len(snapshots)))
    every = max(1, math.ceil(len(snapshots) / 8))
    ticks = list(range(0, len(snapshots), every))
    style.clean_axes(axes, grid="")
    axes.set_xticks(ticks, style.drawable([snapshots[t] for t in ticks], 16), size=8.5, family=style.FONT)
    axes.yaxis.set_major_formatter(style.PERCENT)
    return style.render(figure)


def drift_lines(
    snapshots: Sequence[str], figures: Mapping[str, Sequence[float]], limits: Mapping[str, tuple[float, float]]
) -> bytes:
    """Figures over snapshots, one panel each, with the values from which they warn and ask for a refit."""
    meaning = "what chance does not explain · dashed: warns · solid: asks for a refit"
    figure = style.new_figure(6.2, "Drift from the teacher's snapshots", meaning)
    panels = figure.subplots(len(figures), 1, sharex=True, squeeze=False)[:, 0]
    steps = np.arange(len(snapshots))
    for axes, (name, values) in zip(panels, figures.items(), strict=True):
        warn, refit = limits[name]
        axes.axhline(warn, color=style.MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.axhline(refit, color=style.INK, linewidth=1.0)
        axes.plot(steps, np.asarray(values, np.float64), color=style.ACCENT, linewidth=2, marker="o", markersize=4)
        style.clean_axes(axes)
        style.label_axes(axes, "", name)
        top = 1.15 * max(refit, *values, 0.0)
        # room below, so that the dots of steady snapshots are whole
        axes.set_ylim(min(-0.04 * top, *values, 0.0), top)
    every = max(1, math.ceil(len(snapshots) / 8))
    ticks = list(range(0, len(snapshots), every))
    panels[-1].set_xticks(ticks, style.drawable([snapshots[t] for t in ticks], 16), size=8.5, family=style.FONT)
    return style.render(figure)


def markdown_image(png: bytes, alt: str) -> str:
    """Return a picture as Markdown with the bytes inline, for pages that load nothing from elsewhere.

    Dagster keeps three copies of it, so it is written with a palette, in a third of the bytes.
    """
    png = _with_palette(png)
    safe = alt.replace("\\", "").replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"![{safe}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _with_palette(png: bytes) -> bytes:
    from PIL import Image

    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(_PALETTE).save(smaller, "PNG", optimize=True)
    return min(png, smaller.getvalue(), key=len)


def _balance_line(name: str, shares: Floats) -> str:
    values = np.asarray(shares, np.float64)
    smallest = float(values.min()) if len(values) else 0.0
    ratio = f"{float(values.max()) / smallest:.1f}" if smallest > 0 else "∞"
    return f"{name}: effective {effective_number(values):.1f} of {len(values)}, largest/smallest {ratio}"


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
