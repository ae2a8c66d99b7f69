"""The explorer's views over one data root: each answer is made from results in force, and kept until those change."""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gem_assets.explorer.corpus_map import read_map
from gem_assets.explorer.desk import Desk
from gem_assets.explorer.documents import Documents, TakenDown, labels_in_force, read_column, read_texts
from gem_assets.explorer.errors import NothingYetError, RequestError
from gem_assets.explorer.find import search_texts
from gem_assets.explorer.overview import Overview
from gem_assets.explorer.points import COLOURS, Colouring, colour, landmark_places, place_documents
from gem_assets.lineage.mixtures import LabelScan, find_mixture
from gem_assets.mixing.methods.saved import SavedMixture
from gem_assets.report.layout import LandmarkMap
from gem_assets.settings import Settings
from gem_assets.stages import (
    CORPUS_MAP,
    DOMAIN_INVENTORY,
    GIS_TAXONOMY,
    PAGE_HISTORY,
    PROXY_SWARM,
    PROXY_TOKENS,
    TEACHER_CLUSTERS,
)
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import Store, trace_index_folder
from gem_assets.takedown.blocklist import blocklist_of
from gem_assets.tracing.diff import diff_mixtures
from gem_assets.tracing.index import TraceIndex
from gem_assets.tracing.trace import Tracer

MOST_READ: Final = 20
"""Texts in one answer."""


@dataclass(frozen=True)
class Points:
    """What is on the map: places ``(n, 2)`` of the documents, and the map itself with its domain ids."""

    places: NDArray[np.uint16]
    landmarks: LandmarkMap
    domains: tuple[int, ...]


class Views:
    """Everything that the pages ask for. Safe to use from several threads.

    Parameters
    ----------
    settings
        Of the data root.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.data_root)
        self._kept: dict[str, tuple[Hashable, Any]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    # what is in force

    def overview(self) -> Overview:
        """Taxonomy, inventory and recipes of now."""
        found = Overview.of(self.store.artifacts)
        version = tuple(a.identity if a is not None else None for a in (found.taxonomy, found.inventory))
        return self._keep("overview", (version, self._recipes_version()), lambda: found)

    def documents(self) -> Documents:
        """Labelled documents of now, without what was taken down.

        Raises
        ------
        NothingYetError
            When nothing is labelled.
        """
        labels = labels_in_force(self.store)
        if not labels:
            raise NothingYetError("no document is labelled yet. Label what has landed with: gem run")
        return self._keep("documents", self._labels_version(labels), lambda: self._documents(labels))

    def points(self) -> Points:
        """Places of the labelled documents.

        Raises
        ------
        NothingYetError
            When there is no map.
        """
        fitted = self.store.artifacts.current(CORPUS_MAP)
        if fitted is None:
            raise NothingYetError("the map has not been made yet. Make it with: gem run --until corpus_map")
        documents = self.documents()

        def place() -> Points:
            landmarks, domains = read_map(fitted.path)
            cache = self.settings.data_root / "cache" / "explorer"
            placed = place_documents(self.store, documents, landmarks, fitted.identity, cache)
            return Points(placed, landmarks, domains)

        return self._keep("points", (fitted.identity, id(documents)), place)

    def desk(self) -> Desk:
        """The laws of now.

        Raises
        ------
        NothingYetError
            When nothing can predict a loss.
        """
        names = (DOMAIN_INVENTORY, GIS_TAXONOMY, PROXY_TOKENS, PROXY_SWARM, TEACHER_CLUSTERS)
        version = tuple(a.identity if (a := self.store.artifacts.current(name)) is not None else None for name in names)
        return self._keep("desk", version, lambda: Desk.of(self.store, self.settings))

    # answers

    def map(self) -> dict[str, Any]:
        """Say what is on the map: clusters with their places, and what it can be coloured by."""
        points, documents = self.points(), self.documents()
        names = {row["id"]: row for row in self.overview().clusters()}
        places = landmark_places(points.landmarks)
        return {
            "points": len(documents),
            "documents": documents.total,
            "colours": list(COLOURS),
            "clusters": [
                {**names[int(k)], "x": int(x), "y": int(y)}
                for k, (x, y) in zip(points.landmarks.clusters, places, strict=True)
                if int(k) in names
            ],
        }

    def colours(self, by: str) -> Colouring:
        """Return a colour number per document and what the numbers mean; ``UnknownError`` names what there is."""
        documents = self.documents()
        found = colour(documents, by, lambda name: read_column(self.store, documents, name))
        if by == "cluster":
            names = {row["id"]: row["name"] for row in self.overview().clusters()}
            return replace(found, names=[names.get(int(k), f"Cluster {k}") for k in found.names])
        return found

    def cluster(self, domain: int) -> dict[str, Any]:
        """Everything on one cluster; ``UnknownError`` when there is none of that domain id."""
        hidden = frozenset(self._taken_down().documents.to_pylist())
        told = self.overview().cluster(domain, hidden)
        return {**told, "sources": self.documents().counted(told["id"], "source")}

    def texts(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Read documents by their row on the map."""
        documents = self.documents()
        names = {row["id"]: row for row in self.overview().clusters()}
        inside = [row for row in rows[:MOST_READ] if 0 <= row < len(documents)]
        clusters = documents.clusters[inside]
        found = {text["doc_id"]: text for text in read_texts(self.store, documents.ids(inside), self._taken_down())}
        told: list[dict[str, Any]] = []
        for (_, doc), cluster in zip(documents.ids(inside), clusters, strict=True):
            if doc in found:
                told.append({**found[doc], "cluster": names.get(int(cluster))})
        return told

    def sample(self, domain: int, seed: int, count: int = 5) -> list[dict[str, Any]]:
        """Read some random documents of a cluster."""
        cluster = self.overview().cluster(domain)["id"]
        rows = self.documents().of_cluster(cluster)
        chosen = np.random.default_rng(seed).choice(rows, min(count, len(rows)), replace=False)
        return self.texts([int(row) for row in chosen])

    def desk_state(self) -> dict[str, Any]:
        """What the mixing desk begins with."""
        desk, overview = self.desk(), self.overview()
        return {
            "law": desk.law,
            "targets": [desk.label(target.name) for target in desk.targets],
            "clusters": overview.clusters(),
            "caps": [float(min(cap, 1.0)) for cap in desk.frame.caps],
            "budget": desk.frame.budget,
            "repetition_cap": desk.frame.config.repetition_cap,
            "mixtures": overview.shares,
            "recommended": overview.home()["recommended"],
            "runs": len(desk.runs),
        }

    def predict(self, shares: Sequence[float], against: Sequence[str], budget: int | None = None) -> dict[str, Any]:
        """Say what a mixture costs; see :meth:`gem_assets.explorer.desk.Desk.predict`."""
        known = self.overview().shares
        rivals = {name: np.array(known[name]) for name in against if name in known}
        return self.desk().predict(shares, rivals, budget)

    def save(self, shares: Sequence[float], note: str, author: str, budget: int | None = None) -> SavedMixture:
        """Keep a mixture as the one that was made by hand; without a budget it is for that of the settings.

        Raises
        ------
        RequestError
            When it repeats a cluster more often than the cap; names it.
        """
        from gem_assets.mixing.methods.saved import NAME
        from gem_assets.mixing.recipe import RecipeEvidence

        desk = self.desk()
        mixture = desk.checked(shares)
        try:
            desk.frame.for_budget(budget).recipe(NAME, mixture, RecipeEvidence(method="by hand"))
        except ValueError as error:
            raise RequestError(_first_line(error)) from error
        domains = [row["domain"] for row in self.overview().clusters()]
        saved = SavedMixture(
            shares={d: float(s) for d, s in zip(domains, mixture, strict=True) if s > 0},
            token_budget=None if budget == desk.frame.budget else budget,
            note=note,
            author=author,
        )
        saved.write(self.settings.data_root)
        return saved

    def compare_snapshots(self, before: str, after: str) -> dict[str, Any]:
        """Compare two snapshots; see :meth:`gem_assets.explorer.overview.Overview.compare`."""
        return self.overview().compare(before, after)

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """Compare two mixtures; see :func:`gem_assets.tracing.diff.diff_mixtures`."""
        artifacts = self.store.artifacts
        blocked = blocklist_of(self.store.root)
        hidden = blocked.documents() if blocked is not None else set[str]()
        mixtures = find_mixture(artifacts, before), find_mixture(artifacts, after)
        with self._guard_of("trace"):
            found = diff_mixtures(artifacts, *mixtures, self._index(), hidden)
        gathered = self.overview().gathered
        rows = {row["recipe"]: row for row in gathered.comparison.rows} if gathered is not None else {}
        told = found.model_dump(mode="json")
        for side in ("entered", "left"):
            for movement in told[side]:
                movement["examples"] = [e for e in movement["examples"] if e["doc_id"] not in hidden]
        return {**told, "recipes": [rows.get(name.partition("@")[0].partition("~")[0]) for name in (before, after)]}

    def find(self, query: str) -> dict[str, Any]:
        """Look a query up as ``gem trace`` does, and in the texts, with where the training orders show those."""
        texts = search_texts(self.store.artifacts, query, self._taken_down())
        with self._guard_of("trace"):  # a file of the index serves one reader at a time
            tracer = Tracer(self.store.artifacts, self._index())
            traced = tracer.trace(query, MOST_READ)
            drawn = tracer.drawn([row["doc_id"] for row in texts["documents"]]) if texts["documents"] else []
        return {
            "trace": traced.model_dump(mode="json"),
            "texts": {**texts, "drawn": [one.model_dump(mode="json") for one in drawn]},
        }

    # what is kept

    def _keep(self, name: str, version: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made for this version, or make it; one thread makes a thing, the others wait for it."""
        with self._guard_of(name):
            known = self._kept.get(name)
            if known is None or known[0] != version:
                known = self._kept[name] = (version, make())
            return known[1]

    def _guard_of(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def _documents(self, labels: Sequence[InputRef]) -> Documents:
        return Documents.read(self.store, labels, self._taken_down())

    def _taken_down(self) -> TakenDown:
        blocked = blocklist_of(self.store.root)
        head = blocked.head() if blocked is not None else None
        return self._keep("taken_down", str(head), lambda: TakenDown(self.store.root))

    def _labels_version(self, labels: Sequence[InputRef]) -> Hashable:
        pages = self.store.artifacts.current(PAGE_HISTORY)
        blocked = blocklist_of(self.store.root)
        head = str(blocked.head()) if blocked is not None else ""
        return (tuple(ref.identity for ref in labels), pages.identity if pages is not None else "", head)

    def _recipes_version(self) -> Hashable:
        artifacts = self.store.artifacts
        names = [name for name in artifacts.assets() if "/" in name or name == PROXY_SWARM]
        return tuple((name, entry.identity if (entry := artifacts.pointer(name)) is not None else "") for name in names)

    def _index(self) -> TraceIndex:
        return self._keep("index", 0, lambda: TraceIndex(trace_index_folder(self.settings.data_root), self._scan()))

    def _scan(self) -> LabelScan:
        store = self.store
        return lambda labels, columns: store.table_scan([labels.ref()])(columns)


def _first_line(error: ValueError) -> str:
    """The sentence of a validation error, without the frame that pydantic puts around it."""
    lines = str(error).splitlines()
    told = next((line.strip() for line in lines if "Value error" in line), lines[0])
    return told.removeprefix("Value error, ").partition(" [type=")[0]
