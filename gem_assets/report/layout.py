"""Places in the plane: for documents, and for the names written over them.

All of it is deterministic and cheap next to drawing: a K × K eigenproblem and a few hundred sweeps over the labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_SWEEPS = 400
_SHARPNESS = 1.6
_ISLAND = 0.16


def pca_plane(vectors: Floats) -> NDArray[np.float64]:
    """Project rows on their two widest directions; ``(n, 2)``, signs fixed by the largest loading."""
    if len(vectors) == 0:
        return np.zeros((0, 2))
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, np.argsort(-values, kind="stable")[:2]]
    plane *= np.where(plane[np.argmax(np.abs(plane), axis=0), np.arange(plane.shape[1])] < 0, -1.0, 1.0)
    placed = centred @ plane
    return placed if placed.shape[1] == 2 else np.column_stack([placed[:, 0], np.zeros(len(placed))])


def landmark_map(vectors: Floats, labels: NDArray[np.integer[Any]], n_clusters: int) -> NDArray[np.float64]:
    """Place documents between the cluster centres that they resemble.

    The centres are laid out by metric scaling of their angles (SMACOF from the classical solution). A document stands
    at the average of the centres, weighted by ``exp`` of its cosine to each in units of the spread of its cosines, so
    two clusters that share documents have documents between them. Around that place it is moved along its cluster's own
    two widest directions, by an amount that gives each cluster an area in proportion to its size.

    Returns
    -------
    NDArray[np.float64]
        ``(n, 2)``.
    """
    if len(vectors) == 0:
        return np.zeros((0, 2))
    rows = np.asarray(vectors, np.float64)
    present = [k for k in range(n_clusters) if np.any(labels == k)]
    centres = np.array([rows[labels == k].sum(axis=0) for k in present])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    angles = np.arccos(np.clip(centres @ centres.T, -1, 1))
    np.fill_diagonal(angles, 0.0)
    places = _smacof(angles)
    cosines = rows @ centres.T
    spread = cosines.std(axis=1, keepdims=True) if len(present) > 1 else np.ones((len(rows), 1))
    logits = _SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    weights = np.exp(logits)
    weights /= weights.sum(axis=1, keepdims=True)
    placed = weights @ places
    frame = float(np.ptp(places, axis=0).max()) or 1.0
    for k in present:
        own = np.flatnonzero(labels == k)
        local = pca_plane(rows[own])
        width = np.sqrt((local**2).sum(axis=1).mean())
        radius = _ISLAND * frame * np.sqrt(len(own) / len(rows))
        if width > 1e-9:
            placed[own] += radius * np.clip(local / width, -2.5, 2.5)
    return placed


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
