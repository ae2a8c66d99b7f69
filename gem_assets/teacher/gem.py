"""The GEM teacher: a mixture of von Mises–Fisher clusters whose sizes are held near a target.

Prior weights stay at 1/K; balance acts on the mass that the documents give each cluster, through a penalty
``(lam/2) ||pi - u||^2`` on the objective per document. The fit alternates an exact E-step, which carries a duality gap
as its certificate, with the exact M-step; the objective cannot fall, and a fit in which it does is refused.

``b_``, the offsets of the E-step's dual, belong to the model: they keep unseen documents balanced too.
"""

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from gem_assets.teacher.ascent import Iteration, MonotonicityError, Progress
from gem_assets.teacher.config import CODE_VERSION, EStepName, LamRule, TeacherConfig
from gem_assets.teacher.esteps import softmax_rows, uniform
from gem_assets.teacher.fitting import Fit, Previous
from gem_assets.teacher.mstep import Sums, Theta
from gem_assets.teacher.rows import Blocks, RowError, Rows, check_distinct, check_rows, worker_pool
from gem_assets.teacher.sparse import CertificateError
from gem_assets.types import Floats

__all__ = ["CertificateError", "GemTeacher", "MonotonicityError", "NotFittedError", "RowError"]

PREDICT_BLOCK = 16_384
PARAMETERS_FILE = "teacher.safetensors"
#: Of the record and the arrays; the fit itself is versioned by ``CODE_VERSION``.
FORMAT = 1
RECORD_FILE = "teacher.json"


class NotFittedError(RuntimeError):
    """A question that only a fitted teacher can answer."""


class GemTeacher:
    """Balanced clustering of unit vectors.

    Parameters
    ----------
    k
        Number of clusters.
    lam
        Weight of the balance term: ``"auto"``, ``"paper"``, ``"least"`` or nats (see
        :mod:`gem_assets.teacher.config`).
    e_step
        ``"dual"`` (exact), ``"proximal"`` or ``"mirror"``.
    **options
        Other fields of :class:`gem_assets.teacher.config.TeacherConfig`.

    Attributes
    ----------
    mu_, kappa_, b_
        Mean directions (K, d), concentrations (K,) and offsets (K,), float64.
    shares_, mean_lengths_
        Soft shares ``pi`` (K,) and mean resultant lengths (K,) on the rows of the fit.
    lam_
        The lambda in force, in nats.
    objective_
        F per document after every iteration over which it may not fall.
    trace_
        The whole record, start included; ``claimed`` marks the lines of ``objective_``.
    gap_
        Duality gap of the final E-step on all rows, in nats per document.
    n_iter_, converged_
        Iterations on all rows, and whether a stopping rule ended them.
    labels_, responsibilities_
        Hard labels (n,) int32 and responsibilities (n, K) as a sparse array, for the rows of the fit.
    dropped_mass_
        Mean responsibility per document that ``responsibilities_`` leaves out.

    Notes
    -----
    "GEM: Geometric Entropy Mixing for Optimal LLM Data Curation", arXiv 2605.26121, Eq. 3, with the penalty taken
    per document; the dual E-step is derived in ``docs/gem.md``.
    """

    mu_: Floats
    kappa_: Floats
    b_: Floats
    shares_: Floats
    mean_lengths_: Floats
    lam_: float
    objective_: list[float]
    trace_: list[Iteration]
    gap_: float
    n_iter_: int
    converged_: bool
    n_rows_: int
    labels_: NDArray[np.int32]
    responsibilities_: csr_array
    dropped_mass_: float

    def __init__(
        self, k: int = 24, lam: LamRule | float = "auto", *, e_step: EStepName = "dual", **options: Any
    ) -> None:
        self.config = TeacherConfig(k=k, lam=lam, e_step=e_step, **options)

    @classmethod
    def from_config(cls, config: TeacherConfig) -> Self:
        """A teacher with the given settings."""
        teacher = cls()
        teacher.config = config
        return teacher

    @property
    def target(self) -> Floats:
        """Shares aimed at, shape (K,)."""
        if self.config.target is None:
            return uniform(self.config.k)
        return np.asarray(self.config.target) / sum(self.config.target)

    # -- fitting ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Rows,
        *,
        ids: Sequence[str] | None = None,
        previous: "GemTeacher | None" = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fit to unit rows.

        Parameters
        ----------
        x
            Shape (n, d), rows of length 1, float; may be memory-mapped.
        ids
            Names of the rows, for errors.
        previous
            Teacher to stay close to: the fit starts from it and its clusters count as ``anchor * n`` documents.
        progress
            Called with every line of the record.

        Raises
        ------
        RowError
            If rows are not unit vectors or fewer than K are distinct.
        MonotonicityError
            If the objective fell by more than round-off.
        CertificateError
            If the last E-step could not be solved to ``gap_tol``.
        ValueError
            If ``previous`` has another K or d.
        """
        check_rows(x, ids)
        check_distinct(x, self.config.k)
        earlier = None if previous is None else previous.as_previous(self.config.k, x.shape[1])
        with worker_pool(self.config.threads) as pool:
            fitted = Fit(self.config, pool, progress).run(x, earlier)
        self.mu_, self.kappa_, self.b_ = fitted.theta.mu, fitted.theta.kappa, fitted.theta.b
        self.shares_ = fitted.sums.mass / x.shape[0]
        self.mean_lengths_ = fitted.sums.mean_lengths()
        self.lam_, self.gap_ = fitted.lam, fitted.gap
        self.trace_ = fitted.trace
        self.objective_ = [line.objective for line in _last_claimed(fitted.trace)]
        self.n_iter_ = sum(1 for line in fitted.trace if line.stage == "climb")
        self.converged_ = fitted.converged
        self.n_rows_ = x.shape[0]
        self.labels_ = fitted.labels
        self.responsibilities_, self.dropped_mass_ = fitted.responsibilities, fitted.dropped_mass
        return self

    # -- using -----------------------------------------------------------------------------------------------------

    @property
    def theta(self) -> Theta:
        """Fitted parameters."""
        if not hasattr(self, "mu_"):
            raise NotFittedError("this teacher is not fitted: call fit(X) or GemTeacher.load(directory) first")
        return Theta(self.mu_, self.kappa_, self.b_)

    def log_joint(self, x: NDArray[np.floating]) -> Floats:
        """``log(f_k(x) / K) + b_k``, shape (n, K): what ``predict`` maximises."""
        return self._scores(x, offsets=True)

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.int32]:
        """Cluster of every row, shape (n,), int32."""
        parts = [
            self._scores(x[rows], offsets=True).argmax(axis=1).astype(np.int32)
            for rows in Blocks(x.shape[0], PREDICT_BLOCK).slices
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)

    def predict_proba(self, x: NDArray[np.floating]) -> Floats:
        """Responsibilities, shape (n, K)."""
        return softmax_rows(self.log_joint(x))[0]

    def score_samples(self, x: NDArray[np.floating]) -> Floats:
        """Log-likelihood of every row under the mixture with its fixed prior 1/K, in nats, shape (n,)."""
        return softmax_rows(self._scores(x, offsets=False))[1]

    def score(self, x: NDArray[np.floating]) -> float:
        """Mean of :meth:`score_samples`: what a drift check follows."""
        return float(self.score_samples(x).mean())

    def log_density(self, x: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
        """``log f_label(x)`` of every row under its own cluster (no prior, no offset), shape (n,)."""
        theta = self.theta
        constants = theta.constants() + np.log(theta.k)
        product = np.einsum("ij,ij->i", np.asarray(x, dtype=np.float64), theta.mu[labels])
        return constants[labels] + theta.kappa[labels] * product

    def permuted(self, order: NDArray[np.integer]) -> "GemTeacher":
        """The same teacher with cluster ``order[i]`` at index ``i``."""
        theta = self.theta
        if sorted(int(i) for i in order) != list(range(theta.k)):
            raise ValueError(f"order has to hold every index 0..{theta.k - 1} once")
        other = copy(self)
        for name in ("mu_", "kappa_", "b_", "shares_", "mean_lengths_"):
            setattr(other, name, getattr(self, name)[order])
        if hasattr(self, "labels_"):
            place = np.empty(theta.k, dtype=np.int32)
            place[order] = np.arange(theta.k, dtype=np.int32)
            other.labels_ = place[self.labels_]
            other.responsibilities_ = csr_array(self.responsibilities_[:, order])
        if self.config.target is not None:
            other.config = self.config.model_copy(update={"target": tuple(self.config.target[i] for i in order)})
        return other

    def as_previous(self, k: int, d: int) -> Previous:
        """What a refit with ``k`` clusters in ``d`` dimensions takes over.

        Raises
        ------
        ValueError
            If this teacher has another K or d.
        """
        theta = self.theta
        if (theta.k, theta.d) != (k, d):
            raise ValueError(
                f"the previous teacher has K = {theta.k}, d = {theta.d}; this fit has K = {k}, d = {d}: "
                "fit without it, and carry names over by the crosswalk"
            )
        sums = Sums(self.shares_, (self.shares_ * self.mean_lengths_)[:, None] * theta.mu)
        return Previous(theta, sums, self.lam_ / (float(theta.kappa.mean()) * k))

    def _scores(self, x: NDArray[np.floating], *, offsets: bool) -> Floats:
        theta = self.theta
        if x.ndim != 2 or x.shape[1] != theta.d:
            raise ValueError(f"rows of shape {x.shape} for a teacher of d = {theta.d}")
        scores = np.asarray(x, dtype=np.float64) @ theta.directions().T
        scores += theta.constants()
        if offsets:
            scores += theta.b
        return scores

    # -- keeping ---------------------------------------------------------------------------------------------------

    def save(self, directory: str | PathLike[str]) -> None:
        """Write ``teacher.safetensors`` and ``teacher.json`` into an existing directory."""
        folder = Path(directory)
        theta = self.theta
        arrays = {
            "mu": theta.mu,
            "kappa": theta.kappa,
            "b": theta.b,
            "shares": self.shares_,
            "mean_lengths": self.mean_lengths_,
        }
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, str(folder / PARAMETERS_FILE))
        record = {
            "format": FORMAT,
            "code_version": CODE_VERSION,
            "config": self.config.model_dump(mode="json"),
            "d": theta.d,
            "n_rows": self.n_rows_,
            "lam": self.lam_,
            "gap": self.gap_,
            "n_iter": self.n_iter_,
            "converged": self.converged_,
            "dropped_mass": self.dropped_mass_,
            "objective": self.objective_,
            "trace": [asdict(line) for line in self.trace_],
        }
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=True)
        (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; labels and responsibilities of the fitted rows are not kept.

        A teacher that an earlier version of the fit made is as good as it was: only its format has to be this one.

        Raises
        ------
        ValueError
            If the record is of another format or does not fit the arrays.
        """
        folder = Path(directory)
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        # the first records did not name their format
        if record.get("format", 1) != FORMAT:
            raise ValueError(
                f"{folder / RECORD_FILE} is of format {record['format']}, this version reads {FORMAT}: fit again, or "
                "open it with the version that wrote it"
            )
        arrays = load_file(str(folder / PARAMETERS_FILE))
        teacher = cls.from_config(TeacherConfig.model_validate(record["config"]))
        if arrays["mu"].shape != (teacher.config.k, record["d"]):
            raise ValueError(f"{folder / PARAMETERS_FILE} holds mu of shape {arrays['mu'].shape}, not as recorded")
        teacher.mu_, teacher.kappa_, teacher.b_ = arrays["mu"], arrays["kappa"], arrays["b"]
        teacher.shares_, teacher.mean_lengths_ = arrays["shares"], arrays["mean_lengths"]
        teacher.lam_, teacher.gap_ = record["lam"], record["gap"]
        teacher.n_rows_, teacher.n_iter_ = record["n_rows"], record["n_iter"]
        teacher.converged_, teacher.dropped_mass_ = record["converged"], record["dropped_mass"]
        teacher.objective_ = record["objective"]
        teacher.trace_ = [Iteration(**line) for line in record["trace"]]
        return teacher


def _last_claimed(trace: list[Iteration]) -> list[Iteration]:
    tail: list[Iteration] = []
    for line in reversed(trace):
        if not line.claimed:
            break
        tail.append(line)
    return tail[::-1]
