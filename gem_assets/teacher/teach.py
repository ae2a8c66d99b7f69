"""The teacher stage: takes vectors of the seed documents, gives a fitted and certified teacher.

What the asset stores is what :meth:`gem_assets.teacher.gem.GemTeacher.save` writes, and :class:`TeacherReport` is what
it shows. A refit is anchored on the last teacher, so that clusters keep their place and their names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gem_assets.teacher.ascent import Progress
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.rows import Rows


@dataclass(frozen=True)
class TeacherReport:
    """A fit in a few numbers; shares and ``n_eff`` are those of the hard labels on the seed documents."""

    n: int
    d: int
    k: int
    lam: float
    kappa_min: float
    kappa_mean: float
    kappa_max: float
    n_eff: float
    n_eff_over_k: float
    max_over_min: float
    gap: float
    objective: float
    monotone: bool
    converged: bool
    iterations: int


def fit_teacher(
    x: Rows,
    config: TeacherConfig,
    *,
    ids: Sequence[str] | None = None,
    previous: GemTeacher | None = None,
    progress: Progress | None = None,
) -> GemTeacher:
    """Fit a teacher to unit rows; anchored on ``previous`` where one of the same K and d is given.

    Parameters and errors as in :meth:`gem_assets.teacher.gem.GemTeacher.fit`.
    """
    return GemTeacher.from_config(config).fit(x, ids=ids, previous=previous, progress=progress)


def report(teacher: GemTeacher) -> TeacherReport:
    """Figures of a teacher that was fitted in this process."""
    theta = teacher.theta
    sizes = balance(teacher.labels_, theta.k)
    steps = np.diff(teacher.objective_)
    slack = 1e-9 * max(1.0, abs(teacher.objective_[-1])) + teacher.config.gap_tol
    return TeacherReport(
        n=teacher.n_rows_,
        d=theta.d,
        k=theta.k,
        lam=teacher.lam_,
        kappa_min=float(theta.kappa.min()),
        kappa_mean=float(theta.kappa.mean()),
        kappa_max=float(theta.kappa.max()),
        n_eff=sizes.n_eff,
        n_eff_over_k=sizes.n_eff_over_k,
        max_over_min=sizes.max_over_min,
        gap=teacher.gap_,
        objective=teacher.objective_[-1],
        monotone=bool(np.all(steps >= -slack)),
        converged=teacher.converged_,
        iterations=teacher.n_iter_,
    )
