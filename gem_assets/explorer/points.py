"""What the map draws: a place for each document, and a colour by what a person asks for.

Places are kept in the cache under the identities of map, labels and vectors, so that a new snapshot places its own
documents and no others. They travel as two ``uint16`` per document and colours as one: six bytes a point.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gem_assets.corpus.schema import QUALITY_COLUMNS
from gem_assets.explorer.documents import Documents
from gem_assets.explorer.errors import UnknownError
from gem_assets.report.layout import LandmarkMap
from gem_assets.stages import EMBEDDINGS
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.durable import make_dirs, write_atomic
from gem_assets.storage.identity import digest
from gem_assets.storage.store import Store

GRID: Final = 65_535
"""Steps of a coordinate."""
COLOURS: Final = ("cluster", "snapshot", "lang", "source", "date", "confidence", *QUALITY_COLUMNS)
UNKNOWN: Final = "not known"
_MOST_VALUES = 40
_MARGIN = 0.04


@dataclass(frozen=True)
class Colouring:
    """A colour number for each document, and what each number stands for.

    Attributes
    ----------
    codes
        uint16 ``(n,)``.
    names
        By number. The last one may gather all that are rarer, or hold what is not known.
    ordered
        Whether the numbers are an order, from small to large or from old to new.
    """

    codes: NDArray[np.uint16]
    names: list[str]
    ordered: bool = False


def place_documents(
    store: Store, documents: Documents, landmarks: LandmarkMap, version: str, cache: Path
) -> NDArray[np.uint16]:
    """Return the place of each document on the map, uint16 ``(n, 2)``; ``GRID`` twice where it has no vector.

    Parameters
    ----------
    version
        Identity of the map.
    cache
        Folder that outlives artifacts and may be deleted.
    """
    placed = np.full((len(documents), 2), np.nan)
    snapshots = documents.rows.column("snapshot").cast(pa.string()).combine_chunks()
    for name, vectors in store.artifacts.snapshots(EMBEDDINGS).items():
        own = np.flatnonzero(pc.equal(snapshots, name).to_numpy(zero_copy_only=False))
        if len(own):
            ids = documents.rows.column("doc_id").take(pa.array(own)).combine_chunks()
            placed[own] = _of_snapshot(store, vectors, ids, documents.clusters[own], landmarks, version, cache)
    return _on_grid(placed, landmarks)


def _of_snapshot(
    store: Store,
    vectors: Artifact,
    ids: pa.Array,
    clusters: NDArray[np.int64],
    landmarks: LandmarkMap,
    version: str,
    cache: Path,
) -> NDArray[np.float64]:
    named = {"map": version, "vectors": vectors.identity, "rows": digest([ids.to_pylist(), clusters.tolist()])}
    path = cache / f"{digest(named)[:32]}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    placed = np.full((len(ids), 2), np.nan)
    for batch in _vectors(store, vectors):
        rows = pc.index_in(batch.column("doc_id"), value_set=ids)
        known = pc.is_valid(rows)
        at = rows.filter(known).to_numpy().astype(np.int64)
        width = batch.schema.field("vector").type.list_size
        flat = batch.column("vector").filter(known).flatten().to_numpy()
        placed[at] = landmarks.place(flat.reshape(-1, width), clusters[at])
    make_dirs(cache)
    buffer = BytesIO()
    np.save(buffer, placed, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
    return placed


def _vectors(store: Store, artifact: Artifact) -> Iterator[pa.RecordBatch]:
    return store.table_scan([artifact.ref()])(["doc_id", "vector"])


def _on_grid(placed: NDArray[np.float64], landmarks: LandmarkMap) -> NDArray[np.uint16]:
    """Scale by the landmarks, never by the documents, so that a new snapshot moves nothing."""
    grid = np.full(placed.shape, GRID, np.uint16)
    if not len(landmarks.clusters):
        return grid
    reach = 2.5 * landmarks.radii[:, None]
    low, high = (landmarks.places - reach).min(axis=0), (landmarks.places + reach).max(axis=0)
    side = float((high - low).max()) * (1 + 2 * _MARGIN) or 1.0
    middle = (low + high) / 2
    known = np.isfinite(placed).all(axis=1)
    unit = np.clip((placed[known] - middle) / side + 0.5, 0, 1)
    grid[known] = np.round(unit * (GRID - 1)).astype(np.uint16)
    return grid


def landmark_places(landmarks: LandmarkMap) -> NDArray[np.uint16]:
    """Return where each cluster of the map stands, on the documents' grid, ``(m, 2)``."""
    return _on_grid(landmarks.places, landmarks)


def colour(documents: Documents, by: str, read: Callable[[str], pa.Array]) -> Colouring:
    """Number what documents are coloured by: names most documents first, dates by year, quantities in tenths.

    Parameters
    ----------
    read
        Returns a column of the document shards, one value per row.

    Raises
    ------
    UnknownError
        When the map cannot be coloured by that.
    """
    if by not in COLOURS:
        raise UnknownError(f"the map cannot be coloured by {by!r}; choose one of {', '.join(COLOURS)}")
    if by == "cluster":
        clusters = documents.clusters
        return Colouring(clusters.astype(np.uint16), [str(k) for k in range(int(clusters.max(initial=-1)) + 1)])
    if by == "confidence":
        return _tenths(documents.rows.column(by).to_numpy().astype(np.float64))
    if by in QUALITY_COLUMNS:
        return _tenths(read(by).to_numpy(zero_copy_only=False).astype(np.float64))
    if by == "date":
        return _years(read(by))
    values = documents.rows.column(by).combine_chunks()
    names: list[Any] = values.dictionary.to_pylist()
    codes = values.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    names.append("")
    counts = np.bincount(codes, minlength=len(names))
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    shown, rest = order[:_MOST_VALUES], order[_MOST_VALUES:]
    number = np.zeros(len(names), np.uint16)
    number[shown] = np.arange(len(shown))
    number[rest] = len(shown)
    told = [names[i] or UNKNOWN for i in shown] + ([f"{len(rest)} others"] if rest else [])
    return Colouring(number[codes], told)


def _tenths(values: NDArray[np.float64]) -> Colouring:
    """Cut a quantity into ten parts of equal size; equal values share a part, so there may be fewer, of other sizes."""
    known = np.isfinite(values)
    if not known.any():
        return Colouring(np.zeros(len(values), np.uint16), [UNKNOWN] if len(values) else [], ordered=True)
    tenths = np.quantile(values[known], np.linspace(0, 1, 11))
    bounds = np.unique(tenths)
    # a value that more than a tenth share, as nought often is, has a part to itself
    inner = np.concatenate([bounds[:1] if tenths[0] == tenths[1] < tenths[-1] else [], bounds[1:-1]])
    codes = np.searchsorted(inner, np.where(known, values, bounds[0]), side="left").astype(np.uint16)
    edges = [float(bounds[0]), *map(float, inner), float(bounds[-1])]
    names = [f"{low:.3g} to {high:.3g}" if low < high else f"{low:.3g}" for low, high in pairwise(edges)]
    if not known.all():
        codes[~known] = len(names)
        names.append(UNKNOWN)
    return Colouring(codes, names, ordered=True)


def _years(dates: pa.Array) -> Colouring:
    """Number the years that dates begin with, oldest first; the oldest share a number where there are too many."""
    years = pc.utf8_slice_codeunits(dates.fill_null(""), 0, 4).to_numpy(zero_copy_only=False).astype(str)
    found = sorted(set(np.unique(years)) - {""})
    early, shown = found[: -_MOST_VALUES + 1], found[-_MOST_VALUES + 1 :]
    names = ([f"until {early[-1]}"] if early else []) + shown
    number = {year: i + bool(early) for i, year in enumerate(shown)} | dict.fromkeys(early, 0)
    if (years == "").any():
        number[""] = len(names)
        names.append(UNKNOWN)
    values, inverse = np.unique(years, return_inverse=True)
    codes = np.array([number[str(value)] for value in values], np.uint16)
    return Colouring(codes[inverse] if len(values) else np.zeros(0, np.uint16), names, ordered=True)
