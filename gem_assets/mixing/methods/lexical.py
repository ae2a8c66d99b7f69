"""Stage 0: the mixture at which the n-gram model of the clusters' counts loses least on the targets.

It trains no proxy and says so: a recipe of the n-gram model is a *lexical proxy* (``proxy.lexical``), a statement about
vocabulary and short phrases at the scale of tiny models. Whether it holds is for a swarm and a confirmation run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.caps import apply_caps, caps_of
from gem_assets.mixing.config import COUNTED_CODE_VERSIONS, MixingConfig
from gem_assets.mixing.laws.ngram import LexicalLaw, LexicalLosses
from gem_assets.mixing.laws.proposal import Proposal, divergence, propose_convex
from gem_assets.mixing.methods.base import TOKENS, Method, MethodWork
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.design import LEXICAL, baseline_mixtures
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.lexical import LexicalProxy
    from gem_assets.settings import Settings


_ITERATIONS = 300
#: Pseudo token budgets over which the interval of a prediction ranges.
PSEUDO_BUDGETS = (1e3, 2e3, 3e3, 5e3, 1e4, 2e4)


def target_weights(targets: tuple[str, ...], importance: Mapping[str, float]) -> Floats:
    """Return the weight of each target, ``(J,)``, 0 for those not named.

    Raises ValueError when a named target does not exist.
    """
    unknown = [name for name in importance if name not in targets]
    if unknown:
        raise ValueError(f"no target {unknown[0]!r}; there are {', '.join(targets)}")
    return np.array([importance.get(name, 0.0) for name in targets], np.float64)


def lexical_optimum(
    proxy: "LexicalProxy", supply: ClusterSupply, config: MixingConfig, importance: Mapping[str, float]
) -> Proposal:
    """Minimise the weighted n-gram loss plus λ times the divergence from the natural shares, within the caps."""
    law = LexicalLaw(LexicalLosses(proxy), target_weights(proxy.targets, importance))
    caps = caps_of(supply, config)
    return propose_convex([law], supply.token_shares, caps, tolerance=1e-5, max_iterations=_ITERATIONS)


def lexical_evidence(
    proxy: "LexicalProxy",
    proposal: Proposal,
    supply: ClusterSupply,
    config: MixingConfig,
    importance: Mapping[str, float],
) -> RecipeEvidence:
    """Say what the n-gram model predicts for its optimum and for the baselines.

    There are no runs to cross-validate on, so the interval is the range over the pseudo token budgets that are tried
    anywhere, and no correlation is claimed.
    """
    from gem_assets.proxy.lexical import LABEL

    weights = target_weights(proxy.targets, importance)
    rivals = baseline_mixtures(supply, config)
    points = np.array([proposal.shares, rivals["proportional"], rivals["uniform"]])
    found = proxy.losses(points) @ weights / weights.sum()
    by_tau = np.array([proxy.with_tau(tau).losses(points) @ weights / weights.sum() for tau in PSEUDO_BUDGETS])
    gains = by_tau[:, :1] - by_tau[:, 1:]
    better = bool((gains < 0).all())
    return RecipeEvidence(
        method=f"{LEXICAL} ({LABEL})",
        n_runs=0,
        target=", ".join(importance),
        law=f"{LABEL}: interpolated {len(proxy.orders)}-gram counts, tau {proxy.tau:g}",
        predicted_loss=float(found[0]),
        predicted_interval=(float(by_tau[:, 0].min()), float(by_tau[:, 0].max())),
        predicted_loss_proportional=float(found[1]),
        predicted_loss_uniform=float(found[2]),
        predicted_gain_interval=(float(gains[:, 0].min()), float(gains[:, 0].max())),
        kl_to_prior=divergence(proposal.shares, supply.token_shares),
        verdict=f"{LABEL}: better than proportional and uniform at every tau; no proxy was trained"
        if better
        else f"{LABEL}: not better than both baselines at every tau",
        notes=tuple(
            f"gain over {name} ({LABEL}): {column.min():.4f} … {column.max():.4f} nats over tau"
            for name, column in zip(("proportional", "uniform"), gains.T, strict=True)
        ),
    )


def publish_lexical_recipe(
    lexical: "LexicalProxy", importance: Mapping[str, float], frame: "MixtureFrame", out: Path
) -> Recipe:
    """Write the optimum of an n-gram model into ``out``."""
    optimum = lexical_optimum(lexical, frame.supply, frame.config, importance)
    evidence = lexical_evidence(lexical, optimum, frame.supply, frame.config, importance)
    recipe = frame.recipe(LEXICAL, apply_caps(optimum.shares, frame.caps), evidence)
    frame.write(recipe, out, {})
    return recipe


def count_settings(settings: "Settings") -> dict[str, Any]:
    """Settings that name a recipe from counts."""
    return {"mixing": settings.mixing, "counts": settings.proxy.counts, "tau": settings.proxy.tau}


def without_seed(settings: "Settings") -> None:
    """Nothing is drawn."""


def make(work: MethodWork) -> Recipe:
    """Write the optimum of the n-gram model."""
    from gem_assets.mixing.swarm.growth import lexical_proxy, wanted_targets

    data = work.folder(TOKENS)
    lexical = lexical_proxy(work.counts(), data, work.settings.proxy)
    return publish_lexical_recipe(lexical, wanted_targets(data), work.frame, work.out)


METHOD = Method(
    LEXICAL,
    "counts",
    "Stage 0, a lexical proxy: the mixture at which an n-gram model of the clusters' counts loses least on the "
    "targets, under a divergence from the natural shares and caps. No proxy is trained. Confirm it before use.",
    make,
    count_settings,
    cost="seconds",
    use="first look, and whenever no proxy can be trained",
    needs=(TOKENS,),
    counts=True,
    libraries=("scipy", "numpy"),
    seed=without_seed,
    code_version=COUNTED_CODE_VERSIONS[LEXICAL],
    policy="fan_in",
)
