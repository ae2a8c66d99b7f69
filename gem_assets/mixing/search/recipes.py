"""Bayesian searches as recipes: they start from the swarm's runs and train further ones into the same table.

    bayes             proxies, one after the other, each where a Gaussian process expects the most (``bayes``)
    multi_fidelity    proxies and models of the confirmation's size, whichever tells more for its cost (``fidelity``)

Both choose among a fixed set of mixtures within the caps: half of them spread around the natural shares, half around
the swarm's best. What they propose follows from the runs so far and the seed; so a search that was killed proposes the
same again, finds those rows in the table, and loses at most the run that it was in.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.evidence import (
    RIVALS,
    SearchEvidence,
    publish_searched,
    rival_points,
    swarm_objective,
)
from gem_assets.mixing.laws.base import folds
from gem_assets.mixing.methods.bayes import process, search_pool
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.recipe_artifact import Floats, MixtureFrame
from gem_assets.mixing.search.fidelity import (
    FittedRuns,
    GaussianSurrogate,
    Surrogate,
    fit_runs,
    search_fidelities,
)
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.mixing.swarm.samplers import sample_low_discrepancy
from gem_assets.proxy.config import ProxyConfig

BAYES, MULTI_FIDELITY = "bayes", "multi_fidelity"
SEARCH_STRATEGIES = (BAYES, MULTI_FIDELITY)
#: From mixtures ``(m, K)`` and a label to losses ``(m, J)`` of the swarm's targets; trains what is missing.
Train = Callable[[Floats, str], Floats]

_BEST = 4
_CONCENTRATION = 30.0
_DRAWS = 2000
# a share that is next to nothing, so that no cluster is out of reach of the draws
_LEAST = 1e-3
_NOTHING = 1e-9
_FIDELITIES = (0.0, 1.0)


def candidate_mixtures(best: Floats, frame: MixtureFrame, count: int) -> Floats:
    """Draw mixtures within the caps, ``(count, K)``: half around the natural shares, half around the given ones.

    Parameters
    ----------
    best
        Mixtures that were seen to be good, ``(m, K)``.
    """
    prior, rng = frame.supply.token_shares, np.random.default_rng([frame.config.seed, 3])
    active = prior > 0
    spread = sample_low_discrepancy(prior, count - count // 2, seed=frame.config.seed)
    near = np.zeros((count // 2, len(prior)))
    for i in range(len(near)):
        centre = np.maximum(best[i % len(best)][active], _LEAST)
        near[i, active] = rng.dirichlet(_CONCENTRATION * centre / centre.sum())
    return np.array([_within(row, frame) for row in np.concatenate([spread, near])])


def publish_bayes_recipe(swarm: TrainedSwarm, train: Train, frame: MixtureFrame, out: Path) -> Recipe:
    """Train a few further proxies one after the other and write the best mixture that was run.

    Best is the lowest mean of the process, which one lucky run does not move far.

    Raises
    ------
    ValueError
        When the swarm has fewer than 8 runs, or a run's loss is not finite.
    """
    objective, conf = swarm_objective(swarm), frame.config
    known, values = _known(swarm, objective)
    pool = np.concatenate([known, candidate_mixtures(_best(known, values), frame, conf.search.candidates)])
    found = search_pool(
        pool,
        lambda row: float(objective(train(pool[row][None], f"{BAYES}-{row - len(known):03d}"))[0]),
        min(conf.search.proxies, len(pool) - len(known)),
        known=values,
        seed=conf.seed,
    )
    mixtures, losses = pool[list(found.tried)], np.array(found.losses)
    law = process(conf.seed).fit(mixtures, losses)
    capped = np.array([_within(row, frame) for row in mixtures])
    shares = capped[int(np.argmin(law.predict(capped)))]
    mean, covariance = law.joint(rival_points(shares, frame))
    held_out = np.empty(len(losses))
    for fitted, test in folds(len(losses), 5, conf.seed):
        held_out[test] = process(conf.seed).fit(mixtures[fitted], losses[fitted]).predict(mixtures[test])
    further = list(zip(found.tried, found.losses, strict=True))[len(known) :]
    evidence = SearchEvidence(
        shares,
        losses,
        held_out,
        mean,
        _posterior(mean, covariance, conf.seed),
        law="Gaussian process on the mean loss",
        told=f"Gaussian process on the mean loss, {len(known)} runs of the swarm + {len(further)}",
        doubt="posterior",
        notes=(f"lowest loss of the swarm {values.min():.4f}, of the search {min(loss for _, loss in further):.4f}",),
    )
    rows = [
        {"run": n, "mixture": row - len(known), "loss": loss, "largest_share": float(pool[row].max())}
        for n, (row, loss) in enumerate(further, start=1)
    ]
    return publish_searched(BAYES, evidence, swarm, frame, out, {"runs": rows})


def publish_fidelity_recipe(
    swarm: TrainedSwarm, train: Train, train_larger: Train, cost: float, frame: MixtureFrame, out: Path
) -> Recipe:
    """Spend a budget on models of two sizes and write the mixture that is expected to be best at the larger one.

    Parameters
    ----------
    train, train_larger
        Of proxies, and of models of the confirmation's size.
    cost
        Of a proxy, a larger model being 1.

    Raises
    ------
    ValueError
        When the swarm has fewer than 8 runs.
    BudgetError
        When a run's loss is not finite.
    MissingExtraError
        When botorch's process is asked for and not installed.
    """
    objective, conf = swarm_objective(swarm), frame.config
    surrogate = _surrogate(conf.search.surrogate)
    surrogate(conf.seed)  # what is missing is said before anything is trained
    known, values = _known(swarm, objective)
    rivals = rival_points(known[0], frame)[1:]
    near = candidate_mixtures(_best(known, values), frame, conf.search.candidates)
    pool, first = np.concatenate([known, rivals, near]), len(known)
    start = {(i, 0): float(loss) for i, loss in enumerate(values)}
    larger = objective(train_larger(rivals, f"{MULTI_FIDELITY}-rivals"))
    start |= {(first + i, 1): float(loss) for i, loss in enumerate(larger)}

    def evaluate(row: int, size: int) -> float:
        trained = (train, train_larger)[size](pool[row][None], f"{MULTI_FIDELITY}-{row - first:03d}")
        return float(objective(trained)[0])

    found = search_fidelities(
        pool,
        evaluate,
        _FIDELITIES,
        (cost, 1.0),
        float(conf.search.larger_models - len(rivals)),
        known=start,
        # those of the swarm may lie beyond the caps
        choices=range(first, len(pool)),
        surrogate=surrogate,
        seed=conf.seed,
    )
    fitted = _fit(pool, found.tried, found.losses, surrogate(conf.seed))
    shares = pool[found.recommended]
    mean, covariance = fitted.at_target(rival_points(shares, frame))
    dear = [n for n, (_, size) in enumerate(found.tried) if size]
    further = list(zip(found.tried, found.losses, strict=True))[len(start) :]
    evidence = SearchEvidence(
        shares,
        np.array([found.losses[n] for n in dear]),
        np.array([_left_out(pool, found.tried, found.losses, n, surrogate(conf.seed)) for n in dear]),
        mean,
        _posterior(mean, covariance, conf.seed),
        law="process over two sizes, larger models",
        told=f"Gaussian process over two model sizes ({conf.search.surrogate}), {len(values)} proxies of the swarm + "
        f"{sum(1 for (_, size), _ in further if not size)} + {len(dear)} larger models",
        doubt="posterior",
        notes=(
            f"a proxy counts as {cost:.3f} of a larger model; {found.cost + len(rivals):.2f} of them spent, "
            f"{' and '.join(RIVALS)} included",
            f"correlation and losses are of {len(dear)} larger models, each left out once",
        ),
        runs=len(found.losses),
    )
    rows = [
        {"run": n, "size": "larger" if size else "proxy", "mixture": row - first, "loss": loss}
        for n, ((row, size), loss) in enumerate(further, start=1)
    ]
    return publish_searched(MULTI_FIDELITY, evidence, swarm, frame, out, {"runs": rows})


def training_cost(config: ProxyConfig, vocab: int) -> float:
    """Cost of a run: its tokens times the parameters that each of them meets, the input embedding left out."""
    return config.training.tokens * float(config.model.non_embedding + config.model.width * vocab)


def _within(shares: Floats, frame: MixtureFrame) -> Floats:
    """Bring a mixture within the caps; where its own clusters cannot fill the budget the others do."""
    return apply_caps(shares + _NOTHING * frame.supply.token_shares, frame.caps)


def _known(swarm: TrainedSwarm, objective: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    if len(swarm.labels) < 8:
        raise ValueError(f"the swarm has {len(swarm.labels)} runs, a search needs 8 to start from; train more proxies")
    return swarm.table.mixtures, objective(swarm.table.losses)


def _best(mixtures: Floats, values: Floats) -> Floats:
    return mixtures[np.argsort(values, kind="stable")[:_BEST]]


def _posterior(mean: Floats, covariance: Floats, seed: int) -> Floats:
    return np.random.default_rng([seed, 4]).multivariate_normal(mean, covariance, _DRAWS, method="eigh")


def _surrogate(name: str) -> Callable[[int], Surrogate]:
    if name == "gaussian":
        return GaussianSurrogate
    from gem_assets.mixing.search.botorch import BotorchSurrogate

    return BotorchSurrogate


def _fit(
    pool: Floats, tried: tuple[tuple[int, int], ...], losses: tuple[float, ...], surrogate: Surrogate
) -> FittedRuns:
    return fit_runs(pool, _FIDELITIES, tried, losses, surrogate)


def _left_out(
    pool: Floats, tried: tuple[tuple[int, int], ...], losses: tuple[float, ...], run: int, surrogate: Surrogate
) -> float:
    """Loss that is expected of one run at the target by a model that has not seen it."""
    rest = [n for n in range(len(tried)) if n != run]
    fitted = _fit(pool, tuple(tried[n] for n in rest), tuple(losses[n] for n in rest), surrogate)
    return float(fitted.at_target(pool[tried[run][0]][None])[0][0])
