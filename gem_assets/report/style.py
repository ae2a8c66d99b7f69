"""One look for every picture: ink on white, one accent, direct labels, no chart junk.

Figures are drawn with matplotlib's object interface on the Agg canvas, so nothing global is touched and threads do not
meet; a PNG carries no date and no program version, so the same data gives the same bytes.
"""

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter

from gem_assets.report.tables import compact

FONT = "DejaVu Sans"  # ships with matplotlib, so pictures are the same everywhere
INK = "#1b2733"
MUTED = "#6b7785"
FAINT = "#c3cad2"
GRID = "#e8ebef"
WASH = "#f3f5f7"
ACCENT = "#0f766e"
SECOND = "#c26a1b"
WIDTH = 9.0
DPI = 144

SEQUENTIAL = LinearSegmentedColormap.from_list("gem", ["#ffffff", "#d5ece8", "#7cc0b6", "#0f766e", "#063f3b"])
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g} %")
COMPACT = FuncFormatter(lambda value, _: compact(value))

_HEADER = 0.62  # inches above the axes for title and subtitle


def new_figure(height: float, title: str, subtitle: str = "", *, fitted: bool = True) -> Figure:
    """Return an empty figure of the house width with its header written.

    ``fitted`` lets the layout engine make room for labels. It solves for uneven grids in an order that differs from run
    to run by a pixel, so figures with such grids place their axes themselves.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", layout="constrained" if fitted else None)
    FigureCanvasAgg(figure)
    if fitted:
        engine: Any = figure.get_layout_engine()
        engine.set(rect=(0.005, 0.01, 0.985, 1 - _HEADER / height - 0.015), w_pad=0.08, h_pad=0.06)
    left = 0.15 / WIDTH
    figure.text(left, 1 - 0.13 / height, title, va="top", size=13, weight="bold", color=INK, family=FONT)
    if subtitle:
        figure.text(left, 1 - 0.40 / height, subtitle, va="top", size=9.5, color=MUTED, family=FONT)
    return figure


def clean_axes(axes: Axes, *, grid: str = "y") -> None:
    """Take everything off the axes that carries no data."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=MUTED, pad=5)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.9)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontfamily(FONT)


def label_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """Write axis labels in the house type."""
    axes.set_xlabel(x, size=9.5, color=MUTED, family=FONT, labelpad=6)
    axes.set_ylabel(y, size=9.5, color=MUTED, family=FONT, labelpad=6)


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write a word at data coordinates."""
    look: dict[str, Any] = {"size": 8.5, "color": INK, "family": FONT} | style
    axes.text(x, y, text, **look)


def render(figure: Figure) -> bytes:
    """Return the figure as PNG; the bytes depend on nothing but the drawing."""
    buffer = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def cluster_colors(count: int) -> list[tuple[float, float, float]]:
    """Return one quiet colour per cluster; neighbours in number differ in hue and lightness.

    Hues advance by the golden angle in OKLCH, where equal steps look equally far apart.
    """
    golden = math.pi * (3 - math.sqrt(5))
    return [_oklch((0.60, 0.72, 0.50)[k % 3], (0.105, 0.095, 0.09)[k % 3], 3.2 + k * golden) for k in range(count)]


def drawable(names: Sequence[str], longest: int = 40) -> list[str]:
    """Return the names as the font can draw them.

    A name with a letter that the font lacks is shown by its number, never as boxes; one that is too long is cut.
    """
    glyphs = _glyphs()
    shown: list[str] = []
    for k, name in enumerate(names):
        line = " ".join(name.split())
        if not all(ord(c) in glyphs for c in line):
            line = f"Cluster {k}"
        # matplotlib reads dollar signs as mathematics
        line = line.replace("$", r"\$")
        shown.append(line if len(line) <= longest else line[: longest - 1].rstrip(" ·") + "…")
    return shown


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())


def _oklch(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.array(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ]
    ).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (float(srgb[0]), float(srgb[1]), float(srgb[2]))
