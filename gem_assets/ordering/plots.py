"""Pictures of an order, as PNG bytes: how the score moves along the run, and whether shares hold."""

import numpy as np

from gem_assets.ordering.diagnostics import smooth
from gem_assets.ordering.review import OrderReview
from gem_assets.report import style

_POINTS = 6000
_SEGMENTS = 200
_MOST_NAMED = 12


def order_curve(review: OrderReview, strategy: str, score: str) -> bytes:
    """Rank of each document inside its cluster along the run, its mean, and the guideline figures."""
    means = review.within_mean()
    figure = style.new_figure(
        4.6,
        f"Training order: {strategy} by {score}",
        f"boundary {means['boundary_head']:.2f} to {means['boundary_tail']:.2f} · longest stretch without easy text "
        f"{means['cyclic_gap']:.2f} · largest step {means['continuity_step']:.3f} · spread in a batch "
        f"{means['diversity']:.3f}",
    )
    axes = figure.subplots()
    chosen = np.linspace(0, len(review.rank) - 1, min(_POINTS, len(review.rank))).round().astype(np.int64)
    axes.scatter(
        review.progress[chosen], review.rank[chosen], s=3, color=style.FAINT, alpha=0.6, linewidths=0, rasterized=True
    )
    axes.plot(
        smooth(review.progress, _SEGMENTS), smooth(review.rank, _SEGMENTS), color=style.ACCENT, linewidth=1.8, zorder=3
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    style.clean_axes(axes)
    axes.xaxis.set_major_formatter(style.PERCENT)
    axes.yaxis.set_major_formatter(style.PERCENT)
    style.label_axes(axes, "part of the run", "rank of the score in its cluster")
    return style.render(figure)


def shares_along(review: OrderReview, names: dict[int, str] | None = None) -> bytes:
    """Token share of each cluster in every window of the run, stacked; level bands are shares that hold."""
    spread = float((review.shares.max(axis=0) - review.shares.min(axis=0)).max())
    figure = style.new_figure(
        4.6,
        "Shares along the run",
        f"{len(review.clusters)} clusters in {len(review.shares)} windows · widest band moves by {spread:.2%}",
    )
    axes = figure.subplots()
    middle = (np.arange(len(review.shares)) + 0.5) / len(review.shares)
    order = np.argsort(-review.shares.mean(axis=0), kind="stable")
    colors = style.cluster_colors(len(order))
    axes.stackplot(middle, review.shares[:, order].T, colors=colors, edgecolor="white", linewidth=0.3)
    ends = np.cumsum(review.shares[-1, order])
    labels = style.drawable(
        [(names or {}).get(int(review.clusters[k]), f"Cluster {review.clusters[k]}") for k in order], 28
    )
    for place, k in enumerate(order[:_MOST_NAMED]):
        height = review.shares[-1, k]
        if height > 0.02:
            style.write(axes, 1.005, float(ends[place] - height / 2), f"{labels[place]}  {height:.1%}", va="center")
    axes.set_xlim(0, 1.32)
    axes.set_ylim(0, 1)
    style.clean_axes(axes, grid="")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(style.PERCENT)
    axes.yaxis.set_major_formatter(style.PERCENT)
    style.label_axes(axes, "part of the run", "share of tokens")
    return style.render(figure)
