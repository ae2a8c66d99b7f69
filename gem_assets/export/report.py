"""What an export reports about itself, counted from its own files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gem_assets.storage.identity import finite
from gem_assets.types import Floats

TOLERANCE = 0.005


class ExportError(ValueError):
    """An export that cannot be made from what was given; the message names it and the way out."""


class RecipeRefusedError(ExportError):
    """The trainer cannot express this recipe; the message says why and what would help."""

    def __init__(self, trainer: str, reasons: Sequence[str]) -> None:
        self.trainer, self.reasons = trainer, tuple(reasons)
        super().__init__(f"{trainer} cannot train this recipe: " + "; ".join(reasons))


@dataclass(frozen=True)
class ClusterExport:
    """One cluster as the trainer will see it.

    Attributes
    ----------
    weight
        Number written in the trainer's unit; of the first phase when there are several.
    target_share, implied_share
        Token share of the recipe, and the one that follows from the files.
    documents, tokens_available
        Documents and tokens in the files, end-of-document tokens included.
    epochs
        Tokens of the run over tokens available.
    exhausted_at
        Fraction of the run after which every document has been seen once and repeats begin; None if never.
    within_tolerance
        Whether implied tokens are within 0.5 % of the target or within one sequence; where documents are not cut,
        within half of the cluster's longest.
    """

    cluster: int
    weight: float
    target_share: float
    implied_share: float
    target_tokens: float
    implied_tokens: float
    documents: int
    tokens_available: int
    epochs: float
    exhausted_at: float | None
    within_tolerance: bool


@dataclass(frozen=True)
class ExportReport:
    """One export.

    Attributes
    ----------
    sequence_length, token_budget
        Tokens of a sequence and of the run.
    share_error
        Largest absolute difference between an implied and a target token share.
    naive_share_error
        The same if the recipe's token shares were written into the trainer's plainest configuration as they are; None
        if the trainer would stop instead.
    realised_share_error
        The same for the very draws that the trainer's seed gives, where it draws at random and the run is short enough
        to follow; otherwise None.
    notes
        What the trainer will do that the recipe does not say.
    left_out
        Documents not exported, by reason.
    files
        Paths below the folder, with their sizes in bytes.
    """

    trainer: str
    unit: str
    sequence_length: int
    token_budget: float
    clusters: tuple[ClusterExport, ...]
    share_error: float
    naive_share_error: float | None
    naive: str
    realised_share_error: float | None
    usage: str
    notes: tuple[str, ...]
    left_out: Mapping[str, int]
    files: Mapping[str, int]

    @property
    def within_tolerance(self) -> bool:
        """Whether every cluster is."""
        return all(c.within_tolerance for c in self.clusters)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"within_tolerance": self.within_tolerance}


def build_report(
    out: Path,
    *,
    trainer: str,
    unit: str,
    sequence_length: int,
    clusters: npt.NDArray[np.int64],
    weights: Floats,
    target_tokens: Floats,
    implied_tokens: Floats,
    documents: npt.NDArray[np.int64],
    tokens_available: npt.NDArray[np.int64],
    naive_shares: Floats | None,
    naive: str,
    usage: str,
    slack: float | Floats,
    realised_tokens: Floats | None = None,
    notes: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
) -> ExportReport:
    """Compare what the files imply with what was wanted, and write ``report.json`` beside them.

    Parameters
    ----------
    clusters, weights, target_tokens, implied_tokens, documents, tokens_available
        (K,) arrays, one value per cluster.
    naive_shares
        (K,) token shares of the plain export, or None if the trainer would refuse it.
    slack
        Tokens that a cluster may miss whatever its size, one for all or (K,).
    realised_tokens
        (K,) tokens by the trainer's own draws.
    """
    target = target_tokens / target_tokens.sum()
    implied = implied_tokens / implied_tokens.sum()
    epochs = implied_tokens / np.maximum(tokens_available, 1)
    # a run that is shorter or longer by a rounded step is not an error of the mixture, nor is a cluster that is right
    # where another, of long documents, is off by half a document
    missed = np.minimum(np.abs(implied * target_tokens.sum() - target_tokens), np.abs(implied_tokens - target_tokens))
    allowed = np.maximum(TOLERANCE * target_tokens, slack)
    report = ExportReport(
        trainer=trainer,
        unit=unit,
        sequence_length=sequence_length,
        token_budget=float(target_tokens.sum()),
        clusters=tuple(
            ClusterExport(
                cluster=int(clusters[i]),
                weight=float(weights[i]),
                target_share=float(target[i]),
                implied_share=float(implied[i]),
                target_tokens=float(target_tokens[i]),
                implied_tokens=float(implied_tokens[i]),
                documents=int(documents[i]),
                tokens_available=int(tokens_available[i]),
                epochs=float(epochs[i]),
                exhausted_at=float(1 / epochs[i]) if epochs[i] > 1 else None,
                within_tolerance=bool(missed[i] <= allowed[i]),
            )
            for i in range(len(clusters))
        ),
        share_error=float(np.abs(implied - target).max()),
        naive_share_error=None if naive_shares is None else float(np.abs(naive_shares - target).max()),
        naive=naive,
        realised_share_error=None
        if realised_tokens is None
        else float(np.abs(realised_tokens / realised_tokens.sum() - target).max()),
        usage=usage,
        notes=tuple(notes),
        left_out=dict(left_out or {}),
        files={str(p.relative_to(out)): p.stat().st_size for p in sorted(out.rglob("*")) if p.is_file()},
    )
    text = json.dumps(finite(report.as_dict()), indent=1, sort_keys=True, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    return report
