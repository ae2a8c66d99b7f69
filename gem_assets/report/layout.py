"""Places in the plane: for documents, and for the names written over them.

All of it is deterministic and cheap next to drawing: a K × K eigenproblem and a few hundred sweeps over the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_SWEEPS = 400
_SHARPNESS = 1.6
_ISLAND = 0.16
_FARTHEST = 2.5


def landmark_map(vectors: Floats, labels: NDArray[np.integer[Any]], n_clusters: int) -> NDArray[np.float64]:
    """Place documents between the cluster centres that they resemble; ``(n, 2)``. See :class:`LandmarkMap`."""
    return LandmarkMap.fit(vectors, labels, n_clusters).place(vectors, labels)


@dataclass(frozen=True)
class LandmarkMap:
    """A map that keeps its landmarks, so that further documents are placed without moving the others.

    The centres are laid out by metric scaling of their angles (SMACOF from the classical solution). A document stands
    at the average of the centres, weighted by ``exp`` of its cosine to each in units of the spread of its cosines, so
    two clusters that share documents have documents between them. Around that place it is moved along its cluster's own
    two widest directions, by an amount that gives each cluster an area in proportion to its size.

    Attributes
    ----------
    clusters
        Ids of the clusters that had documents, ascending ``(m,)``.
    centres
        Unit centres ``(m, d)``.
    places
        Where they stand ``(m, 2)``.
    middles, axes, widths, radii
        Of each cluster: the mean of its documents ``(m, d)``, its two widest directions ``(m, d, 2)``, their spread
        along these, and the radius that this spread becomes on the map, both ``(m,)``.
    """

    clusters: NDArray[np.int64]
    centres: NDArray[np.float64]
    places: NDArray[np.float64]
    middles: NDArray[np.float64]
    axes: NDArray[np.float64]
    widths: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def fit(cls, vectors: Floats, labels: NDArray[np.integer[Any]], n_clusters: int) -> "LandmarkMap":
        """Lay the clusters of a sample out.

        Parameters
        ----------
        vectors
            Unit rows ``(n, d)``.
        labels
            Cluster of each row, below ``n_clusters``.
        """
        rows = np.asarray(vectors, np.float64)
        present = [k for k in range(n_clusters) if np.any(labels == k)]
        width = rows.shape[1] if rows.ndim == 2 else 0
        if not present:
            none = np.zeros(0)
            empty = np.zeros((0, width))
            return cls(none.astype(np.int64), empty, np.zeros((0, 2)), empty, np.zeros((0, width, 2)), none, none)
        centres = np.array([rows[labels == k].sum(axis=0) for k in present])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        angles = np.arccos(np.clip(centres @ centres.T, -1, 1))
        np.fill_diagonal(angles, 0.0)
        places = _smacof(angles)
        frame = float(np.ptp(places, axis=0).max()) or 1.0
        middles, axes = np.zeros((len(present), width)), np.zeros((len(present), width, 2))
        widths, radii = np.zeros(len(present)), np.zeros(len(present))
        for i, k in enumerate(present):
            own = rows[labels == k]
            middles[i], axes[i] = _widest(own)
            widths[i] = np.sqrt((((own - middles[i]) @ axes[i]) ** 2).sum(axis=1).mean())
            radii[i] = _ISLAND * frame * np.sqrt(len(own) / len(rows))
        return cls(np.array(present, np.int64), centres, places, middles, axes, widths, radii)

    def place(self, vectors: Floats, labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Place documents ``(n, d)`` with their clusters ``(n,)``; float64 ``(n, 2)``.

        A document of a cluster that had none in the sample stands where its cosines put it.
        """
        if len(vectors) == 0 or len(self.clusters) == 0:
            return np.zeros((len(vectors), 2))
        rows = np.asarray(vectors, np.float64)
        cosines = rows @ self.centres.T
        spread = cosines.std(axis=1, keepdims=True) if len(self.clusters) > 1 else np.ones((len(rows), 1))
        logits = _SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
        weights = np.exp(logits)
        weights /= weights.sum(axis=1, keepdims=True)
        placed = weights @ self.places
        for i, k in enumerate(self.clusters):
            own = np.flatnonzero(labels == k)
            if self.widths[i] > 1e-9 and len(own):
                local = (rows[own] - self.middles[i]) @ self.axes[i]
                placed[own] += self.radii[i] * np.clip(local / self.widths[i], -_FARTHEST, _FARTHEST)
        return placed

    def turned_onto(self, before: "LandmarkMap", pairs: Sequence[tuple[int, int]]) -> "LandmarkMap":
        """Return this map turned and mirrored so that clusters come to stand where they stood before.

        ``pairs`` are a cluster here and the cluster there that it continues; with fewer than two nothing is turned.
        """
        here, there = list(self.clusters), list(before.clusters)
        both = [(here.index(a), there.index(b)) for a, b in pairs if a in here and b in there]
        if len(both) < 2:
            return self
        ours, theirs = self.places[[a for a, _ in both]], before.places[[b for _, b in both]]
        left, _, right = np.linalg.svd((ours - ours.mean(axis=0)).T @ (theirs - theirs.mean(axis=0)))
        turn = left @ right
        moved = (self.places - ours.mean(axis=0)) @ turn + theirs.mean(axis=0)
        return replace(self, places=moved, axes=self.axes @ turn)


def _widest(vectors: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of rows ``(n, d)`` and their two widest directions ``(d, 2)``; the second is zero where d is 1."""
    middle = np.asarray(np.mean(vectors, axis=0, dtype=np.float64))
    centred = np.asarray(vectors, np.float64) - middle
    values, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, np.argsort(-values, kind="stable")[:2]]
    plane *= np.where(plane[np.argmax(np.abs(plane), axis=0), np.arange(plane.shape[1])] < 0, -1.0, 1.0)
    return middle, plane if plane.shape[1] == 2 else np.column_stack([plane[:, 0], np.zeros(len(plane))])


def _smacof(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    k = len(distances)
    if k == 1:
        return np.zeros((1, 2))
    middle = np.eye(k) - 1.0 / k
    values, axes = np.linalg.eigh(-0.5 * middle @ distances**2 @ middle)
    best = np.argsort(-values, kind="stable")[:2]
    places = axes[:, best] * np.sqrt(np.maximum(values[best], 1e-9))
    places *= np.where(places[np.argmax(np.abs(places), axis=0), np.arange(places.shape[1])] < 0, -1.0, 1.0)
    if k == 2:
        return places
    for _ in range(_SWEEPS):
        now = np.linalg.norm(places[:, None] - places[None], axis=2)
        ratio = np.divide(distances, now, out=np.zeros_like(now), where=now > 1e-12)
        pull = -ratio
        np.fill_diagonal(pull, ratio.sum(axis=1))
        places = pull @ places / k
    return places


def spread_labels(anchors: Floats, boxes: Floats, sweeps: int = _SWEEPS) -> NDArray[np.float64]:
    """Move label centres apart until their boxes do not overlap, no further from their anchors than needed.

    Parameters
    ----------
    anchors
        Wanted centres ``(m, 2)``.
    boxes
        Width and height of each label ``(m, 2)``, in the same units.
    """
    places = np.asarray(anchors, np.float64).copy()
    sizes = np.asarray(boxes, np.float64)
    for _ in range(sweeps):
        moved = False
        for i in range(len(places)):
            for j in range(i + 1, len(places)):
                gap = places[j] - places[i]
                overlap = (sizes[i] + sizes[j]) / 2 - np.abs(gap)
                if np.all(overlap > 1e-9 * sizes[i]):
                    moved = True
                    axis = int(np.argmin(overlap))
                    step = 0.5 * overlap[axis] * (1.0 if gap[axis] >= 0 else -1.0)
                    places[i, axis] -= step
                    places[j, axis] += step
        if not moved:
            break
    return places
