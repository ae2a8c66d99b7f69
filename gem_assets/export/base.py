"""What exporters share: the part of a recipe that a trainer can take, names, paths, small writers."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gem_assets.export.config import ExportConfig, Trainer
from gem_assets.export.documents import Corpus, Part
from gem_assets.export.ledger import Ledger
from gem_assets.export.report import ExportError, ExportReport, RecipeRefusedError
from gem_assets.export.tokens import TextTokenizer
from gem_assets.ordering.plan import RecipeLike, RunPlan, plan_run

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DATA = "data"

Written = TypeVar("Written")


class Exporter(Protocol):
    """Signature of every exporter.

    `documents` has doc_id, cluster and text, and n_tokens where there is no tokenizer; `out` is an existing empty
    folder; `tokenizer` is a `tokenizers` JSON file.
    """

    def __call__(
        self,
        recipe: RecipeLike,
        documents: Iterable[pa.RecordBatch],
        out: Path,
        tokenizer: Path | None,
        config: ExportConfig,
    ) -> ExportReport:
        """Write what the trainer reads, read it back, and report."""
        ...


@dataclass(frozen=True)
class Buckets:
    """What the folders of the clusters hold, as read back from their files.

    Attributes
    ----------
    documents, tokens
        (K,) documents and tokens.
    """

    documents: IntArray
    tokens: IntArray

    @property
    def tokens_per_document(self) -> FloatArray:
        """(K,) mean length."""
        return self.tokens / np.maximum(self.documents, 1)


def select_plan(recipe: RecipeLike, config: ExportConfig, trainer: Trainer, *, phases: bool) -> RunPlan:
    """Lay out the recipe, or the one phase that is asked for.

    Raises
    ------
    RecipeRefusedError
        If there are several phases and the trainer has one mixture per run.
    ExportError
        If the phase does not exist, or the trainer could not read paths below the root that is asked for.
    """
    require_root(trainer, config)
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
    if count > 1 and not phases:
        raise RecipeRefusedError(
            trainer,
            [
                f"it has one mixture per run and the recipe has {count} phases; export each with phase=0 to "
                f"phase={count - 1} and train them one after the other"
            ],
        )
    return plan


def require_sequences(trainer: Trainer, plan: RunPlan, length: int) -> None:
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


def require_filled(trainer: Trainer, plan: RunPlan, buckets: Buckets, length: int) -> None:
    """Refuse a recipe in which a cluster's text does not fill one sequence."""
    short = buckets.tokens < length
    if short.any():
        raise RecipeRefusedError(
            trainer,
            [
                f"clusters {plan.clusters[short].tolist()} hold {int(buckets.tokens[short].min())} tokens or little "
                f"more, less than one sequence of {length}; shorten the sequence or merge those clusters"
            ],
        )


def require_tokenizer(trainer: Trainer, path: Path | None, config: ExportConfig) -> TextTokenizer:
    """Load the tokenizer of a trainer that reads tokens."""
    if path is None:
        raise ExportError(
            f"{trainer} reads tokens; give the JSON file of a tokenizer, as the package tokenizers saves it: "
            "--tokenizer FILE"
        )
    return TextTokenizer(path, config.eos_token)


def optional_tokenizer(path: Path | None, config: ExportConfig) -> TextTokenizer | None:
    """Load the tokenizer, if there is one, to count tokens for a trainer that reads text."""
    return None if path is None else TextTokenizer(path, config.eos_token)


@contextmanager
def open_corpus(
    documents: Iterable[pa.RecordBatch],
    plan: RunPlan,
    config: ExportConfig,
    tokenizer: TextTokenizer | None,
    out: Path,
) -> Generator[Corpus]:
    """Give the documents with a scratch folder that goes away; what is read of them is listed in the ledger."""
    eos_id = tokenizer.eos_id if tokenizer is not None else None
    with closing(Ledger(out, eos_id)) as ledger, TemporaryDirectory(dir=out, prefix=".work-") as work:
        yield Corpus(documents, plan, config, tokenizer, Path(work), ledger)


def write_clusters(
    documents: Iterable[pa.RecordBatch],
    plan: RunPlan,
    config: ExportConfig,
    tokenizer: TextTokenizer | None,
    out: Path,
    write: Callable[[Path, Iterator[Part]], Written],
) -> tuple[list[Written], Counter[str]]:
    """Write the documents into one folder per cluster, ``data/<cluster>``.

    Parameters
    ----------
    write
        Writes the documents of one cluster into an existing empty folder.

    Returns
    -------
    What `write` gave for each cluster of the plan, and the documents left out by reason.

    Raises
    ------
    ExportError
        If a cluster with a share had no document.
    """
    written: dict[int, Written] = {}
    with open_corpus(documents, plan, config, tokenizer, out) as corpus:
        for index, parts in corpus.clusters():
            folder = out / DATA / cluster_name(int(plan.clusters[index]))
            folder.mkdir(parents=True)
            written[index] = write(folder, parts)
    require_documents(plan, list(written))
    return [written[index] for index in range(len(plan.clusters))], corpus.left_out


def require_documents(plan: RunPlan, seen: Sequence[int]) -> None:
    """Raise if a cluster with a share had no document."""
    missing = [int(c) for i, c in enumerate(plan.clusters) if i not in set(seen)]
    if missing:
        raise ExportError(
            f"clusters {missing} have a token share and no documents with text; land text for them or build the recipe "
            "again from the current inventory"
        )


def cluster_name(cluster: int) -> str:
    """Name of a cluster's data; no trainer takes it for a number."""
    return f"cluster_{cluster:05d}"


#: What a trainer's configuration takes apart or expands in a path, by trainer.
_NOT_IN_PATHS: dict[Trainer, tuple[str, str]] = {
    "megatron": (" \t", "the trainer splits this file at blanks"),
    "olmo-core": ("*?[]", "the trainer expands patterns in paths"),
    "levanter": ("*?[]{}#", "the trainer expands patterns in paths and reads them as addresses"),
    "hf-datasets": ("*?[]", "the trainer expands patterns in paths"),
    "nanotron": ("*?[]#", "the trainer expands patterns in paths and reads them as addresses"),
    "torchtitan": ("*?[]", "the trainer expands patterns in paths"),
}


def require_root(trainer: Trainer, config: ExportConfig) -> None:
    """Refuse a root that the trainer would not read back as it was written."""
    forbidden, reason = _NOT_IN_PATHS.get(trainer, ("", ""))
    found = [c for c in config.root if c in forbidden or not c.isprintable()]
    if found:
        shown = "a blank" if found[0] == " " else repr(found[0])
        why = reason if found[0] in forbidden else "control characters have no place in a path"
        raise ExportError(
            f"root {config.root!r} holds {shown}: {why}. Give a --root without it, or move the data there"
        )


def data_path(config: ExportConfig, *parts: str) -> str:
    """Path of a data file as the trainer's configuration names it."""
    path = "/".join((DATA, *parts))
    return f"{config.root.rstrip('/')}/{path}" if config.root else path


def local_path(config: ExportConfig, out: Path, written: str) -> Path:
    """Where a path of the trainer's configuration lies in the export folder."""
    prefix = f"{config.root.rstrip('/')}/" if config.root else ""
    return out / written.removeprefix(prefix)


def phase_samples(plan: RunPlan, config: ExportConfig) -> list[int]:
    """Sequences of each phase; phases start at whole optimiser steps."""
    step = config.sequence_length * config.batch_sequences
    ends = np.round(np.cumsum(plan.tokens.sum(axis=1)) / step).astype(np.int64)
    return [int(n) for n in np.diff(np.concatenate(([0], ends))) * config.batch_sequences]


def document_unit_shares(plan: RunPlan, buckets: Buckets) -> FloatArray:
    """(K,) token shares that follow when the recipe's token shares are taken as shares of documents."""
    tokens = plan.targets * buckets.tokens_per_document
    return tokens / tokens.sum()


def tokenizer_name(config: ExportConfig, path: Path | None) -> str:
    """Name of the tokenizer in the trainer's configuration."""
    return config.tokenizer_name or (str(path) if path is not None else "")
