"""Map one taxonomy to the next: where each cluster went, and how its evidence carries over.

Clusters are matched by their mean directions (Hungarian), documents say how much mass really moved. A matched cluster
carries its stable id; a new one gets an id never used before. Evidence gathered per old cluster (shares, weights,
losses) is carried by the mass matrix, so that a refit does not strand it. Cost: two labelings of a sample and one
assignment problem of K x K.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.rows import Rows
from gem_assets.types import Floats

CROSSWALK_NAME = "crosswalk.json"
MASS_NAME = "crosswalk.parquet"
#: Cosine of mean directions below which two clusters are not the same one moved.
SAME_COSINE = 0.7
#: Dice overlap of documents below which two clusters are not the same one, where directions cannot be compared.
SAME_OVERLAP = 0.4
#: Share of a cluster that makes a part of it count for a split or a merge.
PART_SHARE = 0.25


@dataclass(frozen=True)
class Crosswalk:
    """How old clusters (rows) and new clusters (columns) relate.

    Attributes
    ----------
    ids
        Stable id of every new cluster, shape (K_new,).
    source
        Index of the old cluster that each new one continues, -1 for a birth, shape (K_new,).
    cosine
        Cosine between the mean directions of a new cluster and its source, NaN for a birth.
    mass
        Share of the documents in old cluster i and new cluster j, shape (K_old, K_new), summing to 1.
    births, deaths
        New clusters that continue none; old clusters that none continues.
    splits
        Old cluster and the new ones that each took at least a quarter of it, where there are several.
    merges
        New cluster and the old ones that each gave at least a quarter of it, where there are several.
    kept
        Share of documents whose new cluster continues their old one.
    """

    ids: NDArray[np.int64]
    source: NDArray[np.int32]
    cosine: Floats
    mass: Floats
    births: tuple[int, ...]
    deaths: tuple[int, ...]
    splits: tuple[tuple[int, tuple[int, ...]], ...]
    merges: tuple[tuple[int, tuple[int, ...]], ...]
    kept: float

    def carry_shares(self, shares: NDArray[np.floating]) -> Floats:
        """Move amounts given per old cluster (K_old,), such as token shares, with their documents; the sum stays."""
        return np.asarray(shares, dtype=np.float64) @ self.forward()

    def forward(self) -> Floats:
        """Where the documents of an old cluster went, rows summing to 1, shape (K_old, K_new).

        An old cluster without any shared document goes to its continuation, or evenly to all.
        """
        k_old, k_new = self.mass.shape
        total = self.mass.sum(axis=1, keepdims=True)
        forward = self.mass / np.where(total > 0, total, 1.0)
        for old in np.flatnonzero(total[:, 0] == 0):
            heirs = np.flatnonzero(self.source == old)
            forward[old, heirs if heirs.size else np.arange(k_new)] = 1 / (heirs.size or k_new)
        assert forward.shape == (k_old, k_new)
        return forward

    def write(self, folder: Path) -> None:
        """Write ``crosswalk.json`` and ``crosswalk.parquet`` (old, new, mass: the entries that are not zero)."""
        k_old, k_new = self.mass.shape
        record = {
            "k_old": k_old,
            "k_new": k_new,
            "ids": self.ids.tolist(),
            "source": self.source.tolist(),
            "cosine": [None if np.isnan(c) else float(c) for c in self.cosine],
            "births": self.births,
            "deaths": self.deaths,
            "splits": self.splits,
            "merges": self.merges,
            "kept": self.kept,
        }
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        (folder / CROSSWALK_NAME).write_text(text + "\n", encoding="utf-8")
        old, new = np.nonzero(self.mass)
        columns = {"old": old.astype(np.int16), "new": new.astype(np.int16), "mass": self.mass[old, new]}
        pq.write_table(pa.table(columns), folder / MASS_NAME, compression="zstd")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :meth:`write` wrote."""
        record = json.loads((folder / CROSSWALK_NAME).read_text(encoding="utf-8"))
        entries = pq.read_table(folder / MASS_NAME)
        mass = np.zeros((record["k_old"], record["k_new"]))
        mass[entries.column("old").to_numpy(), entries.column("new").to_numpy()] = entries.column("mass").to_numpy()
        return cls(
            ids=np.asarray(record["ids"], dtype=np.int64),
            source=np.asarray(record["source"], dtype=np.int32),
            cosine=np.array([np.nan if c is None else c for c in record["cosine"]]),
            mass=mass,
            births=tuple(record["births"]),
            deaths=tuple(record["deaths"]),
            splits=tuple((i, tuple(parts)) for i, parts in record["splits"]),
            merges=tuple((j, tuple(parts)) for j, parts in record["merges"]),
            kept=record["kept"],
        )


def crosswalk(
    old: GemTeacher, new: GemTeacher, x: Rows, *, ids: Sequence[int] | None = None, next_id: int | None = None
) -> Crosswalk:
    """Match two teachers of the same space.

    Parameters
    ----------
    old, new
        Fitted teachers; the numbers of clusters may differ.
    x
        Unit rows (n, d) on which both label: the documents that count.
    ids
        Stable ids of the old clusters; their indices when absent.
    next_id
        First id for births; one above the largest when absent. Ids of clusters that died before are passed over by
        giving it.

    Raises
    ------
    ValueError
        If the teachers live in spaces of different dimension, or ids are not one for each old cluster.
    """
    if old.theta.d != new.theta.d:
        raise ValueError(f"teachers of d = {old.theta.d} and d = {new.theta.d} have no directions to compare")
    cosines = old.mu_ @ new.mu_.T
    return _matched(cosines, SAME_COSINE, _shared_mass(old, new, x), cosines, ids, next_id)


def crosswalk_of_labels(
    old_labels: NDArray[np.integer],
    new_labels: NDArray[np.integer],
    shape: tuple[int, int],
    *,
    ids: Sequence[int] | None = None,
    next_id: int | None = None,
) -> Crosswalk:
    """Match two labelings of the same documents, where the teachers live in different spaces.

    Clusters are matched by their Dice overlap, ``2 |A and B| / (|A| + |B|)``; no cosines are known.

    Parameters
    ----------
    old_labels, new_labels
        Cluster of every shared document, same order, shape (n,).
    shape
        Numbers of old and of new clusters.
    ids, next_id
        As for :func:`crosswalk`.

    Raises
    ------
    ValueError
        If no document is shared, or ids are not one for each old cluster.
    """
    if len(old_labels) == 0 or len(old_labels) != len(new_labels):
        raise ValueError(f"{len(old_labels)} old and {len(new_labels)} new labels: nothing to match the clusters by")
    mass = np.zeros(shape)
    np.add.at(mass, (old_labels, new_labels), 1.0)
    mass /= len(old_labels)
    sizes = mass.sum(axis=1)[:, None] + mass.sum(axis=0)
    overlap = np.divide(2 * mass, sizes, out=np.zeros(shape), where=sizes > 0)
    return _matched(overlap, SAME_OVERLAP, mass, np.full(shape, np.nan), ids, next_id)


def _matched(
    likeness: Floats,
    least: float,
    mass: Floats,
    cosines: Floats,
    ids: Sequence[int] | None,
    next_id: int | None,
) -> Crosswalk:
    k_old, k_new = likeness.shape
    known = np.arange(k_old, dtype=np.int64) if ids is None else np.asarray(ids, dtype=np.int64)
    if len(known) != k_old or len(np.unique(known)) != len(known):
        raise ValueError(f"{k_old} distinct ids are needed for the old clusters, got {len(np.unique(known))}")
    rows, columns = linear_sum_assignment(-likeness)
    source = np.full(k_new, -1, dtype=np.int32)
    alike = likeness[rows, columns] >= least
    source[columns[alike]] = rows[alike]
    births = np.flatnonzero(source < 0)
    fresh = int(known.max()) + 1 if next_id is None else next_id
    if fresh <= known.max():
        raise ValueError(f"next_id {fresh} is taken: the old ids go up to {known.max()}")
    new_ids = np.where(source >= 0, known[source], 0)
    new_ids[births] = fresh + np.arange(births.size)
    continued = source >= 0
    return Crosswalk(
        ids=new_ids,
        source=source,
        cosine=np.where(continued, cosines[source, np.arange(k_new)], np.nan),
        mass=mass,
        births=tuple(int(j) for j in births),
        deaths=tuple(int(i) for i in np.setdiff1d(np.arange(k_old), source)),
        splits=_parts(mass),
        merges=_parts(mass.T),
        kept=float(mass[source[continued], np.flatnonzero(continued)].sum()),
    )


def aligned(new: GemTeacher, walk: Crosswalk) -> GemTeacher:
    """The new teacher with its clusters in the places of the old ones that they continue.

    For equal numbers of clusters, index i then means the same cluster in both; births take the places of deaths.
    Otherwise continued clusters come first, in the order of the old ones, births last.
    """
    return new.permuted(places(walk))


def places(walk: Crosswalk) -> NDArray[np.int64]:
    """Which new cluster goes to each index, shape (K_new,); see :func:`aligned`."""
    k_old, k_new = walk.mass.shape
    continued = np.flatnonzero(walk.source >= 0)
    if k_old != k_new:
        return np.concatenate([continued[np.argsort(walk.source[continued])], walk.births]).astype(np.int64)
    order = np.empty(k_new, dtype=np.int64)
    order[walk.source[continued]] = continued
    order[list(walk.deaths)] = walk.births
    return order


def rearranged(walk: Crosswalk, order: NDArray[np.int64]) -> Crosswalk:
    """The same crosswalk with new cluster ``order[i]`` at index ``i``; births are numbered in their new order."""
    source, mass = walk.source[order], walk.mass[:, order]
    ids = walk.ids[order]
    births = np.flatnonzero(source < 0)
    ids[births] = np.sort(ids[births])
    return replace(
        walk,
        ids=ids,
        source=source,
        cosine=walk.cosine[order],
        mass=mass,
        births=tuple(int(j) for j in births),
        splits=_parts(mass),
        merges=_parts(mass.T),
    )


def _shared_mass(old: GemTeacher, new: GemTeacher, x: Rows) -> Floats:
    mass = np.zeros((old.theta.k, new.theta.k))
    n = x.shape[0]
    for start in range(0, n, 65_536):
        rows = np.asarray(x[start : start + 65_536])
        np.add.at(mass, (old.predict(rows), new.predict(rows)), 1.0)
    return mass / n


def _parts(mass: Floats) -> tuple[tuple[int, tuple[int, ...]], ...]:
    total = mass.sum(axis=1, keepdims=True)
    shares = mass / np.where(total > 0, total, 1.0)
    found = [(i, tuple(int(j) for j in np.flatnonzero(row >= PART_SHARE))) for i, row in enumerate(shares)]
    return tuple((i, parts) for i, parts in found if len(parts) > 1)
