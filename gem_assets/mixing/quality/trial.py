"""The answer of a search over choices of documents, put to the test.

Three arms, each trained over seeds that the search did not use: all documents in their natural shares, the documents
that were chosen, and the shares of that choice with all documents. The last is what a recipe can carry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gem_assets.mixing.online.simplex import as_weights
from gem_assets.mixing.quality.documents import ScoredDocuments
from gem_assets.mixing.quality.proxies import SelectionJob
from gem_assets.mixing.quality.selection import draw_copies
from gem_assets.proxy.pool import EvaluationSet
from gem_assets.types import Floats

#: Seeds that each arm is trained with.
CHECKS = 3
NATURAL, CHOSEN, SHARES = "all documents, natural shares", "chosen documents", "its shares alone"


@dataclass(frozen=True)
class SelectionTrainer:
    """Where a search gets its losses.

    Attributes
    ----------
    train
        Losses ``(m, J)`` of proxies on chosen documents.
    importance : float64 array, shape (J,)
        Weight of each target, sum 1.
    target
        Names of those that count, for the evidence.
    """

    train: Callable[[Sequence[SelectionJob]], Floats]
    importance: Floats
    target: str

    @classmethod
    def of(
        cls, train: Callable[[Sequence[SelectionJob]], Floats], prepared: Path, importance: Mapping[str, float]
    ) -> "SelectionTrainer":
        """Weigh the targets of a prepared folder; those that are not named count nothing."""
        names = EvaluationSet.load(prepared).names
        wanted = [name for name in names if importance.get(name, 0.0) > 0]
        return cls(train, as_weights(np.array([importance.get(name, 0.0) for name in names])), ", ".join(wanted))

    def losses(self, jobs: Sequence[SelectionJob]) -> Floats:
        """Weighted mean loss of each, ``(m,)``."""
        return self.train(jobs) @ self.importance


def selection_job(label: str, weights: Floats, documents: ScoredDocuments, seed: int) -> SelectionJob:
    """Draw the copies of a choice; a cluster of which nothing was drawn gets no share."""
    copies = draw_copies(weights, seed)
    drawn = np.bincount(documents.clusters, copies, minlength=documents.domains) > 0
    shares = np.where(drawn, documents.shares(weights), 0.0)
    if not shares.sum() > 0:
        # a rule that keeps next to nothing: its expected shares, with all documents
        return SelectionJob.of(label, None, documents.shares(weights), seed)
    return SelectionJob.of(label, documents.over_prepared(copies), shares / shares.sum(), seed)


def train_arms(
    documents: ScoredDocuments,
    weights: Floats,
    shares: Floats,
    natural: Floats,
    trainer: SelectionTrainer,
    seed: int,
) -> dict[str, Floats]:
    """Train the three arms.

    Returns the loss of each arm over the seeds, ``(CHECKS,)``.

    Parameters
    ----------
    weights
        How often each document is taken on average, ``(n,)``.
    shares, natural
        Of the answer and of the inventory, ``(domains,)``.
    seed
        Of the search; the arms take the ones after it.
    """
    held = np.bincount(documents.clusters, minlength=documents.domains) > 0
    natural = np.where(held, natural, 0.0)
    seeds = range(seed + 1, seed + 1 + CHECKS)
    jobs = [
        *(SelectionJob.of(NATURAL, None, natural / natural.sum(), s) for s in seeds),
        *(selection_job(CHOSEN, weights, documents, s) for s in seeds),
        *(SelectionJob.of(SHARES, None, shares / shares.sum(), s) for s in seeds),
    ]
    losses = trainer.losses(jobs).reshape(3, CHECKS)
    return dict(zip((NATURAL, CHOSEN, SHARES), losses, strict=True))


def arms_verdict(arms: Mapping[str, Floats]) -> str:
    """Judge by the shares: supported is what beats the natural shares in every seed with all documents."""
    gains = {name: arms[name] - arms[NATURAL] for name in (CHOSEN, SHARES)}
    told = ", ".join(f"{name} {g.mean():+.4f} nats, better in {(g < 0).sum()} of {CHECKS}" for name, g in gains.items())
    if (gains[SHARES] < 0).all():
        return f"supported by the proxies ({told})"
    if (gains[CHOSEN] < 0).all():
        return f"not supported as a mixture, as a choice of documents it is ({told})"
    return f"not supported ({told})"


def arm_rows(arms: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """One row per arm: mean loss, and that of each seed."""
    return [
        {"arm": name, "mean_loss": float(losses.mean()), **{f"seed_{i}": float(x) for i, x in enumerate(losses, 1)}}
        for name, losses in arms.items()
    ]
