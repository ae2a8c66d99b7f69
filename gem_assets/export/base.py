"""What exporters share: the job that one export is, and the format that its trainer's module declares."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa

from gem_assets.export.config import ExportConfig, Trainer
from gem_assets.export.documents import Corpus, Part
from gem_assets.export.ledger import Ledger
from gem_assets.export.report import ExportError, ExportReport, RecipeRefusedError, build_report
from gem_assets.export.tokens import TextTokenizer
from gem_assets.ordering.config import MetadataPrefix
from gem_assets.ordering.plan import RecipeLike, RunPlan, plan_run
from gem_assets.types import Floats, Ints

DATA = "data"

Written = TypeVar("Written")


@dataclass(frozen=True)
class Buckets:
    """What the folders of the clusters hold, as read back from their files."""

    documents: Ints
    tokens: Ints

    @property
    def tokens_per_document(self) -> Floats:
        """(K,) mean length."""
        return self.tokens / np.maximum(self.documents, 1)


@dataclass(frozen=True)
class Format:
    """What a trainer reads; its module declares it as ``FORMAT``.

    Attributes
    ----------
    phases
        Whether the mixture may change in the course of a run.
    reads_tokens
        Whether the files hold tokens. Where they hold text, a tokenizer only counts.
    whole_sequences
        Whether the run takes whole sequences of each cluster, so that a cluster below half of one would vanish.
    not_in_paths
        Characters that the trainer does not take as they are in a path, and what it does with them.
    """

    write: Callable[["ExportJob"], ExportReport]
    unit: str
    phases: bool = False
    reads_tokens: bool = False
    whole_sequences: bool = True
    not_in_paths: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class ExportJob:
    """One export: what is written, in which format, and where.

    Attributes
    ----------
    plan
        The recipe laid out, or the one phase of it that is asked for.
    documents
        Batches with doc_id, cluster and text, and n_tokens where there is no tokenizer.
    tokenizer, tokenizer_name
        The tokenizer, None where a trainer of text goes by the documents' own counts, and its name in the trainer's
        configuration.
    order, prefix
        Folder of the training order to write, and the metadata line of its documents; for the trainer that reads one.
    left_out
        Documents not exported, by reason; complete once all have been read.
    """

    trainer: Trainer
    form: Format
    plan: RunPlan
    documents: Iterable[pa.RecordBatch]
    out: Path
    tokenizer: TextTokenizer | None
    tokenizer_name: str
    config: ExportConfig
    order: Path | None = None
    prefix: MetadataPrefix | None = None
    left_out: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        form: Format,
        recipe: RecipeLike,
        documents: Iterable[pa.RecordBatch],
        out: Path,
        tokenizer: Path | None,
        config: ExportConfig,
        *,
        order: Path | None = None,
        prefix: MetadataPrefix | None = None,
    ) -> Self:
        """Check that the trainer can take the recipe, and load the `tokenizers` JSON file.

        Raises
        ------
        RecipeRefusedError
            If there are several phases and the trainer has one mixture per run, or a cluster would vanish.
        ExportError
            If the phase does not exist, the trainer could not read paths below the root, or a tokenizer is missing.
        """
        _require_root(form, config)
        plan = _select_plan(trainer, form, recipe, config)
        if form.whole_sequences:
            _require_sequences(trainer, plan, config.sequence_length)
        if tokenizer is None and form.reads_tokens:
            raise ExportError(
                f"{trainer} reads tokens; give the JSON file of a tokenizer, as the package tokenizers saves it: "
                "--tokenizer FILE"
            )
        loaded = None if tokenizer is None else TextTokenizer(tokenizer, config.eos_token)
        name = config.tokenizer_name or str(tokenizer or "")
        return cls(trainer, form, plan, documents, out, loaded, name, config, order, prefix)

    @property
    def names(self) -> list[str]:
        """Names of the clusters' data, K of them; no trainer takes one for a number."""
        return [f"cluster_{cluster:05d}" for cluster in self.plan.clusters]

    @property
    def tokens(self) -> TextTokenizer:
        """The tokenizer of a trainer that reads tokens."""
        assert self.tokenizer is not None
        return self.tokenizer

    @contextmanager
    def open_corpus(self) -> Generator[Corpus]:
        """Give the documents with a scratch folder that goes away; what is read of them is listed in the ledger."""
        eos_id = self.tokenizer.eos_id if self.tokenizer is not None else None
        with (
            closing(Ledger(self.out, eos_id)) as ledger,
            TemporaryDirectory(dir=self.out, prefix=".work-") as work,
        ):
            yield Corpus(self.documents, self.plan, self.config, self.tokenizer, Path(work), ledger, self.left_out)

    def write_clusters(self, write: Callable[[Path, Iterator[Part]], Written]) -> list[Written]:
        """Write the documents into one folder per cluster, ``data/<cluster>``.

        ``write`` writes the documents of one cluster into an existing empty folder.

        Returns what ``write`` gave for each cluster of the plan.

        Raises ExportError if a cluster with a share had no document.
        """
        written: dict[int, Written] = {}
        with self.open_corpus() as corpus:
            for index, parts in corpus.clusters():
                folder = self.out / DATA / self.names[index]
                folder.mkdir(parents=True)
                written[index] = write(folder, parts)
        self.require_documents(list(written))
        return [written[index] for index in range(len(self.plan.clusters))]

    def require_documents(self, seen: Sequence[int]) -> None:
        """Raise if a cluster with a share had no document."""
        missing = [int(c) for i, c in enumerate(self.plan.clusters) if i not in set(seen)]
        if missing:
            raise ExportError(
                f"clusters {missing} have a token share and no documents with text; land text for them or build the "
                "recipe again from the current inventory"
            )

    def require_filled(self, buckets: Buckets, length: int) -> None:
        """Refuse a recipe in which a cluster's text does not fill one sequence."""
        short = buckets.tokens < length
        if short.any():
            raise self.refused(
                f"clusters {self.plan.clusters[short].tolist()} hold {int(buckets.tokens[short].min())} tokens or "
                f"little more, less than one sequence of {length}; shorten the sequence or merge those clusters"
            )

    def refused(self, reason: str) -> RecipeRefusedError:
        """Return the error that this trainer cannot express the recipe."""
        return RecipeRefusedError(self.trainer, [reason])

    def path(self, *parts: str) -> str:
        """Path of a data file as the trainer's configuration names it."""
        path = "/".join((DATA, *parts))
        return f"{self.config.root.rstrip('/')}/{path}" if self.config.root else path

    def paths(self, folder: Path, names: Iterable[str]) -> list[str]:
        """Paths of the files of a cluster's folder as the trainer's configuration names them."""
        return [self.path(folder.name, name) for name in names]

    def local_path(self, written: str) -> Path:
        """Where a path of the trainer's configuration lies in the export folder."""
        prefix = f"{self.config.root.rstrip('/')}/" if self.config.root else ""
        return self.out / written.removeprefix(prefix)

    def phase_samples(self) -> list[int]:
        """Sequences of each phase; phases start at whole optimiser steps."""
        step = self.config.sequence_length * self.config.batch_sequences
        ends = np.round(np.cumsum(self.plan.tokens.sum(axis=1)) / step).astype(np.int64)
        return [int(n) for n in np.diff(np.concatenate(([0], ends))) * self.config.batch_sequences]

    def document_unit_shares(self, buckets: Buckets) -> Floats:
        """(K,) token shares that follow when the recipe's token shares are taken as shares of documents."""
        tokens = self.plan.targets * buckets.tokens_per_document
        return tokens / tokens.sum()

    def report(
        self,
        buckets: Buckets,
        weights: Floats,
        implied_tokens: Floats,
        *,
        naive_shares: Floats | None,
        naive: str,
        usage: str,
        slack: float | Floats,
        realised_tokens: Floats | None = None,
        notes: Sequence[str] = (),
    ) -> ExportReport:
        """Compare what was read back with the plan; see :func:`~gem_assets.export.report.build_report`."""
        return build_report(
            self.out,
            trainer=self.trainer,
            unit=self.form.unit,
            sequence_length=self.config.sequence_length,
            clusters=self.plan.clusters,
            weights=weights,
            target_tokens=self.plan.targets,
            implied_tokens=implied_tokens,
            documents=buckets.documents,
            tokens_available=buckets.tokens,
            naive_shares=naive_shares,
            naive=naive,
            usage=usage,
            slack=slack,
            realised_tokens=realised_tokens,
            notes=notes,
            left_out=self.left_out,
        )


def _select_plan(trainer: Trainer, form: Format, recipe: RecipeLike, config: ExportConfig) -> RunPlan:
    """Lay out the recipe, or the one phase that is asked for."""
    plan = plan_run(recipe)
    count = len(plan.bounds) - 1
    if config.phase is not None:
        if config.phase >= count:
            raise ExportError(f"phase {config.phase} of a recipe with {count} phases; they count from 0")
        tokens = plan.tokens[config.phase]
        used = tokens > 0
        return RunPlan(
            clusters=plan.clusters[used],
            bounds=np.array([0.0, 1.0]),
            tokens=tokens[None, used],
            caps=plan.caps[used],
        )
    if count > 1 and not form.phases:
        raise RecipeRefusedError(
            trainer,
            [
                f"it has one mixture per run and the recipe has {count} phases; export each with phase=0 to "
                f"phase={count - 1} and train them one after the other"
            ],
        )
    return plan


def _require_sequences(trainer: Trainer, plan: RunPlan, length: int) -> None:
    """Refuse a recipe in which a cluster's part of a phase rounds to no sequence at all."""
    reasons: list[str] = []
    for phase, tokens in enumerate(plan.tokens):
        lost = (tokens > 0) & (tokens < length / 2)
        if lost.any():
            reasons.append(
                f"clusters {plan.clusters[lost].tolist()} get {tokens[lost].min():.0f} tokens or little more in phase "
                f"{phase}, less than half a sequence of {length}, and would vanish"
            )
    if reasons:
        raise RecipeRefusedError(
            trainer, [*reasons, "shorten the sequence, raise the token budget or merge those clusters"]
        )


def _require_root(form: Format, config: ExportConfig) -> None:
    """Refuse a root that the trainer would not read back as it was written."""
    forbidden, reason = form.not_in_paths
    found = [c for c in config.root if c in forbidden or not c.isprintable()]
    if found:
        shown = "a blank" if found[0] == " " else repr(found[0])
        why = reason if found[0] in forbidden else "control characters have no place in a path"
        raise ExportError(
            f"root {config.root!r} holds {shown}: {why}. Give a --root without it, or move the data there"
        )
