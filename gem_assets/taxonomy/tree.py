"""The picture of a taxonomy's hierarchy: clusters as leaves, parents as branches, what each join costs as length."""

from collections.abc import Sequence

import numpy as np

from gem_assets.report import style
from gem_assets.taxonomy.hierarchy import Hierarchy

MOST_LEAVES = 120


def taxonomy_tree(hierarchy: Hierarchy, names: Sequence[str], shares: Sequence[float]) -> bytes:
    """Draw the tree; branches of one parent share a colour, and its name stands beside its clusters.

    Of more than ``MOST_LEAVES`` clusters only the parents are drawn.
    """
    k = len(names)
    order = _leaves(hierarchy, k)
    height = {cluster: float(place) for place, cluster in enumerate(order)}
    above = hierarchy.parent_of()
    colors = {p.id: c for p, c in zip(hierarchy.parents, style.cluster_colors(len(hierarchy.parents)), strict=True)}
    spoken = style.drawable(names, 44)
    figure = style.new_figure(
        1.4 + (0.19 * k if k <= MOST_LEAVES else 8.0),
        f"{k} clusters in {len(hierarchy.parents)} groups",
        "length of a branch: share of the mean cosine to the centre that joining costs",
    )
    axes = figure.subplots()
    reach = max((m.lost for m in hierarchy.merges), default=1.0) or 1.0
    x, y, owner = [0.0] * k, [height[c] for c in range(k)], [above[c].id for c in range(k)]
    for merge in hierarchy.merges:
        one, two = owner[merge.left], owner[merge.right]
        color = colors[one] if one == two and one >= 0 else style.FAINT
        for node in (merge.left, merge.right):
            axes.plot([x[node], merge.lost], [y[node], y[node]], color=color, linewidth=1.5, solid_capstyle="round")
        axes.plot([merge.lost] * 2, [y[merge.left], y[merge.right]], color=color, linewidth=1.5)
        x.append(merge.lost)
        y.append((y[merge.left] + y[merge.right]) / 2)
        owner.append(one if one == two else -1)
    if k <= MOST_LEAVES:
        for cluster in order:
            line = f"{spoken[cluster]}  {100 * shares[cluster]:.1f} %"
            style.write(axes, -0.012 * reach, height[cluster], line, ha="right", va="center", size=7.8)
    titles = style.drawable([p.name for p in hierarchy.parents], 30)
    for parent, title in zip(hierarchy.parents, titles, strict=True):
        middle = float(np.mean([height[c] for c in parent.clusters]))
        style.write(
            axes, 1.03 * reach, middle, title, va="center", size=9, weight="bold", color=_ink(colors[parent.id])
        )
    axes.set_xlim(-0.75 * reach if k <= MOST_LEAVES else -0.02 * reach, 1.62 * reach)
    axes.set_ylim(k - 0.4, -0.6)
    axes.set_yticks([])
    style.clean_axes(axes, grid="")
    axes.set_xticks([0.0, reach / 2, reach])
    axes.xaxis.set_major_formatter(style.PERCENT)
    return style.render(figure)


def _leaves(hierarchy: Hierarchy, k: int) -> list[int]:
    """Clusters from top to bottom, so that no branches cross; of two branches the larger stands above."""
    members: list[list[int]] = [[c] for c in range(k)]
    for merge in hierarchy.merges:
        pair = sorted((members[merge.left], members[merge.right]), key=lambda m: (-len(m), m[0]))
        members.append(pair[0] + pair[1])
    return members[-1] if hierarchy.merges else list(range(k))


def _ink(color: tuple[float, float, float]) -> tuple[float, float, float]:
    return (0.6 * color[0], 0.6 * color[1], 0.6 * color[2])
