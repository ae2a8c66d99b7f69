"""The one form in which a mixture leaves the library.

A recipe says how a token budget is spent over the clusters of one taxonomy version, and carries what is
needed to check and to convert it: the tokens and documents there were, the repetition cap and the epochs the
shares imply, phases, tokenizer, and the evidence behind the shares. It is frozen, its invariants are checked
whenever one is made or read, and its identity is the digest of its content, so a file edited by hand is
noticed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gem_assets.frozen import Frozen
from gem_assets.mixing.caps import check_shares
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.storage.identity import canonical_json, digest

RECIPE_NAME = "recipe.json"
SUM_TOLERANCE = 1e-9
CAP_TOLERANCE = 1e-6

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def exact_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Scale shares that sum to 1 within ``SUM_TOLERANCE`` so that ``math.fsum`` gives exactly 1.

    Idempotent, so that a recipe read back has the same bytes.

    Raises ValueError if a share is negative or not finite, or the sum is off by more than the tolerance.
    """
    check_shares(np.asarray(shares, np.float64), "token shares")
    total = math.fsum(shares)
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"token shares sum to {total!r}, not to 1 within {SUM_TOLERANCE}; normalise them first")
    if total == 1.0:
        return tuple(shares)
    scaled = [s / total for s in shares]
    largest = max(range(len(scaled)), key=scaled.__getitem__)
    for _ in range(8):
        rest = 1.0 - math.fsum(scaled)
        if rest == 0.0:
            break
        scaled[largest] += rest
    return tuple(scaled)


class RecipeEntry(Frozen):
    """One cluster's part of a mixture."""

    cluster: Annotated[int, Field(ge=0)]
    name: str
    token_share: Share
    tokens_available: Annotated[int, Field(ge=0)]
    docs: Annotated[int, Field(ge=0)]
    tokens_per_doc: Positive
    cap: Annotated[float, Field(gt=0, allow_inf_nan=False, description="most epochs allowed")]
    implied_epochs: Annotated[Positive, Field(description="epochs that share and budget imply")]


class RecipePhase(Frozen):
    """A stretch of training with constant shares, in the order of the recipe's entries."""

    fraction: Annotated[float, Field(gt=0, le=1, description="part of the token budget")]
    shares: tuple[Share, ...]

    @field_validator("shares")
    @classmethod
    def _exact(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        return exact_shares(shares)


class RecipeEvidence(Frozen):
    """Why these shares: the law and the runs behind a learned mixture."""

    method: str
    swarm_digest: str | None = None
    n_runs: Annotated[int | None, Field(ge=0)] = None
    target: str | None = None
    law: str | None = None
    cv_spearman: Annotated[float | None, Field(ge=-1, le=1)] = None
    predicted_loss: float | None = None
    predicted_interval: tuple[float, float] | None = None
    predicted_loss_proportional: float | None = None
    predicted_loss_uniform: float | None = None
    predicted_gain_interval: Annotated[
        tuple[float, float] | None,
        Field(
            exclude_if=lambda value: value is None,
            description="of the loss less that of proportional, paired: by the same laws, runs or counts",
        ),
    ] = None
    kl_to_prior: Annotated[float | None, Field(ge=0)] = None
    verdict: str | None = None
    notes: tuple[str, ...] = ()
    carried_from: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{64}$",
            # absent unless carried, so that recipes keep the identities that they had without it
            exclude_if=lambda value: value is None,
            description="identity of the recipe over other clusters whose shares and evidence were carried over",
        ),
    ] = None


class Recipe(BaseModel):
    """A checked training mixture over the clusters of one taxonomy version.

    Build one with :meth:`create`; the constructor is for reading and checks every derived figure again.

    Attributes
    ----------
    entries
        Ordered by cluster id. ``token_share`` is the average over the phases and sums to 1.
    phases
        ``fraction`` sums to 1; one phase unless the mixture changes during training.
    token_budget
        Tokens trained on, counted with ``tokenizer``.
    identity
        sha256 of the canonical JSON of everything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    strategy: Annotated[str, Field(min_length=1)]
    taxonomy_version: Annotated[str, Field(min_length=1)]
    token_budget: Annotated[int, Field(gt=0)]
    tokenizer: Annotated[str, Field(min_length=1)]
    entries: Annotated[tuple[RecipeEntry, ...], Field(min_length=1)]
    phases: Annotated[tuple[RecipePhase, ...], Field(min_length=1)]
    evidence: RecipeEvidence | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def create(
        cls,
        strategy: str,
        shares: NDArray[np.float64] | Sequence[float],
        supply: ClusterSupply,
        *,
        names: Mapping[int, str],
        taxonomy_version: str,
        tokenizer: str,
        repetition_cap: float,
        token_budget: int | None = None,
        phases: Sequence[tuple[float, Sequence[float]]] | None = None,
        evidence: RecipeEvidence | None = None,
        seed: int = 0,
    ) -> Self:
        """Make a recipe from token shares; every derived figure is computed here.

        Raises ValueError if shares, phases or epochs break an invariant; the message names cluster, value and cap.

        Parameters
        ----------
        shares
            Token shares in the order of ``supply.clusters``, sum 1 within 1e-9. With ``phases`` they must be
            the average of the phases.
        token_budget
            ``None`` spends every available token once.
        phases
            Pairs ``(fraction of the budget, shares)``.
        """
        budget = supply.total_tokens if token_budget is None else token_budget
        if budget <= 0:
            raise ValueError(
                "the inventory holds no tokens and no token_budget is set; land and label a snapshot first"
            )
        exact = exact_shares([float(s) for s in shares])
        if len(exact) != len(supply.clusters):
            raise ValueError(f"{len(exact)} shares for {len(supply.clusters)} clusters")
        per_doc = supply.tokens_per_doc
        entries = tuple(
            RecipeEntry(
                cluster=int(cluster),
                name=names.get(int(cluster), f"Cluster {cluster}"),
                token_share=share,
                tokens_available=int(tokens),
                docs=int(docs),
                tokens_per_doc=float(length),
                cap=repetition_cap,
                implied_epochs=_epochs(share, budget, int(tokens), int(cluster)),
            )
            for cluster, share, tokens, docs, length in zip(
                supply.clusters, exact, supply.tokens, supply.docs, per_doc, strict=True
            )
        )
        spans = phases if phases is not None else [(1.0, exact)]
        content: dict[str, Any] = {
            "format": 1,
            "strategy": strategy,
            "taxonomy_version": taxonomy_version,
            "token_budget": budget,
            "tokenizer": tokenizer,
            "entries": [entry.model_dump(mode="json") for entry in entries],
            "phases": [RecipePhase(fraction=f, shares=tuple(map(float, s))).model_dump(mode="json") for f, s in spans],
            "evidence": evidence.model_dump(mode="json") if evidence is not None else None,
            "seed": seed,
        }
        return cls.model_validate(content | {"identity": digest(content)})

    @field_validator("entries")
    @classmethod
    def _exact_entries(cls, entries: tuple[RecipeEntry, ...]) -> tuple[RecipeEntry, ...]:
        ids = [e.cluster for e in entries]
        if ids != sorted(set(ids)):
            raise ValueError("recipe entries must name each cluster once, in ascending order")
        shares = exact_shares([e.token_share for e in entries])
        return tuple(
            e if e.token_share == s else e.model_copy(update={"token_share": s})
            for e, s in zip(entries, shares, strict=True)
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for entry in self.entries:
            epochs = _epochs(entry.token_share, self.token_budget, entry.tokens_available, entry.cluster)
            if not math.isclose(epochs, entry.implied_epochs, rel_tol=1e-6, abs_tol=1e-12):
                raise ValueError(
                    f"cluster {entry.cluster} ({entry.name}) states {entry.implied_epochs} epochs, its share "
                    "and the "
                    f"budget give {epochs}; build the recipe again"
                )
            if epochs > entry.cap * (1 + CAP_TOLERANCE):
                raise ValueError(
                    f"cluster {entry.cluster} ({entry.name}) would be seen {epochs:.4g} times, its cap is "
                    f"{entry.cap:.4g}; "
                    "lower its share or the token budget, or raise repetition_cap"
                )
        fractions = math.fsum(p.fraction for p in self.phases)
        if abs(fractions - 1.0) > SUM_TOLERANCE:
            raise ValueError(f"the phases cover {fractions!r} of the budget, not all of it")
        for number, phase in enumerate(self.phases):
            if len(phase.shares) != len(self.entries):
                raise ValueError(f"phase {number} has {len(phase.shares)} shares for {len(self.entries)} clusters")
        for position, entry in enumerate(self.entries):
            average = math.fsum(p.fraction * p.shares[position] for p in self.phases)
            if abs(average - entry.token_share) > 1e-8:
                raise ValueError(
                    f"cluster {entry.cluster} ({entry.name}) has share {entry.token_share}, its phases "
                    f"average {average}"
                )
        if self.identity != digest(self.model_dump(mode="json", exclude={"identity"})):
            raise ValueError(
                f"the recipe's content does not match its identity {self.identity[:12]}…; it was edited "
                "after it was "
                "made. Build it again instead"
            )
        return self

    @property
    def shares(self) -> NDArray[np.float64]:
        """Token shares in the order of the entries, float64 ``(K,)``."""
        return np.array([e.token_share for e in self.entries])

    def entry(self, cluster: int) -> RecipeEntry:
        """Return the entry of one cluster; ``KeyError`` if the recipe does not know it."""
        for entry in self.entries:
            if entry.cluster == cluster:
                return entry
        raise KeyError(f"recipe {self.strategy} has no cluster {cluster}")

    def to_table(self) -> pa.Table:
        """One row per cluster, with the tokens that training will read from it."""
        rows = [e.model_dump() | {"tokens_planned": e.token_share * self.token_budget} for e in self.entries]
        return pa.Table.from_pylist(rows, schema=RECIPE_TABLE_SCHEMA)

    def diff(self, other: "Recipe") -> "RecipeDiff":
        """Compare with a newer recipe; clusters that one of the two lacks count with share 0."""
        before = {e.cluster: e for e in self.entries}
        after = {e.cluster: e for e in other.entries}
        rows: list[dict[str, Any]] = []
        for cluster in sorted(before.keys() | after.keys()):
            old, new = before.get(cluster), after.get(cluster)
            known = new if new is not None else old
            old_share, new_share = (e.token_share if e else 0.0 for e in (old, new))
            rows.append(
                {
                    "cluster": cluster,
                    "name": known.name if known else "",
                    "share_before": old_share,
                    "share_after": new_share,
                    "change": new_share - old_share,
                    "epochs_before": old.implied_epochs if old else 0.0,
                    "epochs_after": new.implied_epochs if new else 0.0,
                }
            )
        table = pa.Table.from_pylist(rows)
        return RecipeDiff(
            table=table,
            total_variation=0.5 * math.fsum(abs(r["change"]) for r in rows),
            same_taxonomy=self.taxonomy_version == other.taxonomy_version,
        )

    def write(self, path: Path) -> None:
        """Write the recipe as JSON; the same recipe gives the same bytes."""
        path.write_text(canonical_json(self, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe and check every invariant again; the error names the file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not a valid recipe: {error}") from error


@dataclass(frozen=True)
class RecipeDiff:
    """What changed between two recipes.

    Attributes
    ----------
    total_variation
        Half the sum of absolute share changes: the part of the token budget that moved.
    same_taxonomy
        Whether cluster ids mean the same in both.
    """

    table: pa.Table
    total_variation: float
    same_taxonomy: bool


RECIPE_TABLE_SCHEMA = pa.schema(
    [
        ("cluster", pa.int16()),
        ("name", pa.string()),
        ("token_share", pa.float64()),
        ("tokens_planned", pa.float64()),
        ("tokens_available", pa.int64()),
        ("docs", pa.int64()),
        ("tokens_per_doc", pa.float64()),
        ("cap", pa.float64()),
        ("implied_epochs", pa.float64()),
    ]
)


def _epochs(share: float, budget: float, tokens: int, cluster: int) -> float:
    if share == 0.0:
        return 0.0
    if tokens == 0:
        raise ValueError(
            f"cluster {cluster} is given share {share:.4g} but has no text; set its share to 0 or land text for it"
        )
    return share * budget / tokens
