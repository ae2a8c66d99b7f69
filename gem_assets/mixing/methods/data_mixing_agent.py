"""Data Mixing Agent as a recipe: a course of mixtures for a model that was trained on the natural shares before.

The trajectories that the policy learns from are further runs of one proxy (``continuation``), on random walks of the
mixture. What it then steers is one more run; its mixtures, period by period, are the phases of the recipe. A run on the
natural shares stands beside it: the verdict is what both gained. Cost: a proxy, and a part of one for each trajectory
(``mixing.continual.part``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, MethodWork, proxy_seed, proxy_settings
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.continual.continuation import Continuation
    from gem_assets.mixing.continual.policy import Trajectory
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.config import ProxyConfig
    from gem_assets.settings import Settings


DATA_MIXING_AGENT = "data_mixing_agent"
Report = Callable[[str], None]


class ContinuedRun:
    """Further runs of a proxy as the environment that the agent is trained in and steers."""

    def __init__(self, model: "Continuation", report: Report | None = None) -> None:
        self._model, self._report = model, report
        self._runs = 0

    def reset(self) -> Floats:
        """Begin a run; losses of the targets before it, ``(J,)``."""
        self._runs += 1
        if self._report is not None:
            self._report(f"course {self._runs}")
        return self._model.restart()

    def step(self, mixture: Floats) -> Floats:
        """Train a period on a mixture ``(A,)``; losses of the targets after it, ``(J,)``."""
        return self._model.advance(mixture)


def data_mixing_agent_recipe(
    folder: Path,
    importance: Mapping[str, float],
    frame: "MixtureFrame",
    config: "ProxyConfig",
    out: Path,
    *,
    report: Report | None = None,
) -> Recipe:
    """Learn a policy from further runs of a proxy, let it steer one, and write its course into ``out``.

    Raises
    ------
    PoolError
        When fewer than two clusters have text, or tokens and inventory do not fit.
    DivergedError
        When training diverges.
    """
    from gem_assets.mixing.continual.continuation import Continuation
    from gem_assets.mixing.continual.policy import DataMixingAgent, random_trajectories
    from gem_assets.mixing.method_data import MethodData

    continual = frame.config.continual
    data = MethodData.load(folder, importance, config.model.context)
    data = data.only(np.flatnonzero(data.importance))
    natural, weights = data.natural_shares(frame.supply), data.importance
    model = Continuation(data, natural, config, part=continual.part, checks=continual.checks, report=report)
    run = ContinuedRun(model, report)
    walks = random_trajectories(run, natural, continual.checks, continual.trajectories, seed=config.seed)
    steered = DataMixingAgent(weights, seed=config.seed).fit(walks).run(run)
    plain = _fixed(run, natural, continual.checks)

    phases: list[Floats] = []
    for mixture in steered.mixtures:
        shares = np.zeros(len(frame.supply.clusters))
        shares[data.active] = np.where(natural > 0, mixture, 0.0)
        phases.append(apply_caps(shares, frame.caps))
    shares = np.mean(phases, axis=0)
    gained, natural_gain = steered.gain(weights), plain.gain(weights)
    random_gains = np.array([walk.gain(weights) for walk in walks])
    recipe = frame.recipe(
        DATA_MIXING_AGENT,
        shares,
        RecipeEvidence(
            method=DATA_MIXING_AGENT,
            n_runs=len(walks) + 2,
            target=", ".join(data.evaluation.names),
            kl_to_prior=divergence(shares, frame.supply.token_shares),
            verdict=f"its course gained {gained:.4f} nats, the natural shares {natural_gain:.4f}, both once and on the "
            + (
                "proxy that it learned from: no proof for another model"
                if gained > natural_gain
                else "same proxy: no gain over the natural shares"
            ),
            notes=(
                f"{len(walks)} random courses gained {random_gains.mean():.4f} nats on average, "
                f"{random_gains.max():.4f} at best",
                f"{model.tokens * continual.checks:,} tokens a course after {config.training.tokens:,} before",
            ),
        ),
        phases=[(1 / len(phases), phase.tolist()) for phase in phases],
    )
    course = [
        {"period": n, "largest_share": float(phase.max()), "loss": float(losses @ weights)}
        for n, (phase, losses) in enumerate(zip(phases, steered.feedback[1:], strict=True), start=1)
    ]
    frame.write(recipe, out, {"course": course})
    return recipe


def _fixed(run: ContinuedRun, shares: Floats, periods: int) -> "Trajectory":
    from gem_assets.mixing.continual.policy import Trajectory

    feedback = [run.reset()]
    feedback += [run.step(shares) for _ in range(periods)]
    return Trajectory(np.tile(shares, (periods, 1)), np.array(feedback))


def make(work: MethodWork) -> Recipe:
    """Learn a policy on the pinned tokens and write the course that it steers."""
    from gem_assets.mixing.swarm.growth import wanted_targets

    data, proxy = work.folder(TOKENS), work.settings.proxy
    return data_mixing_agent_recipe(data, wanted_targets(data), work.frame, proxy, work.out, report=work.report)


def _settings(settings: "Settings") -> dict[str, Any]:
    continual = settings.mixing.continual.model_dump(include={"part", "checks", "trajectories"})
    return {**proxy_settings(settings), "continual": continual}


METHOD = Method(
    DATA_MIXING_AGENT,
    "lab",
    "Data Mixing Agent: a policy that names the next mixture from the course of training, learned from "
    "`mixing.continual.trajectories` random courses that continue from one proxy; the course that it then steers is a "
    "recipe of several phases. Half a proxy for each course with the default settings.",
    make,
    _settings,
    cost="a proxy, and half of one for each of 32 courses",
    use="one policy will serve many further runs",
    source="arXiv 2507.15640",
    needs=(TOKENS,),
    trains=True,
    unconfirmed="is for a model that was trained before, and a confirmation starts from nothing",
    libraries=("torch", "scipy", "numpy"),
    seed=proxy_seed,
    code_version=TRAINED_CODE_VERSION,
)
