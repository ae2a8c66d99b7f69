"""Where a document came from, what it was called, and which mixtures show it, how often and where in the run.

A query is a URL, a document id, a content digest, a domain or a source, or any of them as ``gem takedown`` takes it
(``source:name``). Everything is looked up in sorted files (:mod:`gem_assets.tracing.index`), over every version that
the store still holds: an old mixture is answered for like today's.

Expected exposures are the epochs that a recipe gives the cluster which the document had in *its* labels; where the
order draws by duplicate count, times the document's weight over the mean of its cluster. Positions are those of the
training orders that were made.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gem_assets.corpus.addresses import canonical_host, canonical_page, canonical_url, host_of
from gem_assets.lineage.mixtures import Mixture, every_mixture, orders_of
from gem_assets.ordering.config import OrderingConfig
from gem_assets.stages import ORDERS, RAW_SHARDS, STUDENT_LABELS, result_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.purged import Purges
from gem_assets.takedown.blocklist import Blocklist
from gem_assets.takedown.certificate import CERTIFICATES, read_certificate
from gem_assets.takedown.certificate import Place as CertifiedPlace
from gem_assets.takedown.entries import BlockEntry, BlocklistError, Kind, parse_entry
from gem_assets.takedown.near import MOST_NEAR, Near
from gem_assets.takedown.request import near_misses
from gem_assets.tracing.answer import (
    Drawn,
    Exposure,
    GroupExposure,
    LabelVersion,
    OrderedExposure,
    Place,
    Trace,
    TracedDocument,
    TracedDomain,
)
from gem_assets.tracing.index import UNREADABLE, TraceIndex, host_key, source_key

MOST_DOCUMENTS = 20
MOST_POSITIONS = 1000

_KIND = re.compile(rf"^(?:{'|'.join(get_args(Kind))}):", re.I)
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_NO_DOCUMENT = pa.schema([("stands_for", pa.string()), ("n_tokens_max", pa.int64()), ("n_bytes_max", pa.int64())])


class Tracer:
    """Answers queries on one data root.

    What is missing of the ``index`` is built on first use.
    """

    def __init__(self, store: ArtifactStore, index: TraceIndex) -> None:
        self.store, self.index = store, index

    def trace(self, query: str, most: int = MOST_DOCUMENTS) -> Trace:
        """Look a query up; a query that fits nothing gives an answer without documents, and what resembles it.

        What resembles it takes a pass over the addresses of all snapshots.

        ``query`` is a URL, document id, content digest, domain or source.
        """
        query = query.strip()
        for name in dict.fromkeys([query, _KIND.sub("", query)]):
            ids, domain = self._ids(name), None
            if not ids:
                domain, ids = self._domain(name)
            if not ids and domain is None:
                ids = self._taken_down_below(name)
            if ids or domain is not None:
                described = tuple(self._document(i) for i in ids[:most])
                return Trace(query=query, documents=described, found=len(ids), domain=domain)
        asked = _as_asked(query)
        near, requests = _near(self.store, asked), _requests(self.store, asked)
        return Trace(query=query, documents=(), found=0, near=near, requests=requests)

    def drawn(self, doc_ids: Sequence[str]) -> list[Drawn]:
        """Say where the orders in force show some documents, one entry per mixture that has an order."""
        wanted, found = pa.array(doc_ids, pa.string()), list[Drawn]()
        for mixture, orders in self._mixtures:
            for order in (order for order, current in orders if current and mixture.current):
                rows = self.index.positions(order).find_many(wanted, ["position"])
                places: dict[str, list[int]] = {}
                for doc_id, position in zip(*(rows.column(i).to_pylist() for i in (0, 1)), strict=True):
                    places.setdefault(doc_id, []).append(position)
                shown = {doc_id: tuple(sorted(own)) for doc_id, own in sorted(places.items())}
                found.append(Drawn(mixture=mixture.name, rows=int(order.manifest.counts["rows"]), positions=shown))
        return found

    @cached_property
    def _shards(self) -> list[tuple[Artifact, bool]]:
        return _versions(self.store, RAW_SHARDS)

    @cached_property
    def _labels(self) -> list[tuple[Artifact, bool]]:
        return _versions(self.store, STUDENT_LABELS)

    @cached_property
    def _taken_down(self) -> list[tuple[str, str, CertifiedPlace]]:
        """Every place that a certificate names: document, request, place."""
        if "://" in self.store.root:
            return []
        certificates = (
            read_certificate(self.store.root, path.stem)
            for path in sorted((Path(self.store.root) / CERTIFICATES).glob("*.json"))
        )
        return [(place.doc_id, one.request, place) for one in certificates if one is not None for place in one.places]

    @cached_property
    def _purged(self) -> dict[str, str]:
        """When and on whose request rows went, by the identity of the labels that named them."""
        purges = Purges(self.store.root)
        found: dict[str, str] = {}
        for labels, _ in self._labels:
            table = labels.manifest.lance[0]
            purge = purges.of_version(table.table, table.version)
            if purge is not None and purges.successor(table.table, table.version, labels.manifest.partition) is None:
                found[labels.identity] = str(purge)
        return found

    @cached_property
    def _mixtures(self) -> list[tuple[Mixture, list[tuple[Artifact, bool]]]]:
        found: list[tuple[Mixture, list[tuple[Artifact, bool]]]] = []
        for mixture in every_mixture(self.store):
            entry = self.store.pointer(result_of(ORDERS, mixture.name))
            now = entry.identity if entry is not None else None
            found.append((mixture, [(order, order.identity == now) for order in orders_of(self.store, mixture)]))
        return found

    @cached_property
    def _names(self) -> dict[str, dict[int, str]]:
        """Cluster names by the identity of the labels."""
        return {
            str(ref.identity): mixture.cluster_names for mixture, _ in self._mixtures for ref in mixture.labels or ()
        }

    @cached_property
    def _targets(self) -> dict[str, dict[int, dict[str, Any]]]:
        """What each order says of its clusters, by the order's identity."""
        return {
            order.identity: {
                int(row["cluster"]): row
                for row in json.loads((order.path / "report.json").read_text(encoding="utf-8"))["clusters"]
            }
            for _, orders in self._mixtures
            for order, _ in orders
        }

    def _ids(self, query: str) -> list[str]:
        if _HEX.fullmatch(query):
            return self._named([query.lower()])
        # a bare host means a site, and not its home page
        if not re.search(r"[/\\?#]", query):
            return self._named([query])
        return self._named([canonical_page(query)]) or self._named([canonical_url(query)])

    def _named(self, names: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for shards, _ in reversed(self._shards):
            for name in names:
                if self.index.places(shards).find(name).num_rows:
                    found[name] = None
                found.update(dict.fromkeys(self.index.names(shards).find(name).column("stands_for").to_pylist()))
        for name, _, place in self._taken_down if not found else ():
            if not {name, canonical_page(place.url or ""), place.content_digest}.isdisjoint(names):
                found[name] = None
        return list(found)

    def _taken_down_below(self, name: str) -> list[str]:
        """Documents of a site that are in no snapshot any more, and that a certificate names."""
        host = canonical_host(name)
        if host is None:
            return []
        gone = ((document, host_of(place.url or "")) for document, _, place in self._taken_down)
        return list(dict.fromkeys(document for document, own in gone if own and f".{own}".endswith(f".{host}")))

    def _document(self, doc_id: str) -> TracedDocument:
        places: list[Place] = []
        for shards, current in self._shards:
            rows = self.index.places(shards).find(doc_id).to_pylist()
            digests = _landed_digests(shards) if rows else {}
            places += [_place(row, shards, digests, current=current) for row in rows]
        if not any(place.kind == "kept" for place in places):
            places += [_gone(request, place) for i, request, place in self._taken_down if i == doc_id]
        labels: dict[str, LabelVersion] = {}
        for artifact, current in self._labels:
            if artifact.identity in self._purged:
                continue
            for row in self.index.labels(artifact).find(doc_id).to_pylist():
                names = self._names.get(artifact.identity, {})
                table = artifact.manifest.lance[0]
                labels[artifact.identity] = LabelVersion(
                    snapshot=str(artifact.manifest.partition),
                    cluster=row["cluster"],
                    name=names.get(row["cluster"], f"Cluster {row['cluster']}"),
                    confidence=row["confidence"],
                    margin=row["margin"],
                    table=table.table,
                    version=table.version,
                    identity=artifact.identity,
                    current=current,
                )
        copies = {p.snapshot: p.dup_count or 1 for p in places if p.kind == "kept"}
        return TracedDocument(
            doc_id=doc_id,
            places=tuple(places),
            labels=tuple(labels.values()),
            mixtures=tuple(self._exposures(doc_id, labels, copies)),
        )

    def _exposures(self, doc_id: str, labels: Mapping[str, LabelVersion], copies: Mapping[str, int]) -> list[Exposure]:
        found: list[Exposure] = []
        for mixture, orders in self._mixtures:
            label = next((labels[str(r.identity)] for r in mixture.labels or () if str(r.identity) in labels), None)
            if label is None:
                found += self._without_labels(doc_id, mixture, orders)
                continue
            entry = next((e for e in mixture.recipe.entries if e.cluster == label.cluster), None)
            found.append(
                Exposure(
                    mixture=mixture.name,
                    identity=mixture.artifact.identity,
                    recipe=mixture.recipe.identity,
                    cluster=label.cluster,
                    name=label.name,
                    token_share=entry.token_share if entry is not None else 0.0,
                    expected=entry.implied_epochs if entry is not None else 0.0,
                    orders=tuple(
                        self._ordered(doc_id, order, label, copies.get(label.snapshot, 1), current=current)
                        for order, current in orders
                    ),
                    current=mixture.current,
                )
            )
        return found

    def _without_labels(
        self, doc_id: str, mixture: Mixture, orders: Sequence[tuple[Artifact, bool]]
    ) -> Iterator[Exposure]:
        """Yield what the orders of a mixture drew of a document whose labels were purged."""
        gone = next(
            (self._purged[str(r.identity)] for r in mixture.labels or () if str(r.identity) in self._purged), None
        )
        drawn = [self._ordered(doc_id, order, None, 1, current=current) for order, current in orders] if gone else []
        if any(one.times for one in drawn):
            yield Exposure(
                mixture=mixture.name,
                identity=mixture.artifact.identity,
                recipe=mixture.recipe.identity,
                cluster=-1,
                name=f"labels {gone}",
                token_share=0.0,
                expected=0.0,
                orders=tuple(drawn),
                current=mixture.current,
            )

    def _ordered(
        self, doc_id: str, order: Artifact, label: LabelVersion | None, dup_count: int, *, current: bool
    ) -> OrderedExposure:
        rows = self.index.positions(order).find(doc_id)
        target = self._targets[order.identity].get(label.cluster) if label is not None else None
        return OrderedExposure(
            order=order.identity,
            expected=_expected(target, _weight(order, dup_count)) if target is not None else 0.0,
            times=rows.num_rows,
            positions=tuple(rows.column("position").slice(0, MOST_POSITIONS).to_pylist()),
            rows=int(order.manifest.counts["rows"]),
            with_metadata=int(pc.sum(rows.column("metadata")).as_py() or 0),
            current=current,
        )

    def _domain(self, query: str) -> tuple[TracedDomain | None, list[str]]:
        kept: list[pa.Table] = []
        by_snapshot: dict[str, int] = {}
        places = 0
        for shards, current in self._shards:
            if not current:
                continue
            domains = self.index.domains(shards)
            rows = pa.concat_tables([domains.below(host_key(query), "."), domains.find(source_key(query))])
            places += rows.num_rows
            own = rows.filter(pc.equal(rows.column("kind"), "kept"))
            if own.num_rows:
                # a document may be found by its host and by its source
                own = own.group_by("stands_for").aggregate([("n_tokens", "max"), ("n_bytes", "max")])
                by_snapshot[str(shards.manifest.partition)] = own.num_rows
                kept.append(own)
        if not places:
            return None, []
        table = pa.concat_tables(kept) if kept else pa.Table.from_batches([], _NO_DOCUMENT)
        ids = pa.array(sorted(set(table.column("stands_for").to_pylist())), pa.string())
        domain = TracedDomain(
            domain=query,
            documents=len(ids),
            places=places,
            tokens=pc.sum(table.column("n_tokens_max")).as_py() or 0,
            bytes=pc.sum(table.column("n_bytes_max")).as_py() or 0,
            by_snapshot=by_snapshot,
            by_cluster=self._by_cluster(ids),
            mixtures=tuple(self._groups(ids)),
        )
        return domain, ids.to_pylist()

    def _by_cluster(self, ids: pa.Array) -> dict[str, int]:
        counts: dict[str, int] = {}
        for labels, current in self._labels:
            if current:
                names = self._names.get(labels.identity, {})
                for pair in pc.value_counts(
                    self.index.labels(labels).find_many(ids, ["cluster"]).column(1)
                ).to_pylist():
                    name = names.get(pair["values"], f"Cluster {pair['values']}")
                    counts[name] = counts.get(name, 0) + pair["counts"]
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _groups(self, ids: pa.Array) -> list[GroupExposure]:
        """Exposures of many documents, in each mixture."""
        by_labels = {
            artifact.identity: self.index.labels(artifact).find_many(ids, ["cluster", "n_tokens"])
            for artifact, _ in self._labels
            if artifact.identity not in self._purged
        }
        found: list[GroupExposure] = []
        for mixture, orders in self._mixtures:
            parts = [by_labels[str(r.identity)] for r in mixture.labels or () if str(r.identity) in by_labels]
            labelled = pa.concat_tables(parts) if parts else None
            if labelled is None or not labelled.num_rows:
                continue
            epochs = {e.cluster: e.implied_epochs for e in mixture.recipe.entries}
            each = np.array([epochs.get(c, 0.0) for c in labelled.column("cluster").to_pylist()])
            tokens = labelled.column("n_tokens").to_numpy()
            base: dict[str, Any] = {
                "mixture": mixture.key,
                "documents": labelled.num_rows,
                "expected_exposures": float(each.sum()),
                "expected_tokens": float((each * tokens).sum()),
                "token_share": float((each * tokens).sum() / mixture.recipe.token_budget),
            }
            shown = [(o.identity, now, *self._shown(o, ids, labelled)) for o, now in orders] or [
                (None, mixture.current, None, None, None)
            ]
            found += [
                GroupExposure(
                    **base, order=order, shown_documents=documents, shown_exposures=exposures, shown_tokens=total,
                    current=mixture.current and now,
                )
                for order, now, documents, exposures, total in shown
            ]  # fmt: skip
        return found

    def _shown(self, order: Artifact, ids: pa.Array, labelled: pa.Table) -> tuple[int, int, int]:
        """Documents, exposures and tokens of some documents in an order."""
        rows = self.index.positions(order).find_many(ids, ["doc_id"])
        counts = rows.group_by("doc_id").aggregate([("doc_id", "count")])
        joined = counts.join(labelled.select(["doc_id", "n_tokens"]), "doc_id", join_type="inner")
        tokens = pc.sum(pc.multiply(joined.column("doc_id_count"), joined.column("n_tokens"))).as_py()
        return counts.num_rows, rows.num_rows, int(tokens or 0)


def _as_asked(query: str) -> list[BlockEntry]:
    """Return the entries of a takedown that a query may stand for."""
    asked: list[BlockEntry] = []
    # an address never names a source
    for text in (query,) if re.search(r"[/\\?#]", query) else (query, f"source:{query}"):
        # a name that no takedown could mean has no neighbours
        with contextlib.suppress(BlocklistError):
            asked.append(parse_entry(text))
    return asked


def _requests(store: ArtifactStore, asked: Sequence[BlockEntry]) -> tuple[str, ...]:
    if "://" in store.root:
        return ()
    # a damaged list is for gem status to name, and hides no document
    with contextlib.suppress(BlocklistError):
        return tuple(one.id for one in Blocklist(store.root).requests() if not set(one.entries).isdisjoint(asked))
    return ()


def _near(store: ArtifactStore, asked: Sequence[BlockEntry]) -> tuple[Near, ...]:
    """Return what the snapshots in force hold next to a name that nothing has."""
    near = near_misses(store, asked, ())
    found = {one.what: one for entry in asked for one in near.of(entry)}
    return tuple(found.values())[:MOST_NEAR]


def _versions(store: ArtifactStore, asset: str) -> list[tuple[Artifact, bool]]:
    """Every whole version of every snapshot of an asset, and whether it is in force."""
    found: list[tuple[Artifact, bool]] = []
    for place in store.places(asset) if asset in store.assets() else []:
        entry = store.pointer(asset, place)
        now = entry.identity if entry is not None else None
        found += [(artifact, artifact.identity == now) for artifact in store.history(asset, place)]
    return found


def _place(row: Mapping[str, Any], shards: Artifact, digests: Mapping[str, str], *, current: bool) -> Place:
    known = {name: row[name] for name in Place.model_fields if name in row}
    if str(row["stands_for"]).startswith(UNREADABLE):
        known["doc_id"] = None
    return Place(
        **known,
        snapshot=str(shards.manifest.partition),
        offset=row["place"],
        file_sha256=digests.get(row["file"]),
        identity=shards.identity,
        current=current,
    )


def _gone(request: str, place: CertifiedPlace) -> Place:
    """What a certificate keeps of a place whose shards were purged."""
    told = place.model_dump(include={"snapshot", "doc_id", "url", "content_digest", "file", "offset"})
    nothing: dict[str, Any] = dict.fromkeys(name for name in Place.model_fields if name not in told)
    about: dict[str, Any] = {"kind": f"taken down by request {request}", "identity": "", "current": False}
    return Place(**{**nothing, **told, **about})


def _landed_digests(shards: Artifact) -> dict[str, str]:
    return {file.path: file.sha256 for ref in shards.manifest.inputs for file in ref.files}


def _expected(target: Mapping[str, Any], weight: float) -> float:
    if not target["tokens_available"]:
        return 0.0
    return target["target_tokens"] / target["tokens_available"] * weight / target.get("mean_weight", 1.0)


def _weight(order: Artifact, dup_count: int) -> float:
    """Weight of a document in the draw of an order."""
    rehydrate = OrderingConfig.model_validate(order.manifest.config).rehydrate
    if rehydrate is None:
        return 1.0
    return rehydrate[max(threshold for threshold in rehydrate if threshold <= max(dup_count, 1))]
