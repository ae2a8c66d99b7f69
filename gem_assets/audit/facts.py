"""Every figure that the forms of an audit state, counted once from documents, recipe and manifests.

Tokens, bytes and shares count every repetition: they are what training reads, not what lies on the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.crawl import CrawlPeriod, crawl_period
from gem_assets.audit.domains import DomainShare, count_domains, listed, shares_of
from gem_assets.audit.origins import LanguageFacts, count_languages, documents_by_snapshot
from gem_assets.lineage.audit import AUDIT_NAME, DOCUMENTS_NAME, AuditReport
from gem_assets.lineage.walk import Lineage
from gem_assets.mixing.recipe import Recipe
from gem_assets.stages import LANDING, RAW_SHARDS, STUDENT_MODEL
from gem_assets.storage.manifest import Manifest
from gem_assets.takedown.request import BLOCKED_BY

FACTS_NAME = "facts.json"
SHOWN_DOMAINS = 50

Shards = Mapping[str, Sequence[Path]]


class ClusterShare(BaseModel):
    """One cluster as the training order shows it, beside what the recipe asks for."""

    model_config = ConfigDict(frozen=True)

    cluster: int
    name: str
    share: float
    target_share: float
    tokens: int
    documents: int
    epochs: float


class SnapshotFacts(BaseModel):
    """One ingested snapshot: what was landed, what happened to its records.

    ``read`` is the sum of the four counts after it. ``blocked`` is the part of ``filtered`` that the takedown list
    refuses. ``version`` is the digest of the landed content. ``used`` counts the documents that the mixture shows; None
    where the shards were not available.
    """

    model_config = ConfigDict(frozen=True)

    snapshot: str
    version: str
    files: int
    bytes: int
    read: int
    kept: int
    duplicates: int
    filtered: int
    quarantined: int
    blocked: int
    used: int | None = None


class DomainFacts(BaseModel):
    """The web addresses of a mixture; ``listed`` is how many domains a summary of training content names."""

    model_config = ConfigDict(frozen=True)

    domains: int
    listed: int
    listed_small_provider: int
    bytes_with_address: int
    largest: list[DomainShare]


class AuditFacts(BaseModel):
    """What the forms state; written as ``facts.json``.

    Attributes
    ----------
    order_identity, recipe_identity
        The training order that was accounted for, and the recipe's own identity.
    takedown_requests
        Entries of the takedown list that met a record of the snapshots.
    not_stated
        Keys of the statements that no person has made yet.
    """

    model_config = ConfigDict(frozen=True)

    strategy: str
    order_identity: str
    recipe_identity: str
    taxonomy_version: str
    tokenizer: str
    token_budget: int
    report: AuditReport
    clusters: list[ClusterShare]
    domains: DomainFacts
    crawl: CrawlPeriod
    languages: LanguageFacts
    snapshots: list[SnapshotFacts]
    takedown_requests: int
    near_duplicates_removed: bool
    quality_filters: list[str]
    labeller: str
    not_stated: list[str]

    @property
    def title(self) -> str:
        """Name of the mixture with the first digits of what names its content."""
        return f"{self.strategy} mixture {self.report.merkle_root[:12]}"

    def unlisted(self, column: str) -> float:
        """Part of the tokens whose value of ``lang``, ``source`` or ``license`` is beyond the largest groups."""
        listed_tokens = sum(group.tokens for group in self.report.composition[column])
        return 1 - listed_tokens / max(self.report.tokens, 1)

    @property
    def unused(self) -> list[str]:
        """Snapshots whose documents could have been drawn, and of which the mixture shows none."""
        return [snapshot.snapshot for snapshot in self.snapshots if snapshot.used == 0]

    @property
    def blocked(self) -> int:
        """Documents refused because of a takedown."""
        return sum(snapshot.blocked for snapshot in self.snapshots)


@dataclass(frozen=True)
class Account:
    """What the writers of the forms are handed.

    Attributes
    ----------
    domains
        All registrable domains, ``DOMAIN_SCHEMA``.
    folder
        The audit being written; ``documents.parquet`` and ``audit.json`` lie in it.
    """

    facts: AuditFacts
    lineage: Lineage
    recipe: Recipe
    config: AuditConfig
    domains: pa.Table
    folder: Path

    @property
    def order(self) -> Manifest:
        """Manifest of the training order."""
        return self.lineage.nodes[self.lineage.root].manifest

    @cached_property
    def manifests(self) -> list[Manifest]:
        """Every manifest of the lineage, inputs before what was made from them."""
        return [node.manifest for node in self.lineage.nodes.values()]


def gather(
    folder: Path, lineage: Lineage, recipe: Recipe, config: AuditConfig, shards: Shards | None = None
) -> Account:
    """Count what the forms state.

    Raises ValueError when the lineage has holes, or is not that of a training order; the message names the first fault.

    Parameters
    ----------
    folder
        Holds ``documents.parquet`` and ``audit.json`` of :func:`gem_assets.lineage.audit.publish_audit`.
    shards
        Parquet shards by snapshot, for the dates and for what is used of each.
    """
    if lineage.faults or lineage.root not in lineage.nodes:
        first = lineage.faults[0] if lineage.faults else "it has no root"
        raise ValueError(f"the lineage of the order is not whole ({first}); materialize what is missing again")
    report = AuditReport.model_validate_json((folder / AUDIT_NAME).read_bytes())
    domains = count_domains(folder / DOCUMENTS_NAME)
    order = lineage.nodes[lineage.root].manifest
    manifests = [node.manifest for node in lineage.nodes.values()]
    held = shards or {}
    used = documents_by_snapshot(folder / DOCUMENTS_NAME, held)
    corpus = [manifest for manifest in manifests if manifest.asset == RAW_SHARDS]
    facts = AuditFacts(
        strategy=recipe.strategy,
        order_identity=order.identity,
        recipe_identity=recipe.identity,
        taxonomy_version=recipe.taxonomy_version,
        tokenizer=recipe.tokenizer,
        token_budget=recipe.token_budget,
        report=report,
        clusters=_clusters(order, recipe),
        domains=DomainFacts(
            domains=domains.num_rows,
            listed=listed(domains.num_rows),
            listed_small_provider=listed(domains.num_rows, small_provider=True),
            bytes_with_address=sum(domains.column("bytes").to_pylist()),
            largest=shares_of(domains, report.n_bytes, SHOWN_DOMAINS),
        ),
        crawl=crawl_period(folder / DOCUMENTS_NAME, [path for paths in held.values() for path in paths], report.tokens),
        languages=count_languages(folder / DOCUMENTS_NAME),
        snapshots=[_snapshot(manifest, used.get(manifest.partition or "")) for manifest in corpus],
        takedown_requests=len({str(entry) for m in corpus for entry in _entries(m)}),
        near_duplicates_removed=any(_near(manifest) for manifest in corpus),
        quality_filters=sorted({name for m in corpus for name in _reasons(m) if name != "blocked"}),
        labeller=next((f"{m.key} {m.identity[:16]}" for m in manifests if m.asset == STUDENT_MODEL), "none"),
        not_stated=config.missing,
    )
    return Account(facts, lineage, recipe, config, domains, folder)


def _clusters(order: Manifest, recipe: Recipe) -> list[ClusterShare]:
    entries = {entry.cluster: entry for entry in recipe.entries}
    rows = cast("list[dict[str, Any]]", order.metrics.get("clusters") or [])
    found = [
        ClusterShare(
            cluster=int(row["cluster"]),
            name=entries[int(row["cluster"])].name if int(row["cluster"]) in entries else f"Cluster {row['cluster']}",
            share=float(row["share"]),
            target_share=entries[int(row["cluster"])].token_share if int(row["cluster"]) in entries else 0.0,
            tokens=int(row["tokens"]),
            documents=int(row["documents"]),
            epochs=float(row["epochs"]),
        )
        for row in rows
    ]
    return sorted(found, key=lambda c: (-c.share, c.cluster))


def _snapshot(manifest: Manifest, used: int | None) -> SnapshotFacts:
    landed = next((ref for ref in manifest.inputs if ref.asset == LANDING), None)
    counts = manifest.counts
    return SnapshotFacts(
        snapshot=manifest.partition or "",
        version=landed.data_version if landed is not None else "",
        files=len(landed.files) if landed is not None else 0,
        bytes=sum(file.bytes for file in landed.files) if landed is not None else 0,
        blocked=_reasons(manifest).get("blocked", 0),
        used=used,
        **{name: counts.get(name, 0) for name in ("read", "kept", "duplicates", "filtered", "quarantined")},
    )


def _reasons(manifest: Manifest) -> dict[str, int]:
    found = manifest.metrics.get("filtered_by_reason")
    return {str(name): int(cast("int", n)) for name, n in found.items()} if isinstance(found, dict) else {}


def _entries(manifest: Manifest) -> list[object]:
    """Entries of the takedown list that met a record of this snapshot."""
    found = manifest.metrics.get(BLOCKED_BY)
    return list(found) if isinstance(found, list) else []


def _near(manifest: Manifest) -> bool:
    near = manifest.config.get("near")
    return isinstance(near, dict) and bool(near.get("enabled", True))
