"""Bayesian optimisation over two model sizes: the swarm is the small one, the confirmation's models the large one.

The search itself is in ``search.fidelity``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.methods.base import (
    SWARM,
    TEACHER,
    TOKENS,
    TRAINED_CODE_VERSION,
    Method,
    MethodWork,
    proxy_settings,
)
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.mixing.search.candidates import Train
    from gem_assets.mixing.search.fidelity import Surrogate
    from gem_assets.mixing.swarm.runs import TrainedSwarm
    from gem_assets.proxy.config import ProxyConfig
    from gem_assets.settings import Settings

_FIDELITIES = (0.0, 1.0)


def publish_fidelity_recipe(
    swarm: "TrainedSwarm", train: "Train", train_larger: "Train", cost: float, frame: "MixtureFrame", out: Path
) -> "Recipe":
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
    from gem_assets.mixing.evidence import RIVALS, SearchEvidence, publish_searched, rival_points, swarm_objective
    from gem_assets.mixing.search.candidates import best_mixtures, candidate_mixtures, known_runs, posterior_draws
    from gem_assets.mixing.search.fidelity import fit_runs, search_fidelities

    objective, conf = swarm_objective(swarm), frame.config
    surrogate = _surrogate(conf.search.surrogate)
    surrogate(conf.seed)  # what is missing is said before anything is trained
    known, values = known_runs(swarm, objective)
    rivals = rival_points(known[0], frame)[1:]
    near = candidate_mixtures(best_mixtures(known, values), frame, conf.search.candidates)
    pool, first = np.concatenate([known, rivals, near]), len(known)
    start = {(i, 0): float(loss) for i, loss in enumerate(values)}
    larger = objective(train_larger(rivals, "multi_fidelity-rivals"))
    start |= {(first + i, 1): float(loss) for i, loss in enumerate(larger)}

    def evaluate(row: int, size: int) -> float:
        trained = (train, train_larger)[size](pool[row][None], f"multi_fidelity-{row - first:03d}")
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
    fitted = fit_runs(pool, _FIDELITIES, found.tried, found.losses, surrogate(conf.seed))
    shares = pool[found.recommended]
    mean, covariance = fitted.at_target(rival_points(shares, frame))
    dear = [n for n, (_, size) in enumerate(found.tried) if size]
    further = list(zip(found.tried, found.losses, strict=True))[len(start) :]
    evidence = SearchEvidence(
        shares,
        np.array([found.losses[n] for n in dear]),
        np.array([_left_out(pool, found.tried, found.losses, n, surrogate(conf.seed)) for n in dear]),
        mean,
        posterior_draws(mean, covariance, conf.seed),
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
    return publish_searched("multi_fidelity", evidence, swarm, frame, out, {"runs": rows})


def training_cost(config: "ProxyConfig", vocab: int) -> float:
    """Cost of a run: its tokens times the parameters that each of them meets, the input embedding left out."""
    return config.training.tokens * float(config.model.non_embedding + config.model.width * vocab)


def _surrogate(name: str) -> Callable[[int], "Surrogate"]:
    if name == "gaussian":
        from gem_assets.mixing.search.fidelity import GaussianSurrogate

        return GaussianSurrogate
    from gem_assets.mixing.search.botorch import BotorchSurrogate

    return BotorchSurrogate


def _left_out(
    pool: Floats, tried: tuple[tuple[int, int], ...], losses: tuple[float, ...], run: int, surrogate: "Surrogate"
) -> float:
    """Loss that is expected of one run at the target by a model that has not seen it."""
    from gem_assets.mixing.search.fidelity import fit_runs

    rest = [n for n in range(len(tried)) if n != run]
    fitted = fit_runs(pool, _FIDELITIES, tuple(tried[n] for n in rest), tuple(losses[n] for n in rest), surrogate)
    return float(fitted.at_target(pool[tried[run][0]][None])[0][0])


def make(work: MethodWork) -> "Recipe":
    """Search on from the pinned swarm, in models of both sizes."""
    from gem_assets.mixing.swarm.growth import read_trained
    from gem_assets.proxy.pool import TokenPool

    small, larger = work.settings.proxy, work.settings.proxy.at_next_size()
    vocab = TokenPool.load(work.folder(TOKENS)).vocab
    return publish_fidelity_recipe(
        read_trained(work.folder(SWARM)),
        work.trainer(work.swarm_spec(small)),
        work.trainer(work.swarm_spec(larger)),
        training_cost(small, vocab) / training_cost(larger, vocab),
        work.frame,
        work.out,
    )


def _settings(settings: "Settings") -> dict[str, Any]:
    search = settings.mixing.search.model_dump(exclude={"proxies"})
    return {**proxy_settings(settings), "search": search, "confirmation": settings.proxy.confirmation}


METHOD = Method(
    "multi_fidelity",
    "learned",
    "Bayesian optimisation over two model sizes (after ADMIRE): the swarm is the small, models of `proxy.confirmation` "
    "the large, and each further run is the one that tells most about the best mixture for its cost. "
    "`mixing.search.larger_models` is the budget.",
    make,
    _settings,
    cost="a swarm, and a budget of 8 larger models by default",
    use="small runs rank as large ones do",
    source="Chen et al. 2025",
    needs=(SWARM, TOKENS, TEACHER),
    trains=True,
    libraries=("scikit-learn", "botorch", "torch", "numpy"),
    code_version=TRAINED_CODE_VERSION,
)
