"""The pictures of an audit: composition as trained, when documents were fetched, what the mixture was made from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from gem_assets.report import style

MOST_BARS = 8
OTHERS, UNKNOWN = "others", "unknown"
_REST = (OTHERS, UNKNOWN, "undetermined")


def composition_bars(panels: Mapping[str, Sequence[tuple[str, float]]]) -> bytes:
    """Shares of several columns beside each other, the largest values of each and the rest as one bar.

    What is unknown is a bar like any other, at its own length: nothing longer than it is drawn longer than it is.

    ``panels`` maps a title to (value, share of the whole), largest first.
    """
    shown = {title: _head(values) for title, values in panels.items() if values}
    rows, columns = -(-len(shown) // 2), min(2, len(shown))
    tallest = max((len(v) for v in shown.values()), default=1)
    figure = style.new_figure(
        1.0 + rows * (0.75 + 0.27 * tallest), "Composition", "as trained: every repetition counts"
    )
    grid = figure.subplots(max(rows, 1), max(columns, 1), squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (title, values) in zip(grid.flat, shown.items(), strict=False):
        places = np.arange(len(values))
        shares = [share for _, share in values]
        colors = [style.FAINT if name in _REST else style.ACCENT for name, _ in values]
        axes.barh(places, shares, height=0.66, color=colors)
        limit = max(shares, default=1.0) * 1.25
        for place, share in zip(places, shares, strict=True):
            style.write(axes, share + limit * 0.012, float(place), f"{100 * share:.1f} %", va="center", size=8)
        axes.set_yticks(places, style.drawable([n for n, _ in values], 30), size=8.5, family=style.FONT)
        axes.set_ylim(tallest - 0.4, -0.6)
        axes.set_xlim(0, limit)
        axes.set_xticks([])
        axes.set_title(title, loc="left", size=9.5, color=style.INK, family=style.FONT)
        style.clean_axes(axes, grid="")
        axes.tick_params(axis="y", colors=style.INK)
    return style.render(figure)


def tokens_over_time(months: Sequence[tuple[str, int]]) -> bytes:
    """Tokens as trained by the month that the records of their documents state, months in order."""
    figure = style.new_figure(
        2.7, "Dates of the documents", "tokens as trained, by month or year as the records state it"
    )
    axes = figure.subplots()
    places = np.arange(len(months))
    axes.bar(places, [tokens for _, tokens in months], width=0.7, color=style.ACCENT)
    every = max(1, -(-len(months) // 12))
    axes.set_xticks(places[::every], [month for month, _ in months][::every])
    axes.set_xlim(-0.6, max(len(months), 8) - 0.4)
    style.clean_axes(axes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_formatter(style.COMPACT)
    return style.render(figure)


def lineage_diagram(inputs: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> bytes:
    """What a mixture was made from: one box per asset, sources on the left, the mixture on the right.

    Parameters
    ----------
    inputs
        Asset to the assets that it read; without cycles, as manifests are.
    counts
        Asset to the number of artifacts of it, shown where there are several.
    """
    assets = sorted(set(inputs) | {name for names in inputs.values() for name in names})
    depth: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((level(child) for child in inputs.get(name, ()) if child != name), default=-1)
        return depth[name]

    columns: defaultdict[int, list[str]] = defaultdict(list)
    for name in assets:
        columns[level(name)].append(name)
    tallest = max((len(names) for names in columns.values()), default=1)
    figure = style.new_figure(1.35 + 0.62 * tallest, "Lineage", "from the landed files to the mixture", fitted=False)
    axes = figure.add_axes((0.015, 0.03, 0.97, 1 - 0.85 / (1.35 + 0.62 * tallest)))
    places: dict[str, tuple[float, float]] = {}
    for x, names in columns.items():
        # inputs first, so that a box stands near what it reads
        names.sort(key=lambda n: (np.mean([places[c][1] for c in inputs.get(n, ()) if c in places] or [0.0]), n))
        for i, name in enumerate(names):
            places[name] = (float(x), (i + 0.5) * tallest / len(names))
    for name, read in sorted(inputs.items()):
        for child in sorted(set(read) - {name}):
            (x0, y0), (x1, y1) = places[child], places[name]
            # a line past other boxes bends around them
            bend = 0.0 if x1 - x0 <= 1 else -0.28 if y0 + y1 <= tallest else 0.28
            axes.annotate("", (x1, y1), (x0, y0), zorder=1,
                          arrowprops={"arrowstyle": "-", "color": style.FAINT, "linewidth": 1.1, "shrinkA": 0,
                                      "shrinkB": 0, "connectionstyle": f"arc3,rad={bend}"})  # fmt: skip
    for name, (x, y) in places.items():
        several = f" ×{counts[name]}" if counts.get(name, 1) > 1 else ""
        style.write(axes, x, y, f"{_in_two_lines(name)}{several}", ha="center", va="center", size=7.0, zorder=3,
                    bbox={"boxstyle": "round,pad=0.4", "facecolor": style.WASH, "edgecolor": style.ACCENT,
                          "linewidth": 0.8})  # fmt: skip
    axes.set_xlim(-0.55, max(columns, default=0) + 0.55)
    axes.set_ylim(tallest + 0.35, -0.35)
    axes.set_axis_off()
    return style.render(figure)


def _in_two_lines(name: str) -> str:
    cuts = [i + 1 for i, letter in enumerate(name) if letter == ("/" if "/" in name else "_")]
    if len(name) <= 10 or not cuts:
        return name
    middle = min(cuts, key=lambda cut: abs(cut - len(name) / 2))
    return f"{name[:middle]}\n{name[middle:]}"


def _head(values: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Keep the largest values and what is unknown; the rest becomes one."""
    known = [(name, share) for name, share in values if name != UNKNOWN]
    unknown = [(name, share) for name, share in values if name == UNKNOWN]
    room = MOST_BARS - len(unknown)
    if len(known) <= room:
        return known + unknown
    return [*known[: room - 1], (OTHERS, sum(share for _, share in known[room - 1 :])), *unknown]
