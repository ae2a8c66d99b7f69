"""Fit parameters to rows: start, sample, climb, certificate.

1. short annealed fits on a few thousand rows (:mod:`gem_assets.teacher.start`);
2. where there are many rows, a climb on a tenth of them, which costs a tenth and saves half the iterations that follow;
3. the climb on all rows, at a lambda that stands still;
4. one exact E-step, whose duality gap is the certificate.

Balance is asked for by lambda, and whether it came about is looked at afterwards: the rule "auto" doubles lambda while
the largest cluster is more than ``max_over_min`` times the smallest, the rule "least" raises it until the effective
number of clusters is reached. Isolated pockets of near duplicates can make either fail; the report says so.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gem_assets.teacher.ascent import Ascended, Ascent, Iteration, MonotonicityError, Plan, Progress
from gem_assets.teacher.config import BALANCE_RATIO, PAPER_RATIO, TeacherConfig
from gem_assets.teacher.device import DeviceEngine
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.mstep import Sums, Theta
from gem_assets.teacher.rows import Rows
from gem_assets.teacher.sparse import CertificateError, SparseEngine
from gem_assets.teacher.start import draw_rows, fixed_rule, least_ratio, scaled_rule, short_fits, subsample

#: Scores up to which the dense engine is taken by itself.
DENSE_SCORES = 2_000_000
#: Scores beyond which the short fits run in float32.
SINGLE_SCORES = 250_000
#: Share of K that a row's list may hold on average for the sparse engine to pay.
SPARSE_SHARE = 0.25
#: The sample is this share of the rows, and not taken when it would hold fewer rows than this for each cluster.
SAMPLE_SHARE = 0.1
SAMPLE_PER_CLUSTER = 50
#: The sample is held in memory, whatever the rows are: it has at most this many rows, or those it needs for K.
SAMPLE_MOST = 1_000_000
#: Clusters up to which all the short fits asked for are made; fewer beyond, at least one.
STARTS_UP_TO = 48
#: Factor on lambda and number of raises, by rule.
RAISES = {"auto": (2.0, 5), "least": (1.4, 8)}
#: Share of lambda by which its rule may have moved away during the climb before it is set again.
LAM_DRIFT = 0.02
MAX_ROUNDS = 3


@dataclass(frozen=True)
class Previous:
    """An earlier teacher to stay close to: its parameters, its sums per document, its lambda / (mean(kappa) K)."""

    theta: Theta
    sums: Sums
    ratio: float


@dataclass(frozen=True)
class Fitted:
    """Everything that a fit leaves behind; see the attributes of the teacher."""

    theta: Theta
    lam: float
    gap: float
    sums: Sums
    labels: NDArray[np.int32]
    responsibilities: csr_array
    dropped_mass: float
    trace: list[Iteration]
    converged: bool


FinalEngine = DenseEngine | SparseEngine | DeviceEngine


class Fit:
    """One fit; holds the settings and the record while it runs."""

    def __init__(
        self, config: TeacherConfig, pool: ThreadPoolExecutor | None = None, progress: Progress | None = None
    ) -> None:
        self._config = config
        self._pool = pool
        self._progress = progress
        self._trace: list[Iteration] = []
        self._target = uniform(config.k) if config.target is None else np.asarray(config.target) / sum(config.target)

    def run(self, x: Rows, previous: Previous | None = None) -> Fitted:
        """Fit to checked rows.

        Raises
        ------
        MonotonicityError
            If the objective fell by more than round-off.
        """
        c = self._config
        part = subsample(x, c.k, c.init_rows, c.seed)
        ratio = self._first_ratio()
        anchor = None
        if previous is not None:
            theta = previous.theta
            ratio = None if ratio is None else previous.ratio if c.lam == "least" else max(ratio, previous.ratio)
            anchor = previous.sums.scaled(x.shape[0] * c.anchor)
        else:
            theta = self.start(part)
            if c.lam == "least":
                wanted = c.target_n_eff * c.k
                ratio = least_ratio(part, theta, self._plan(ratio), self._target, wanted, self._pool)
        sparse = self._is_sparse(x, part, theta)
        large = sparse or c.device is not None
        if previous is None and large:
            theta, ratio = self._sample(x, theta, ratio, sparse)
        engine = self._engine(x, sparse)
        plan = self._plan(ratio, anchor=anchor, churn_tol=c.churn_tol if large else 0.0)
        end, _ = self._climb(engine, plan, theta, ratio, "climb", c.max_over_min)
        return self._certify(engine, end)

    def _first_ratio(self) -> float | None:
        """Value of lambda / (mean(kappa) K) to begin with; None for a lambda given in nats."""
        lam = self._config.lam
        if lam == "auto":
            return BALANCE_RATIO
        if lam == "paper":
            return PAPER_RATIO / self._config.k
        return 0.01 if lam == "least" else None

    def _plan(self, ratio: float | None, **changes: Any) -> Plan:
        c = self._config
        settings: dict[str, Any] = {
            "rule": scaled_rule(ratio) if ratio is not None else fixed_rule(float(c.lam)),
            "kappa_min": c.kappa_min,
            "kappa_max": c.kappa_max,
            "max_iter": c.max_iter,
            "tol": c.tol,
            "gap_tol": c.gap_tol,
            "relaxation": c.relaxation if c.e_step == "dual" else 1.0,
        }
        return Plan(**{**settings, **changes})

    def _report(self, line: Iteration) -> None:
        self._trace.append(line)
        if self._progress is not None:
            self._progress(line)

    def start(self, part: NDArray[np.float32]) -> Theta:
        """Best of the short annealed fits on the subsample ``part``."""
        c = self._config
        ratio = self._first_ratio()
        plan = self._plan(
            ratio,
            max_iter=10,
            tol=1e-3,
            gap_tol=1e-6,
            relaxation=c.relaxation,
            anneal_iter=c.anneal_iter,
            anneal_start=c.anneal_start,
            anneal_lam=ratio is None,
        )
        precision = np.float32 if len(part) * c.k > SINGLE_SCORES else np.float64
        engine = (
            self._engine(part, sparse=False)
            if c.device
            else DenseEngine(part, self._target, "dual", self._pool, precision)
        )
        return short_fits(
            engine,
            part,
            plan,
            c.k,
            count=max(1, round(c.n_init * min(1.0, STARTS_UP_TO / c.k))),
            seed=c.seed,
            max_over_min=c.max_over_min if c.target is None else np.inf,
            progress=self._report,
        )

    def _is_sparse(self, x: Rows, part: NDArray[np.float32], theta: Theta) -> bool:
        c = self._config
        if c.device is not None:
            return False
        if c.path != "auto" or c.e_step != "dual":
            return c.path == "sparse" and c.e_step == "dual"
        if x.shape[0] * c.k <= DENSE_SCORES:
            return False
        return SparseEngine(part, self._target, self._pool).list_length(theta) <= SPARSE_SHARE * c.k

    def _engine(self, x: Rows, sparse: bool) -> FinalEngine:
        if self._config.device is not None:
            return DeviceEngine(x, self._target, self._config.device, self._pool)
        if sparse:
            return SparseEngine(x, self._target, self._pool)
        return DenseEngine(x, self._target, self._config.e_step, self._pool)

    def _sample(self, x: Rows, theta: Theta, ratio: float | None, sparse: bool) -> tuple[Theta, float | None]:
        c = self._config
        count = int(SAMPLE_SHARE * x.shape[0])
        if count < max(SAMPLE_PER_CLUSTER * c.k, 2 * c.init_rows):
            return theta, ratio
        count = min(count, max(SAMPLE_MOST, SAMPLE_PER_CLUSTER * c.k))
        rows = np.asarray(x[draw_rows(x.shape[0], count, c.seed + 1)], dtype=np.float32)
        plan = self._plan(ratio, churn_tol=2 * c.churn_tol)
        # sizes on a sample scatter: a cluster of m rows by 1 / sqrt(m)
        bound = c.max_over_min * (1 + 2 * np.sqrt(c.k / count))
        end, ratio = self._climb(self._engine(rows, sparse), plan, theta, ratio, "sample", bound)
        return end.theta, ratio

    def _climb(
        self,
        engine: FinalEngine,
        plan: Plan,
        theta: Theta,
        ratio: float | None,
        stage: str,
        max_over_min: float,
    ) -> tuple[Ascended, float | None]:
        """Climb until lambda suits the final concentrations and the balance asked for is there."""
        factor, raises = RAISES.get(str(self._config.lam), (1.0, 0))
        rounds = 1
        while True:
            end = Ascent(engine, plan, stage, self._report).run(theta)
            theta = end.theta
            if ratio is None:
                return end, None
            if raises > 0 and self._misses(engine.labels(), max_over_min):
                raises -= 1
                ratio *= factor
            elif rounds < MAX_ROUNDS and abs(plan.rule(theta.kappa) - end.lam) > LAM_DRIFT * end.lam:
                rounds += 1
            else:
                return end, ratio
            plan = replace(plan, rule=scaled_rule(ratio))

    def _misses(self, labels: NDArray[np.int32], max_over_min: float) -> bool:
        c = self._config
        sizes = balance(labels, c.k)
        if c.lam == "least":
            return sizes.n_eff_over_k < c.target_n_eff
        return c.target is None and sizes.max_over_min > max_over_min

    def _certify(self, engine: FinalEngine, end: Ascended) -> Fitted:
        c = self._config
        exact = engine.certify(end.theta, end.lam, c.gap_tol)
        slack = engine.noise * max(1.0, abs(exact.objective)) + engine.left_out + c.gap_tol
        if exact.objective < end.last.objective - slack:
            raise MonotonicityError(
                f"the certified objective {exact.objective:.12g} is below the {end.last.objective:.12g} of the climb"
            )
        if exact.gap > c.gap_tol:
            raise CertificateError(
                f"the duality gap of the last E-step is {exact.gap:.3g} nats per document, above "
                f"gap_tol {c.gap_tol:.3g}"
            )
        responsibilities, dropped = engine.sparse_responsibilities(c.drop_nats)
        return Fitted(
            theta=end.theta.with_offsets(exact.b),
            lam=end.lam,
            gap=exact.gap,
            sums=engine.sums(),
            labels=engine.labels(),
            responsibilities=responsibilities,
            dropped_mass=dropped,
            trace=self._trace,
            converged=end.converged,
        )
