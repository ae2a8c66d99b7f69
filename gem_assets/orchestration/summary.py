"""The head of an asset's page: a picture of the result in force, with its verdict and its counts beside it.

Dagster cuts a description off after some 220 pixels and shows pictures in it at their own size. So this is one SVG of
that size, drawn on request.
"""

import base64
import html
import textwrap
from pathlib import Path
from typing import Final

from gem_assets.orchestration.figures import VERDICT, name_of
from gem_assets.storage.artifacts import Artifact

WIDTH: Final = 780
_HEIGHT, _PICTURE, _LINE = 210, 500, 18
_COLUMNS, _MOST_LINES = 40, 11


def summary_svg(artifact: Artifact, picture: Path | None) -> str:
    """Return an SVG of 780 by 210 pixels, which has text alone where there is no picture."""
    drawn = ""
    if picture is not None:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        drawn = (
            f'<image width="{_PICTURE}" height="{_HEIGHT}" preserveAspectRatio="xMinYMin meet" '
            f'href="data:image/png;base64,{data}"/>'
        )
    return _svg(drawn + _text(summary_lines(artifact), _PICTURE + 16 if drawn else 0), _HEIGHT)


def message_svg(sentence: str) -> str:
    """Return an SVG of one sentence, for an asset that has no result yet."""
    return _svg(_text([sentence], 0), _LINE + 6)


def summary_lines(artifact: Artifact) -> list[str]:
    """Return the verdict and the counts of a result in words, one per line."""
    metrics, counts = artifact.manifest.metrics, artifact.manifest.counts
    verdicts = [f"{name_of(name)}: {_word(metrics[name])}" for name in VERDICT if metrics.get(name) is not None]
    figures = [f"{name_of(name)}: {value:,}" for name, value in counts.items()]
    lines = [line for text in (*verdicts, *figures) for line in textwrap.wrap(text, _COLUMNS)]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _text(lines: list[str], left: int) -> str:
    spans = (f'<tspan x="{left}" dy="{_LINE}">{html.escape(line)}</tspan>' for line in lines)
    return f'<text y="0" font-family="sans-serif" font-size="13" fill="#444">{"".join(spans)}</text>'


def _svg(body: str, height: int) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">{body}</svg>'
