"""What the corpus is made of, as the home page, the list of clusters and the history show it."""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.recrawls import describe_recrawls
from gem_assets.explorer.errors import NothingYetError, UnknownError
from gem_assets.mixing.current_recipes import Gathered, NoRecipesError, gather_recipes
from gem_assets.mixing.inventory import INVENTORY_NAME
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.report.tables import effective_number
from gem_assets.stages import (
    CONFIRMATIONS,
    DOMAIN_INVENTORY,
    DRIFT,
    GIS_TAXONOMY,
    ORDERS,
    PAGE_HISTORY,
    RAW_SHARDS,
    RECIPES,
    TEACHER_CLUSTERS,
)
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.takedown.blocklist import blocklist_of
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

_TOLD: Final = (RAW_SHARDS, TEACHER_CLUSTERS, GIS_TAXONOMY, f"{RECIPES}/", f"{CONFIRMATIONS}/", f"{ORDERS}/")
"""Assets whose versions the history lists."""


@dataclass(frozen=True)
class Overview:
    """Taxonomy, inventory and recipes of one moment; nothing is read again.

    Attributes
    ----------
    taxonomy, inventory
        None where they have not been made.
    """

    store: ArtifactStore
    taxonomy: Artifact | None
    inventory: Artifact | None

    @classmethod
    def of(cls, store: ArtifactStore) -> "Overview":
        """Take what is in force now."""
        return cls(store, store.current(GIS_TAXONOMY), store.current(DOMAIN_INVENTORY))

    @cached_property
    def named(self) -> Taxonomy:
        """The taxonomy.

        Raises
        ------
        NothingYetError
            When there is none.
        """
        if self.taxonomy is None:
            raise NothingYetError("there are no clusters yet. Land files with gem land, then: gem run")
        return Taxonomy.read(self.taxonomy.path / TAXONOMY_NAME)

    @cached_property
    def table(self) -> pa.Table:
        """Documents, tokens and bytes per cluster, snapshot and language; see :mod:`gem_assets.mixing.supply`.

        Raises
        ------
        NothingYetError
            When nothing has been counted.
        """
        if self.inventory is None:
            raise NothingYetError("no document has been counted yet. Make the inventory with: gem run")
        return pq.read_table(self.inventory.path / INVENTORY_NAME)

    @cached_property
    def supply(self) -> ClusterSupply:
        """What there is of each cluster."""
        return ClusterSupply.from_inventory(self.table, len(self.named.clusters))

    @cached_property
    def gathered(self) -> Gathered | None:
        """The recipes in force; None where there is none."""
        try:
            return gather_recipes(self.store)
        except NoRecipesError:
            return None

    @property
    def shares(self) -> dict[str, list[float]]:
        """Token shares of the natural mixture and of every recipe in force, by strategy."""
        recipes = self.gathered.recipes if self.gathered is not None else ()
        return {"natural": self.supply.token_shares.tolist()} | {r.strategy: r.shares.tolist() for r in recipes}

    def home(self) -> dict[str, Any]:
        """How big the corpus is, what it is made of, and which mixture is recommended and why."""
        supply, table = self.supply, self.table
        comparison = self.gathered.comparison if self.gathered is not None else None
        return {
            "documents": int(supply.docs.sum()),
            "tokens": supply.total_tokens,
            "bytes": int(supply.n_bytes.sum()),
            "clusters": self.clusters(),
            "effective_clusters": effective_number(supply.token_shares),
            "snapshots": _sums(table, "snapshot"),
            "languages": _sums(table, "lang"),
            "recommended": comparison.recommended if comparison is not None else None,
            "reason": comparison.reason if comparison is not None else "",
            "recipes": list(comparison.rows) if comparison is not None else [],
            "shares": self.shares,
        }

    def clusters(self) -> list[dict[str, Any]]:
        """One row per cluster, by id: name, parent, keywords, and what there is of it."""
        hierarchy = self.named.hierarchy
        parents = {k: parent for parent in (hierarchy.parents if hierarchy else ()) for k in parent.clusters}
        supply = self.supply
        return [
            {
                "id": cluster.id,
                "domain": cluster.domain,
                "name": cluster.name,
                "parent": parents[cluster.id].name if cluster.id in parents else "",
                "parent_id": parents[cluster.id].id if cluster.id in parents else -1,
                "keywords": list(cluster.keywords),
                "documents": int(supply.docs[cluster.id]),
                "tokens": int(supply.tokens[cluster.id]),
                "bytes": int(supply.n_bytes[cluster.id]),
                "token_share": float(supply.token_shares[cluster.id]),
            }
            for cluster in self.named.clusters
        ]

    def cluster(self, domain: int, hidden: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Everything on one cluster, without the exemplars that are ``hidden``.

        Raises
        ------
        UnknownError
            When no cluster has this domain id.
        """
        found = next((c for c in self.named.clusters if c.domain == domain), None)
        if found is None:
            ids = ", ".join(str(c.domain) for c in self.named.clusters)
            raise UnknownError(f"there is no cluster {domain}; the clusters are {ids}")
        row = self.clusters()[found.id]
        names = {c.id: (c.domain, c.name) for c in self.named.clusters}
        own = self.table.filter(pc.field("cluster") == found.id)
        recipes = self.gathered.recipes if self.gathered is not None else ()
        return {
            **row,
            "description": found.description,
            "coherence": found.coherence,
            "kappa": found.kappa,
            "named_by": found.named_by,
            "exemplars": [e.model_dump(mode="json") for e in found.exemplars if e.doc_id not in hidden],
            "neighbours": [
                {"domain": names[n.cluster][0], "name": names[n.cluster][1], "cosine": n.cosine}
                for n in found.neighbours
            ],
            "snapshots": self._over_snapshots(found.id),
            "languages": _sums(own, "lang"),
            "recipes": [
                {
                    "recipe": recipe.strategy,
                    "share": recipe.entry(found.id).token_share,
                    "epochs": recipe.entry(found.id).implied_epochs,
                }
                for recipe in recipes
            ],
        }

    def _over_snapshots(self, cluster: int) -> list[dict[str, Any]]:
        """Documents and tokens of a cluster in each snapshot, and its share of the snapshot's tokens."""
        totals = {row["value"]: row["tokens"] for row in _sums(self.table, "snapshot")}
        own = {
            row["value"]: row
            for row in _sums(self.table.filter(pc.field("cluster") == cluster), "snapshot")
        }  # fmt: skip
        nothing = {"documents": 0, "tokens": 0}
        return [
            {
                "value": name,
                "documents": own.get(name, nothing)["documents"],
                "tokens": own.get(name, nothing)["tokens"],
                "share": own.get(name, nothing)["tokens"] / total if total else 0.0,
            }
            for name, total in sorted(totals.items())
        ]

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """Compare two snapshots: tokens by cluster and by language, and what became of the pages.

        Raises
        ------
        UnknownError
            When a snapshot has not been counted; names those that have.
        """
        known = sorted({row["value"] for row in _sums(self.table, "snapshot")})
        for name in (before, after):
            if name not in known:
                raise UnknownError(f"there is no snapshot {name!r} in the inventory; it counts {', '.join(known)}")
        sides = [self.table.filter(pc.field("snapshot") == name) for name in (before, after)]
        totals = [max(1, pc.sum(side.column("n_tokens")).as_py() or 0) for side in sides]
        rows = {row["id"]: row for row in self.clusters()}

        def shares(by: str) -> list[dict[str, Any]]:
            found = [{row["value"]: row for row in _sums(side, by)} for side in sides]
            told = [
                {
                    "value": value,
                    **{
                        f"{what}_{side}": own.get(value, {}).get(what, 0)
                        for side, own in zip(("before", "after"), found, strict=True)
                        for what in ("documents", "tokens")
                    },
                }
                for value in dict.fromkeys([*found[0], *found[1]])
            ]
            for row in told:
                row["share_before"], row["share_after"] = (
                    row[f"tokens_{side}"] / total for side, total in zip(("before", "after"), totals, strict=True)
                )
            return sorted(told, key=lambda row: -abs(row["share_after"] - row["share_before"]))

        clusters = [
            {**row, "name": rows[c]["name"], "domain": rows[c]["domain"]}
            for row in shares("cluster")
            if (c := row["value"]) in rows
        ]
        pages = self.store.current(PAGE_HISTORY)
        return {
            "before": before,
            "after": after,
            "tokens": totals,
            "documents": [int(pc.sum(side.column("n_docs")).as_py() or 0) for side in sides],
            "total_variation": sum(abs(row["share_after"] - row["share_before"]) for row in clusters) / 2,
            "clusters": clusters,
            "languages": shares("lang"),
            "pages": [row for row in describe_recrawls(pages.path) if row["snapshot"] in known] if pages else [],
        }

    def history(self) -> dict[str, Any]:
        """Snapshots, versions of what was made, the last refit and the takedowns, oldest first."""
        refit = self.named.refit if self.taxonomy is not None else None
        blocked = blocklist_of(self.store.root)
        return {
            "snapshots": [
                {"name": name, **{key: found.manifest.counts.get(key, 0) for key in ("read", "kept", "tokens")}}
                for name, found in sorted(self.store.snapshots(RAW_SHARDS).items())
            ],
            "versions": sorted(self._versions(), key=lambda row: (row["made"], row["asset"])),
            "refit": refit.model_dump(mode="json") if refit is not None else None,
            "takedowns": [
                {
                    "id": one.id,
                    "at": one.at.isoformat(),
                    "reason": one.reason,
                    "entries": len(one.entries),
                    "documents": len(one.documents),
                }
                for one in (blocked.requests() if blocked is not None else ())
            ],
            "drift": self._drift(),
        }

    def _versions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for asset in self.store.assets():
            if not asset.startswith(_TOLD):
                continue
            for partition in self.store.places(asset):
                entry = self.store.pointer(asset, partition)
                found += [
                    {
                        "asset": asset,
                        "snapshot": partition,
                        "identity": artifact.identity,
                        "made": _made(artifact.path),
                        "in_force": entry is not None and entry.identity == artifact.identity,
                        "counts": dict(artifact.manifest.counts),
                    }
                    for artifact in self.store.history(asset, partition)
                ]
        return found

    def _drift(self) -> dict[str, Any]:
        found = self.store.current(DRIFT)
        return dict(found.manifest.metrics) if found is not None else {}


def _sums(table: pa.Table, by: str) -> list[dict[str, Any]]:
    """Documents and tokens by the values of a column of the inventory, most tokens first."""
    grouped = table.group_by(by).aggregate([("n_docs", "sum"), ("n_tokens", "sum")])
    rows = [
        {"value": row[by], "documents": row["n_docs_sum"], "tokens": row["n_tokens_sum"]} for row in grouped.to_pylist()
    ]
    return sorted(rows, key=lambda row: (-row["tokens"], row["value"]))


def _made(folder: Path) -> str:
    """When a result was committed, as its manifest file says; manifests themselves hold no times."""
    return datetime.fromtimestamp((folder / "manifest.json").stat().st_mtime, UTC).isoformat(timespec="seconds")
