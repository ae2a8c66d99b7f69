"""Recipes that a swarm table is enough for: one for each law, and one for the law that is chosen target by target.

Writes what every recipe writes. The evidence holds the scores of all laws that were tried, target by target, and the
path of proposals over the weight of the divergence. Cost: seconds for convex laws; RegMix fits trees and takes minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gem_assets.mixing.laws.ngram import NAME as NGRAM
from gem_assets.mixing.laws.ngram import ngram_laws
from gem_assets.mixing.laws.proposal import SPLITS, Proposer
from gem_assets.mixing.methods.base import SWARM, TOKENS, Method, MethodWork
from gem_assets.mixing.recipe import Recipe

if TYPE_CHECKING:
    from gem_assets.mixing.laws.mixture import LearnedMixture
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.mixing.swarm.runs import TrainedSwarm
    from gem_assets.proxy.lexical import LexicalProxy
    from gem_assets.settings import Settings

LEARNED = "learned"


@dataclass(frozen=True)
class LawStrategy:
    """A recipe that a swarm table is enough for.

    ``splits`` are those of the cross-fitted gain; fewer where a fit is slow.
    """

    candidates: tuple[str, ...]
    proposer: Proposer = "divergence"
    splits: int = SPLITS


#: ``bimix`` is the sum of powers that Olmix fits for targets outside the mixture. BiMix's own law is of a domain's own
#: loss and needs several training lengths, which a swarm does not have.
LAW_STRATEGIES: Mapping[str, LawStrategy] = {
    "regmix": LawStrategy(("lightgbm",), "simulation", 6),
    "log_linear": LawStrategy(("log_linear",), splits=12),
    "effective_exposure": LawStrategy(("effective_exposure",)),
    "bimix": LawStrategy(("bimix",)),
    "data_mixing_law": LawStrategy(("data_mixing_law",), splits=4),
    LEARNED: LawStrategy((NGRAM, "log_exposure", "effective_exposure", "bimix", "log_linear"), splits=12),
}


def publish_law_recipe(
    strategy: str, swarm: "TrainedSwarm", frame: "MixtureFrame", out: Path, *, lexical: "LexicalProxy | None" = None
) -> Recipe:
    """Learn a recipe from a swarm table and write it into ``out``.

    ``lexical`` is the n-gram model whose losses the strategy ``learned`` may use; without it that law is left out.

    Raises ValueError, as :func:`~gem_assets.mixing.laws.mixture.learn_recipe` does.
    """
    from gem_assets.mixing.laws.mixture import learn_recipe
    from gem_assets.mixing.recipe_artifact import draw_law

    asked = LAW_STRATEGIES[strategy]
    extra = {NGRAM: ngram_laws(lexical, list(swarm.wanted))} if lexical is not None else None
    found = learn_recipe(
        strategy,
        swarm.table,
        frame,
        targets=swarm.wanted,
        candidates=[law for law in asked.candidates if law != NGRAM or lexical is not None],
        extra=extra,
        # a recipe that is defined by its law is made of it, however few runs there are; the evidence says how well
        fewer_runs=len(asked.candidates) == 1,
        proposer=asked.proposer,
        splits=asked.splits,
        reservation=swarm.other_budget(frame.budget, frame.supply),
    )
    frame.write(found.recipe, out, {"laws": _law_scores(found), "path": _path_rows(found)})
    laws = ", ".join(sorted({f.name for f in found.targets}))
    draw_law(found.recipe, found.held_out, found.observed, laws, out)
    return found.recipe


def _law_scores(found: "LearnedMixture") -> list[dict[str, Any]]:
    return [
        {
            "target": fitted.target,
            "law": score.law,
            "chosen": score.law == fitted.name,
            "spearman": score.spearman if np.isfinite(score.spearman) else None,
            "pairs_in_order": score.decisions if np.isfinite(score.decisions) else None,
            "error_nats": score.error,
        }
        for fitted in found.targets
        for score in fitted.scores
    ]


def _path_rows(found: "LearnedMixture") -> list[dict[str, Any]]:
    return [
        {
            "lambda": proposal.kl_weight,
            "predicted_loss": proposal.predicted,
            "kl_to_prior": proposal.kl,
            "largest_share": float(proposal.shares.max()),
        }
        for proposal in found.path
    ]


def make(strategy: str, work: MethodWork) -> Recipe:
    """Learn the recipe of a strategy from the pinned swarm."""
    from gem_assets.mixing.swarm.growth import lexical_proxy, read_trained

    lexical = None
    if strategy == LEARNED:
        lexical = lexical_proxy(work.counts(), work.folder(TOKENS), work.settings.proxy)
    return publish_law_recipe(strategy, read_trained(work.folder(SWARM)), work.frame, work.out, lexical=lexical)


def _settings(strategy: str, settings: "Settings") -> dict[str, Any]:
    return {"mixing": settings.mixing, "counts": settings.proxy.counts if strategy == LEARNED else None}


def _law(name: str, summary: str, *, cost: str, use: str, source: str = "") -> Method:
    # the choice among laws knows the n-gram model, too
    counts = name == LEARNED
    return Method(
        name,
        "learned",
        summary,
        partial(make, name),
        partial(_settings, name),
        cost=cost,
        use=use,
        source=source,
        needs=(SWARM, TOKENS) if counts else (SWARM,),
        counts=counts,
        libraries=("scipy", "numpy", "lightgbm"),
    )


METHODS = (
    _law(
        "regmix",
        "RegMix: boosted trees on the swarm, and the average of the best 128 of 100,000 simulated mixtures.",
        cost="a swarm of 64 to 512 proxies, and minutes of fitting",
        use="there are many proxies",
        source="Liu et al. 2024",
    ),
    _law(
        "log_linear",
        "Log-linear law on the swarm, convex proposal under a divergence from the natural shares (Olmix).",
        cost="a swarm of at least two proxies per cluster, and seconds",
        use="there are few proxies, and the targets pull in one direction",
        source="Olmix 2026",
    ),
    _law(
        "effective_exposure",
        "Effective-exposure law on the swarm: how much useful text a target sees, whichever cluster it comes from. The "
        "most frugal in proxies.",
        cost="the smallest swarm, and 50 ms per fit",
        use="there are few proxies: the default among the laws",
    ),
    _law(
        "bimix",
        "Sum of powers of the shares on the swarm: BiMix's law as it is used for targets outside the mixture.",
        cost="a swarm in which every share is above 0, and seconds",
        use="the targets are the losses of the domains themselves",
        source="Ge et al. 2024",
    ),
    _law(
        "data_mixing_law",
        "Data Mixing Law on the swarm: a sum of exponentials for targets of unknown composition.",
        cost="a larger swarm than the log-linear law, and a minute",
        use="nobody knows what the targets are composed of",
        source="Ye et al. 2024",
    ),
    _law(
        LEARNED,
        "The law chosen target by target by cross-validated rank correlation, the n-gram model among them.",
        cost="a swarm, and seconds",
        use="the first recipe to learn from a swarm",
    ),
)
