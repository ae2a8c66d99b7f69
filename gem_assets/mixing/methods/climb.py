"""CLIMB: a mixture found by climbing, each round's mixtures drawn from the best that the round before predicts.

Diao et al. 2025 (Nemotron-CLIMB, arXiv 2504.13161), with the settings of its public recipe. In round one mixtures come
from the RegMix sampler. After each round a LightGBM regressor (learning rate 0.01, at most 1000 rounds, depth 4, leaves
of at least 5 runs, L1 and L2 penalties of 1, a tenth of the runs held out to stop on) is fitted to all runs so far;
100,000 mixtures from ``Dirichlet(q)`` are ranked by it, and of the best ``max(m², 128)`` the next ``m`` are chosen at
random. Rounds of 64, 32 and 16 (4 : 2 : 1, the best allocation in the paper); the answer is the best predicted mixture.

What differs: the paper maximises mean accuracy of benchmarks, here the mean loss of the targets is minimised;
mixtures that are trained or answered are brought within the repetition caps first; and where few runs leave the trees
flat, so that no draw is better than another, the answer is the best mixture that was evaluated. The paper's
clustering, pruning by raters and merging are not part of this; its clusters are whatever clusters there are.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.base import folds
from gem_assets.mixing.methods.base import (
    SWARM,
    TEACHER,
    TOKENS,
    TRAINED_CODE_VERSION,
    Method,
    MethodWork,
    proxy_settings,
)
from gem_assets.mixing.recipe import Recipe
from gem_assets.types import Floats

if TYPE_CHECKING:
    import lightgbm as lgb

    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.mixing.swarm.runs import TrainedSwarm

CLIMB = "climb"

#: From mixtures ``(m, K)`` to the objective of each ``(m,)``, smaller is better.
Evaluate = Callable[[Floats, int], Floats]

ROUNDS = (64, 32, 16)
DRAWS = 100_000
_LEAST_POOL = 128
_BOOTSTRAPS = 20


@dataclass(frozen=True)
class ClimbRound:
    """What one round added."""

    mixtures: Floats
    objective: Floats


@dataclass(frozen=True)
class ClimbResult:
    """Where the climb ended.

    ``held_out``, ``(n,)``, are five-fold held-out predictions of all runs, in their order.
    """

    shares: Floats
    rounds: tuple[ClimbRound, ...]
    predictor: "ClimbPredictor"
    held_out: Floats

    @property
    def mixtures(self) -> Floats:
        """All mixtures evaluated, ``(n, K)``."""
        return np.concatenate([r.mixtures for r in self.rounds])

    @property
    def objective(self) -> Floats:
        """Their objective, ``(n,)``."""
        return np.concatenate([r.objective for r in self.rounds])

    def bootstrap(self, points: Floats, seed: int = 0) -> Floats:
        """Predict points ``(m, K)`` with predictors fitted to resampled runs; ``(20, m)``."""
        rng = np.random.default_rng([seed, 2])
        n = len(self.objective)
        found: list[Floats] = []
        for _ in range(_BOOTSTRAPS):
            rows = rng.integers(0, n, n)
            found.append(ClimbPredictor().fit(self.mixtures[rows], self.objective[rows]).predict(points))
        return np.array(found)


class ClimbPredictor:
    """The regressor of CLIMB's public recipe."""

    booster_: "lgb.Booster"

    def fit(self, mixtures: Floats, objective: Floats) -> "ClimbPredictor":
        """Fit to runs ``(n, K)`` and ``(n,)``; a tenth of them decides when to stop."""
        import lightgbm as lgb

        order = np.random.default_rng(42).permutation(len(objective))
        held = order[: max(1, len(order) // 10)]
        kept = np.setdiff1d(order, held)
        settings: dict[str, Any] = {
            "objective": "regression",
            "metric": "l2",
            "learning_rate": 0.01,
            "max_depth": 4,
            "min_data_in_leaf": 5,
            "lambda_l1": 1.0,
            "lambda_l2": 1.0,
            "min_data_in_bin": 1,
            "seed": 42,
            "num_threads": 1,
            "deterministic": True,
            "verbosity": -1,
        }
        # the penalties of 1 are meant for accuracies in percent; a loss in nats would be flattened by them
        self._centre, self._scale = float(objective.mean()), max(float(objective.std()), 1e-12) / 10
        values = (objective - self._centre) / self._scale
        data = lgb.Dataset(mixtures[kept], values[kept], params=settings)
        stop = lgb.Dataset(mixtures[held], values[held], reference=data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            quiet = lgb.early_stopping(min(20, len(held)), verbose=False)
            self.booster_ = lgb.train(settings, data, 1000, valid_sets=[stop], callbacks=[quiet])
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the objective ``(m,)`` of mixtures ``(m, K)``."""
        rows = np.atleast_2d(mixtures)
        found = self.booster_.predict(rows, num_iteration=self.booster_.best_iteration)
        return self._centre + self._scale * np.asarray(found, np.float64)


def climb(
    first: ClimbRound,
    evaluate: Evaluate,
    prior: Floats,
    caps: Floats | None = None,
    *,
    sizes: Sequence[int] = ROUNDS[1:],
    draws: int = DRAWS,
    seed: int = 0,
) -> ClimbResult:
    """Climb from the runs of a first round.

    Raises ValueError when the first round has fewer than 8 runs, or an evaluation is not finite.

    Parameters
    ----------
    first
        Mixtures that are evaluated already, as a swarm holds them.
    evaluate
        Called once per round with mixtures ``(m, K)`` and the number of the round (2, 3, ...).
    prior
        ``q``, the natural shares.
    caps
        Largest shares; none by default.
    """
    if len(first.objective) < 8:
        raise ValueError(
            f"CLIMB's first round has {len(first.objective)} runs, it needs 8 at least; train more proxies"
        )
    q = np.asarray(prior, np.float64) / np.sum(prior)
    limit = np.full(len(q), np.inf) if caps is None else np.asarray(caps, np.float64)
    rng = np.random.default_rng(seed)
    rounds = [first]
    for number, size in enumerate(sizes, start=2):
        pool = _ranked(_fitted(rounds), q, rng, draws)[: max(size**2, _LEAST_POOL)]
        chosen = pool[rng.choice(len(pool), min(size, len(pool)), replace=False)]
        mixtures = np.array([apply_caps(row, limit) for row in chosen])
        objective = np.asarray(evaluate(mixtures, number), np.float64)
        if objective.shape != (len(mixtures),) or not np.isfinite(objective).all():
            raise ValueError(f"round {number} of the climb gave an objective that is not finite for every mixture")
        rounds.append(ClimbRound(mixtures, objective))
    predictor = _fitted(rounds)
    best = _ranked(predictor, q, rng, draws)[:_LEAST_POOL]
    capped = np.array([apply_caps(row, limit) for row in best])
    mixtures, objective = (np.concatenate([getattr(r, name) for r in rounds]) for name in ("mixtures", "objective"))
    predicted = predictor.predict(capped)
    flat = np.ptp(predictor.predict(mixtures)) == 0
    answer = apply_caps(mixtures[np.argmin(objective)], limit) if flat else capped[int(np.argmin(predicted))]
    held_out = np.empty(len(objective))
    for train, test in folds(len(objective), 5, seed):
        held_out[test] = ClimbPredictor().fit(mixtures[train], objective[train]).predict(mixtures[test])
    return ClimbResult(answer, tuple(rounds), predictor, held_out)


def _fitted(rounds: Sequence[ClimbRound]) -> ClimbPredictor:
    return ClimbPredictor().fit(
        np.concatenate([r.mixtures for r in rounds]), np.concatenate([r.objective for r in rounds])
    )


def _ranked(predictor: ClimbPredictor, q: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Draws from ``Dirichlet(q)``, best predicted first."""
    active = q > 0
    drawn = np.zeros((draws, len(q)))
    # Dirichlet with concentrations far below 1 underflows to 0/0 now and then: such draws are left out
    rows = rng.dirichlet(q[active], draws)
    drawn[:, active] = rows
    drawn = drawn[np.isfinite(rows).all(axis=1)]
    return drawn[np.argsort(predictor.predict(drawn), kind="stable")]


def publish_climb_recipe(result: ClimbResult, swarm: "TrainedSwarm", frame: "MixtureFrame", out: Path) -> Recipe:
    """Write where the climb ended, with the predictions of its last regressor and of resampled ones."""
    from gem_assets.mixing.evidence import SearchEvidence, publish_searched, rival_points

    points = rival_points(result.shares, frame)
    sizes = " + ".join(str(len(r.objective)) for r in result.rounds)
    found = SearchEvidence(
        result.shares,
        result.objective,
        result.held_out,
        result.predictor.predict(points),
        result.bootstrap(points, frame.config.seed),
        law="LightGBM on the mean loss",
        told=f"LightGBM on the mean loss, rounds of {sizes}",
        doubt="resampled runs",
    )
    rounds = [
        {"round": n, "mixtures": len(r.objective), "best": float(r.objective.min()), "mean": float(r.objective.mean())}
        for n, r in enumerate(result.rounds, start=1)
    ]
    return publish_searched(CLIMB, found, swarm, frame, out, {"rounds": rounds})


def make(work: MethodWork) -> Recipe:
    """Climb from the pinned swarm and write where it ends."""
    from gem_assets.mixing.evidence import swarm_objective
    from gem_assets.mixing.swarm.growth import read_trained

    trained, frame = read_trained(work.folder(SWARM)), work.frame
    objective, train = swarm_objective(trained), work.trainer(work.swarm_spec(work.settings.proxy))
    size = len(trained.labels)
    found = climb(
        ClimbRound(trained.table.mixtures, objective(trained.table.losses)),
        lambda mixtures, number: objective(train(mixtures, f"{CLIMB}-{number}")),
        frame.supply.token_shares,
        frame.caps,
        sizes=(max(1, size // 2), max(1, size // 4)),
        seed=frame.config.seed,
    )
    return publish_climb_recipe(found, trained, frame, work.out)


METHOD = Method(
    CLIMB,
    "learned",
    "CLIMB: two more rounds of proxies, half and a quarter as many as the swarm, each drawn from the best that boosted "
    "trees predict; rows join the swarm's growing table.",
    make,
    proxy_settings,
    cost="a swarm, and three quarters as many proxies again",
    use="the good region is small",
    source="Diao et al. 2025",
    needs=(SWARM, TOKENS, TEACHER),
    trains=True,
    libraries=("lightgbm", "torch", "numpy"),
    # 2: the best run where the trees are flat
    code_version=f"{TRAINED_CODE_VERSION}.2",
)
