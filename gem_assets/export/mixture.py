"""Write a mixture of a data root for a trainer: its texts, under the labels that it was computed from.

Labels and texts are joined by document id in DuckDB, which spills; each text is read once. The folder appears when it
is whole: an export that is killed leaves none. Every export is put on record (``records``), wherever it is written.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb
import numpy as np
import pyarrow as pa

from gem_assets.corpus.text.tokens import tokenizer_name
from gem_assets.export.config import ExportConfig, Trainer
from gem_assets.export.records import ExportRecord, register
from gem_assets.export.registry import export, format_of
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.lineage.mixtures import LabelScan, Mixture, labelled_snapshots, orders_of, part_files
from gem_assets.ordering.config import OrderingConfig
from gem_assets.ordering.plan import EntryLike, PhaseLike, RecipeLike, RunPlan, plan_run
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.durable import locked_folder, make_dirs

#: The one trainer that reads an order; the others draw from each cluster by themselves.
READS_AN_ORDER: Trainer = "nanochat"

_DRAFT = ".export-"
_LABEL_COLUMNS = ("doc_id", "cluster")
_ROWS = 2048
_SHOWN_BIAS = 5


@dataclass(frozen=True)
class _Entry:
    cluster: int
    token_share: float
    cap: float


@dataclass(frozen=True)
class _Phase:
    fraction: float
    shares: Sequence[float]


@dataclass(frozen=True)
class _Run:
    """A run that is laid out already, as a recipe."""

    entries: Sequence[EntryLike]
    phases: Sequence[PhaseLike]
    token_budget: int


@dataclass(frozen=True)
class MixtureExport:
    """One export of a mixture.

    Attributes
    ----------
    order
        Training order that was written, for the trainer that reads one; None where documents are drawn by the trainer.
    not_expressed
        Options of the order that this trainer has no place for.
    notes
        Where token counts of the recipe and of the export are by different tokenizers, and what follows.
    """

    report: ExportReport
    folder: Path
    order: Artifact | None
    record: ExportRecord | None
    not_expressed: tuple[str, ...]
    notes: tuple[str, ...]


def export_mixture(
    store: ArtifactStore,
    mixture: Mixture,
    scan: LabelScan,
    trainer: str,
    out: Path,
    *,
    tokenizer: Path | None = None,
    config: ExportConfig = ExportConfig(),  # noqa: B008 - frozen
    ordering: OrderingConfig = OrderingConfig(),  # noqa: B008 - frozen
    use_order: bool = True,
) -> MixtureExport:
    """Write a mixture for a trainer, read the files back and report.

    Parameters
    ----------
    tokenizer
        `tokenizers` JSON file, for trainers that read tokens and to count tokens for the others.
    ordering
        Its final phase is exported too. Where a training order is written, that order's own options count.
    use_order
        Write the newest training order of this mixture where the trainer reads one; else draw a random one.

    Raises
    ------
    ExportError
        When the folder is not empty, a file cannot be used, or an input does not fit.
    RecipeRefusedError
        When the trainer cannot express the recipe.
    MixtureError
        When labels or documents of the mixture are gone.
    """
    format_of(trainer)  # an unknown trainer is refused before anything is read
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not an empty folder; remove it or name another one with --out")
    reads_order = trainer == READS_AN_ORDER
    orders = orders_of(store, mixture) if reads_order and use_order else []
    order = orders[-1] if orders else None
    options = OrderingConfig.model_validate(order.manifest.config) if order is not None else ordering
    recipe: RecipeLike = mixture.recipe
    if options.final_phase is not None:
        recipe = as_recipe(plan_run(recipe, options.final_phase))
    documents = mixture_documents(store, mixture, scan, memory_mb=config.memory_mb, threads=config.threads)
    make_dirs(out.parent)
    with locked_folder(out.parent, _DRAFT) as draft:
        filled = draft / "files"
        filled.mkdir()
        report = export(
            trainer,
            recipe,
            documents,
            filled,
            tokenizer,
            config,
            order=order.path if order is not None else None,
            prefix=options.metadata_prefix if order is not None else None,
        )
        bias = _share_bias(report) if order is not None and _counted_otherwise(mixture, tokenizer) else {}
        record = None
        if "://" not in store.root:
            record = register(
                Path(store.root), filled, out, trainer=trainer, mixture=mixture.artifact.manifest.asset,
                recipe=mixture.artifact.identity, order=order.identity if order is not None else None,
                tokenizer=tokenizer, share_bias=bias,
            )  # fmt: skip
        if out.exists():
            out.rmdir()
        filled.rename(out)
    notes = tuple(_counted(mixture, tokenizer, report, bias))
    return MixtureExport(report, out, order, record, tuple(_not_expressed(options, order)), notes)


def mixture_documents(
    store: ArtifactStore, mixture: Mixture, scan: LabelScan, *, memory_mb: int = 1024, threads: int = 2
) -> Iterator[pa.RecordBatch]:
    """Yield doc_id, cluster, text, n_tokens and url of every document of a mixture, snapshot by snapshot.

    A document that two snapshots keep comes once, from the first of them.
    """
    with duckdb.connect(config={"memory_limit": f"{memory_mb}MiB", "threads": threads}) as database:
        database.execute("SET enable_progress_bar = false")
        database.execute("CREATE TABLE labels (doc_id VARCHAR, cluster SMALLINT, snapshot VARCHAR)")
        schema = pa.schema([("doc_id", pa.string()), ("cluster", pa.int16())])
        snapshots = labelled_snapshots(store, mixture)
        for item in snapshots:
            batches = (batch.select(list(_LABEL_COLUMNS)).cast(schema) for batch in scan(item.labels, _LABEL_COLUMNS))
            database.register("incoming", pa.RecordBatchReader.from_batches(schema, batches))
            # names of snapshots hold no quotes (``check_partition``)
            database.execute(
                f"INSERT INTO labels SELECT doc_id, cluster, '{item.snapshot}' FROM incoming "  # noqa: S608
                "ANTI JOIN labels USING (doc_id)"
            )
            database.unregister("incoming")
        for item in snapshots:
            parts = [str(path) for path in part_files(item.shards)]
            if not parts:
                continue
            texts = database.read_parquet(parts)
            own = database.sql(f"SELECT doc_id, cluster FROM labels WHERE snapshot = '{item.snapshot}'")  # noqa: S608
            joined = texts.join(own, "doc_id").project("doc_id, cluster, text, n_tokens, url")
            yield from joined.to_arrow_reader(_ROWS)


def as_recipe(plan: RunPlan) -> RecipeLike:
    """Return a recipe that is spent exactly as a plan says."""
    total = plan.tokens.sum()
    shares = plan.targets / total
    per_phase = plan.tokens / plan.tokens.sum(axis=1, keepdims=True)
    run = _Run(
        entries=[
            _Entry(int(c), float(s), float(cap)) for c, s, cap in zip(plan.clusters, shares, plan.caps, strict=True)
        ],
        phases=[
            _Phase(float(f), [float(x) for x in row]) for f, row in zip(np.diff(plan.bounds), per_phase, strict=True)
        ],
        token_budget=round(float(total)),
    )
    return cast(RecipeLike, run)


def _not_expressed(options: OrderingConfig, order: Artifact | None) -> Iterator[str]:
    if order is not None:
        return
    if options.rehydrate is not None:
        yield "rehydration by duplicate count: documents of a cluster are drawn evenly"
    if options.metadata_prefix is not None:
        yield "metadata prefix: documents are written without it"


def _counted_otherwise(mixture: Mixture, tokenizer: Path | None) -> bool:
    if tokenizer is None:
        return False
    # the digest behind the @ tells; a file may have been renamed since
    return mixture.recipe.tokenizer.rpartition("@")[2] != tokenizer_name(tokenizer).rpartition("@")[2]


def _share_bias(report: ExportReport) -> dict[int, float]:
    used = (one for one in report.clusters if one.target_share > 0)
    return {one.cluster: one.implied_share / one.target_share - 1 for one in used}


def _counted(
    mixture: Mixture, tokenizer: Path | None, report: ExportReport, bias: Mapping[int, float]
) -> Iterator[str]:
    if tokenizer is None or not _counted_otherwise(mixture, tokenizer):
        return
    counted = mixture.recipe.tokenizer
    yield (
        f"the recipe's budget and epochs are counted with {counted!r}, this export with {tokenizer.name}; set "
        "corpus.tokenizer to it to have one count"
    )
    if not bias:
        return
    largest = sorted(bias.items(), key=lambda one: -abs(one[1]))[:_SHOWN_BIAS]
    shown = ", ".join(f"{mixture.cluster_names.get(c, f'cluster {c}')} {part:+.1%}" for c, part in largest)
    path = shlex.quote(str(tokenizer.absolute()))
    yield (
        f"the order was drawn by counts of {counted!r}, so its shares by {tokenizer.name} are off by cluster: {shown}. "
        f"To draw one by {tokenizer.name} for this export: gem export {mixture.name} --to {report.trainer} --tokenizer "
        f"{path} --no-order. To have the training order itself drawn by it: set tokenizer = "
        f"{json.dumps(str(tokenizer.absolute()))} under [corpus] in gem.toml; the daemon then makes everything "
        "from the shards on again"
    )
