"""What held the documents of a request: recipes, training orders, teachers, and prepared tokens.

Every version that is still on the disk is looked at, not only what is in force: a certificate names both.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.lineage.walk import walk
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.proxy.contents import held_documents
from gem_assets.stages import ORDERS, RAW_SHARDS, RECIPES, STUDENT_LABELS, TEACHER_CLUSTERS, strategy_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.purged import PurgedError
from gem_assets.takedown.request import FoundDocument

TAKEN_DOWN = "taken_down"
"""Metric of prepared tokens that names the documents that have left them."""

_SAMPLE_FILE = "sample.parquet"


class TableScan(Protocol):
    """What is needed of the vector and label tables."""

    def scan(
        self,
        table: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        snapshot: str | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one version, of one snapshot if given."""
        ...


@dataclass(frozen=True)
class Holding:
    """A published mixture that held documents of a request.

    Attributes
    ----------
    documents
        How many of them it could draw (a recipe) or did draw (an order).
    exposures
        How often they are shown in one run: expected from the epochs of their clusters for a recipe, counted in an
        order.
    tokens
        The same in tokens; None for an order, which does not hold them.
    """

    asset: str
    identity: str
    documents: int
    exposures: float
    tokens: float | None
    current: bool
    ids: frozenset[str]


def blocked_seed(gone: set[str], teacher: Artifact) -> list[str]:
    """Return the ids of seed documents of a teacher that were taken down, sorted."""
    if not gone or not (teacher.path / _SAMPLE_FILE).is_file():
        return []
    ids: list[str] = pq.read_table(teacher.path / _SAMPLE_FILE, columns=["doc_id"]).column("doc_id").to_pylist()
    return sorted(gone.intersection(ids))


def blocked_tokens(gone: set[str], tokens: Artifact | None) -> tuple[list[str], list[str]]:
    """Return the ids of documents that were taken down and that prepared tokens hold, or that have left them.

    Both are sorted; ``all`` names what the tokens are to be without, and stays the same once ``held`` has left them.
    """
    if tokens is None:
        return [], []
    recorded: Any = tokens.manifest.metrics.get(TAKEN_DOWN) or []
    held = held_documents(tokens.path, gone)
    return held, sorted(gone.intersection(recorded).union(held))


def holdings(store: ArtifactStore, tables: TableScan, found: Sequence[FoundDocument]) -> list[Holding]:
    """Return every published recipe and training order that held the documents, by asset, oldest first.

    Parameters
    ----------
    store
        Where recipes and orders lie; every version that is still on the disk is looked at.
    tables
        The label tables, which say in which cluster a document was.
    """
    by_version: dict[tuple[str, str], set[str]] = {}
    for one in found:
        if one.kept:
            by_version.setdefault((one.snapshot, one.identity), set()).add(one.doc_id)
    clusters: dict[tuple[str, int, str], list[tuple[str, int, int]]] = {}
    result: list[Holding] = []
    for asset in store.assets():
        if strategy_of(asset, RECIPES):
            for artifact, current in _history(store, asset):
                holding = _recipe_holding(store, tables, artifact, by_version, clusters, current)
                result.extend([holding] if holding is not None else [])
        elif strategy_of(asset, ORDERS):
            ids = pa.array(sorted({one.doc_id for one in found}), pa.string())
            for artifact, current in _history(store, asset):
                shown, exposures = _shown(artifact, ids)
                if exposures:
                    held = Holding(asset, artifact.identity, len(shown), float(exposures), None, current, shown)
                    result.append(held)
    return result


def fitted_on(store: ArtifactStore, documents: Iterable[str]) -> list[tuple[str, int]]:
    """Return the identities of teachers whose seed sample held the documents, with how many."""
    wanted = set(documents)
    result: list[tuple[str, int]] = []
    for artifact, _ in _history(store, TEACHER_CLUSTERS):
        if (artifact.path / _SAMPLE_FILE).is_file():
            ids = pq.read_table(artifact.path / _SAMPLE_FILE, columns=["doc_id"]).column("doc_id").to_pylist()
            held = len(wanted.intersection(ids))
            result.extend([(artifact.identity, held)] if held else [])
    return result


def _recipe_holding(
    store: ArtifactStore,
    tables: TableScan,
    recipe: Artifact,
    by_version: Mapping[tuple[str, str], set[str]],
    clusters: dict[tuple[str, int, str], list[tuple[str, int, int]]],
    current: bool,
) -> Holding | None:
    lineage = walk(store, recipe.manifest.asset, identity=recipe.identity)
    epochs = {entry.cluster: entry.implied_epochs for entry in Recipe.read(recipe.path / RECIPE_NAME).entries}
    held, exposures, tokens = list[str](), 0.0, 0.0
    for node in lineage.nodes.values():
        if node.manifest.asset != STUDENT_LABELS or not node.manifest.lance:
            continue
        shards = next((ref for ref in node.manifest.inputs if ref.asset == RAW_SHARDS), None)
        ids = by_version.get((str(node.manifest.partition), str(shards.identity))) if shards is not None else None
        if not ids:
            continue
        ref = node.manifest.lance[0]
        key = (ref.table, ref.version, str(node.manifest.partition))
        if key not in clusters:
            clusters[key] = list(_clusters(tables, key, ids))
        for doc_id, cluster, n_tokens in clusters[key]:
            held.append(doc_id)
            exposures += epochs.get(cluster, 0.0)
            tokens += epochs.get(cluster, 0.0) * n_tokens
    name, identity, ids = recipe.manifest.asset, recipe.identity, frozenset(held)
    return Holding(name, identity, len(held), exposures, tokens, current, ids) if held else None


def _clusters(tables: TableScan, key: tuple[str, int, str], ids: set[str]) -> Iterator[tuple[str, int, int]]:
    table, version, snapshot = key
    wanted = pa.array(sorted(ids), pa.string())
    # of a version that a purge took away, the certificate keeps what was found before
    with contextlib.suppress(PurgedError):
        for batch in tables.scan(table, version=version, columns=["doc_id", "cluster", "n_tokens"], snapshot=snapshot):
            hit = batch.filter(pc.is_in(batch.column("doc_id"), value_set=wanted))
            yield from zip(*(hit.column(name).to_pylist() for name in ("doc_id", "cluster", "n_tokens")), strict=True)


def _shown(order: Artifact, ids: pa.Array) -> tuple[frozenset[str], int]:
    shown: set[str] = set()
    exposures = 0
    for path in sorted(order.path.glob("*.parquet")):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            if "doc_id" not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(columns=["doc_id"]):
                column = batch.column("doc_id").cast(pa.string())
                hit = column.filter(pc.is_in(column, value_set=ids))
                exposures += len(hit)
                shown.update(hit.to_pylist())
    return frozenset(shown), exposures


def _history(store: ArtifactStore, asset: str) -> Iterator[tuple[Artifact, bool]]:
    current = store.current(asset)
    for artifact in store.history(asset):
        yield artifact, current is not None and artifact.identity == current.identity
