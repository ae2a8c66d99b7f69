"""Other clusterings behind the teacher's interface, for comparison.

``fit(x)`` on unit rows, then ``labels_`` and ``predict(x)``. The two that differ from the teacher by lambda alone
(fixed prior without balance, balanced optimal transport) are teachers with another lambda; :func:`baseline` makes any
of them by name.
"""

from collections.abc import Sequence
from typing import Protocol, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.fitting import Fit
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.mstep import maximise
from gem_assets.teacher.rows import check_rows, worker_pool
from gem_assets.teacher.start import subsample
from gem_assets.types import Floats

METHODS = ("random", "kmeans", "spherical_kmeans", "movmf", "vmf_fixed_prior", "balanced_ot", "gem")
#: lambda of balanced transport, as a multiple of the teacher's own.
TRANSPORT_FACTOR = 100.0
#: Short fits of a mixture, as the teacher's settings have it.
STARTS = 6


class Clustering(Protocol):
    """What a comparison needs of a method."""

    labels_: NDArray[np.int32]

    def fit(self, x: NDArray[np.float32], /) -> Self:
        """Cluster unit rows (n, d)."""
        ...

    def predict(self, x: NDArray[np.float32], /) -> NDArray[np.int32]:
        """Cluster of every row."""
        ...


def baseline(method: str, k: int, *, seed: int = 0, starts: int = STARTS) -> Clustering:
    """A method of :data:`METHODS` with ``k`` clusters.

    Parameters
    ----------
    method, k, seed
        What, how many clusters, and the seed of all its draws.
    starts
        Short fits of which the mixtures continue the best; k-means and the random partition have one.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if method == "random":
        return RandomPartition(k, seed=seed)
    if method in ("kmeans", "spherical_kmeans"):
        return Centroids(k, spherical=method == "spherical_kmeans", seed=seed)
    if method == "movmf":
        return LearnedPrior(k, seed=seed, starts=starts)
    if method == "vmf_fixed_prior":
        return GemTeacher(k, 0.0, seed=seed, n_init=starts)
    if method == "balanced_ot":
        return BalancedTransport(k, seed=seed, starts=starts)
    if method == "gem":
        return GemTeacher(k, seed=seed, n_init=starts)
    raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")


class RandomPartition:
    """Every document in a cluster drawn evenly: perfect balance, no coherence."""

    def __init__(self, k: int, *, seed: int = 0) -> None:
        self._k = k
        self._seed = seed

    def fit(self, x: NDArray[np.floating]) -> Self:
        """Draw labels for the rows."""
        self.labels_ = self.predict(x)
        return self

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Draw labels; they do not depend on the rows."""
        return np.random.default_rng(self._seed).integers(0, self._k, len(x), dtype=np.int32)


class Centroids:
    """k-means by faiss on all rows; ``spherical`` keeps centroids at length 1 and compares by cosine."""

    def __init__(self, k: int, *, spherical: bool, seed: int = 0, iterations: int = 25) -> None:
        self._k = k
        self._spherical = spherical
        self._seed = seed
        self._iterations = iterations

    def fit(self, x: NDArray[np.floating]) -> Self:
        """Run the iterations asked for."""
        check_rows(x)
        rows = np.ascontiguousarray(x, dtype=np.float32)
        self._model = faiss.Kmeans(
            rows.shape[1],
            self._k,
            niter=self._iterations,
            seed=self._seed,
            spherical=self._spherical,
            max_points_per_centroid=len(rows),
            min_points_per_centroid=1,
        )
        self._model.train(rows)
        self.centroids_ = np.asarray(self._model.centroids, dtype=np.float32)
        self.labels_ = self.predict(rows)
        return self

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Nearest centroid."""
        found = self._model.index.search(np.ascontiguousarray(x, dtype=np.float32), 1)[1]
        return found[:, 0].astype(np.int32)


class LearnedPrior:
    """Mixture of von Mises–Fisher clusters whose weights are learnt by EM (movMF): large clusters attract more."""

    def __init__(self, k: int, *, seed: int = 0, starts: int = STARTS, max_iter: int = 100, tol: float = 1e-5) -> None:
        self._config = TeacherConfig(k=k, lam=0.0, seed=seed, n_init=starts, max_iter=max_iter, tol=tol)

    def fit(self, x: NDArray[np.floating]) -> Self:
        """EM from the teacher's own start."""
        check_rows(x)
        c = self._config
        with worker_pool(c.threads) as pool:
            theta = Fit(c, pool).start(subsample(x, c.k, c.init_rows, c.seed))
            engine = DenseEngine(x, uniform(c.k), "dual", pool)
            log_prior = np.zeros(c.k)
            before = -np.inf
            for _ in range(c.max_iter):
                engine.score(theta)
                value = engine.statistics(log_prior).mean_lse
                sums = engine.sums_at(log_prior)
                if value - before < c.tol:
                    break
                before = value
                theta = maximise(sums, theta, c.kappa_min, c.kappa_max)
                # relative to 1/K, which the scores hold already
                log_prior = np.log(np.maximum(sums.mass / engine.n * c.k, 1e-12))
            self.labels_ = engine.labels()
        self._theta = theta.with_offsets(log_prior)
        self.prior_: Floats = np.exp(log_prior) / c.k
        return self

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Most probable cluster."""
        t = self._theta
        scores = np.asarray(x, dtype=np.float64) @ t.directions().T + t.constants() + t.b
        return scores.argmax(axis=1).astype(np.int32)


class BalancedTransport:
    """Teacher with lambda so large that shares are equal: entropic transport onto equal columns."""

    def __init__(self, k: int, *, seed: int = 0, starts: int = STARTS) -> None:
        self._k = k
        self._seed = seed
        self._starts = starts

    def fit(self, x: NDArray[np.floating]) -> Self:
        """Fit at the teacher's lambda, then from there at a hundred times as much."""
        first = GemTeacher(self._k, seed=self._seed, n_init=self._starts).fit(x)
        lam = TRANSPORT_FACTOR * first.lam_
        self.teacher_ = GemTeacher(self._k, lam, seed=self._seed, anchor=0.0).fit(x, previous=first)
        self.labels_ = self.teacher_.labels_
        return self

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Cluster of every row."""
        return self.teacher_.predict(x)


class ImportedTaxonomy:
    """A column that the user has already, as a clustering; rows without a value make one cluster of their own.

    Parameters
    ----------
    values
        One value per row, such as a human taxonomy's topic; ``None`` where there is none.

    Attributes
    ----------
    names_
        Distinct values, sorted; the empty name stands for missing ones.
    labels_
        Index into ``names_`` of every row.
    centroids_
        Mean direction of each value, after ``fit``.
    """

    def __init__(self, values: Sequence[str | None]) -> None:
        names = ["" if value is None else value for value in values]
        self.names_, codes = np.unique(np.asarray(names), return_inverse=True)
        self.labels_ = codes.astype(np.int32)

    def fit(self, x: NDArray[np.floating]) -> Self:
        """Learn where the values lie, for rows that have none.

        Raises
        ------
        ValueError
            If there is not one value for each row.
        """
        if len(x) != len(self.labels_):
            raise ValueError(
                f"the imported column holds {len(self.labels_)} values for {len(x)} rows: give one per row"
            )
        check_rows(x)
        sums = np.zeros((len(self.names_), x.shape[1]))
        np.add.at(sums, self.labels_, x)
        self.centroids_ = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return self

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Value whose mean direction is nearest; rows of the column itself keep their value in ``labels_`` only."""
        return (np.asarray(x, dtype=np.float64) @ self.centroids_.T).argmax(axis=1).astype(np.int32)


def spherical_kmeans_labels(
    x: NDArray[np.floating], k: int, *, seed: int = 0, iterations: int = 25
) -> NDArray[np.int32]:
    """Labels of spherical k-means by faiss on all rows."""
    return Centroids(k, spherical=True, seed=seed, iterations=iterations).fit(x).labels_
