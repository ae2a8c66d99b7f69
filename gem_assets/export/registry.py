"""Exporters by the name of their trainer, imported when asked for."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import cast

import pyarrow as pa

from gem_assets.export.base import ExportJob, Format
from gem_assets.export.config import TRAINERS, ExportConfig, Trainer
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.ordering.config import MetadataPrefix
from gem_assets.ordering.plan import RecipeLike


def format_of(trainer: str) -> Format:
    """Return what a trainer reads.

    Raises ExportError if there is none of that name.
    """
    if trainer not in TRAINERS:
        raise ExportError(f"no export for {trainer!r}; there is {', '.join(TRAINERS)}")
    return cast(Format, import_module(f"gem_assets.export.{trainer.replace('-', '_')}").FORMAT)


def export(
    trainer: str,
    recipe: RecipeLike,
    documents: Iterable[pa.RecordBatch],
    out: Path,
    tokenizer: Path | None = None,
    config: ExportConfig = ExportConfig(),  # noqa: B008 - frozen
    *,
    order: Path | None = None,
    prefix: MetadataPrefix | None = None,
) -> ExportReport:
    """Write a recipe for a trainer, read it back and report; see :class:`~gem_assets.export.base.ExportJob`.

    Raises
    ------
    RecipeRefusedError
        If the trainer cannot express the recipe.
    ExportError
        If the documents, the tokenizer or the trainer's name cannot be used.
    """
    form, name = format_of(trainer), cast(Trainer, trainer)
    return form.write(ExportJob.of(name, form, recipe, documents, out, tokenizer, config, order=order, prefix=prefix))
