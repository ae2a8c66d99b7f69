"""What a person sees first on the page of an asset: a picture of the result in force, and what it comes to.

Dagster cuts a description off after some 220 pixels and shows a picture in it at its own size. So this is a picture of
that size, drawn when it is asked for, with the artifact's picture to the left and its verdict and counts to the right.
"""

import base64
import html
import textwrap
from typing import Final

from gem_assets.orchestration.figures import VERDICT, name_of
from gem_assets.storage.artifacts import Artifact

WIDTH: Final = 780
_HEIGHT, _PICTURE, _LINE = 210, 500, 18
_COLUMNS, _MOST_LINES = 40, 11


def at_sight(artifact: Artifact, file: str) -> str:
    """Return an SVG of 780 by 210 pixels; without the picture where the artifact has none of this name."""
    path = artifact.path / file
    drawn = ""
    if path.is_file():
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        drawn = (
            f'<image width="{_PICTURE}" height="{_HEIGHT}" preserveAspectRatio="xMinYMin meet" '
            f'href="data:image/png;base64,{data}"/>'
        )
    return _svg(drawn + _text(told(artifact), _PICTURE + 16 if drawn else 0), _HEIGHT)


def said(sentence: str) -> str:
    """Return an SVG that says one sentence, where there is no result yet."""
    return _svg(_text([sentence], 0), _LINE + 6)


def told(artifact: Artifact) -> list[str]:
    """Return the verdict and the counts of a result, one a line, in words."""
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
