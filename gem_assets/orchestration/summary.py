"""The head of an asset's page: a picture of the result in force, with its verdict and its counts beside it.

Dagster cuts a description off after some 220 pixels and shows pictures in it at their own size. So this is one SVG of
that size, drawn on request.
"""

import textwrap
from pathlib import Path
from typing import Final

from gem_assets.orchestration.figures import VERDICT, name_of
from gem_assets.report.pages import render
from gem_assets.storage.artifacts import Artifact

_COLUMNS: Final = 40
_MOST_LINES: Final = 11


def summary_svg(artifact: Artifact, picture: Path | None) -> str:
    """Return an SVG of 780 by 210 pixels, which has text alone where there is no picture."""
    return render("summary.svg", picture=picture and picture.read_bytes(), lines=summary_lines(artifact))


def message_svg(sentence: str) -> str:
    """Return an SVG of one sentence, for an asset that has no result yet."""
    return render("summary.svg", picture=None, lines=[sentence])


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
