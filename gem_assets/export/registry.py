"""Exporters by the name of their trainer, imported when asked for."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import cast

import pyarrow as pa

from gem_assets.export.base import Exporter
from gem_assets.export.config import TRAINERS, ExportConfig
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.ordering.plan import RecipeLike


def exporter(trainer: str) -> Exporter:
    """Return the exporter of a trainer.

    Raises
    ------
    ExportError
        If there is none of that name.
    """
    if trainer not in TRAINERS:
        raise ExportError(f"no export for {trainer!r}; there is {', '.join(TRAINERS)}")
    return cast(Exporter, import_module(f"gem_assets.export.{trainer.replace('-', '_')}").export)


def export(
    trainer: str,
    recipe: RecipeLike,
    documents: Iterable[pa.RecordBatch],
    out: Path,
    tokenizer: Path | None = None,
    config: ExportConfig | None = None,
) -> ExportReport:
    """Write a recipe for a trainer, read it back and report; see :class:`gem_assets.export.base.Exporter`.

    Raises
    ------
    RecipeRefusedError
        If the trainer cannot express the recipe.
    ExportError
        If the documents, the tokenizer or the trainer's name cannot be used.
    """
    return exporter(trainer)(recipe, documents, out, tokenizer, config or ExportConfig())
