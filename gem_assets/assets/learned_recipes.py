"""``recipes/<strategy>`` that are learned from counts or from the swarm."""

from functools import partial
from typing import TYPE_CHECKING

from gem_assets.assets.recipe_confirmation import build_confirmation
from gem_assets.assets.recipe_frame import (
    SWARM,
    TEACHER,
    TOKENS,
    TRAINED_CODE_VERSION,
    RecipeKind,
    RecipeWork,
    build_recipe_asset,
    proxy_settings,
)
from gem_assets.mixing.config import COUNTED_CODE_VERSIONS

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe

COUNTED = {
    "lexical": "Stage 0, a lexical proxy: the mixture at which an n-gram model of the clusters' counts loses least on "
    "the targets, under a divergence from the natural shares and caps. No proxy is trained. Confirm it before use.",
    "entropy": "BiMix's entropy rule, a lexical proxy: shares in proportion to the exponential of each cluster's "
    "conditional bigram entropy. Nothing is trained, nothing predicted.",
}
FITTED = {
    "regmix": "RegMix: boosted trees on the swarm, and the average of the best 128 of 100,000 simulated mixtures.",
    "log_linear": "Log-linear law on the swarm, convex proposal under a divergence from the natural shares (Olmix).",
    "effective_exposure": "Effective-exposure law on the swarm: how much useful text a target sees, whichever cluster "
    "it comes from. The most frugal in proxies.",
    "bimix": "Sum of powers of the shares on the swarm: BiMix's law as it is used for targets outside the mixture.",
    "data_mixing_law": "Data Mixing Law on the swarm: a sum of exponentials for targets of unknown composition.",
    "learned": "The law chosen target by target by cross-validated rank correlation, the n-gram model among them.",
}
CLIMBED = {
    "climb": "CLIMB: two more rounds of proxies, half and a quarter as many as the swarm, each drawn from the best "
    "that boosted trees predict; rows join the swarm's growing table.",
}


def make_lexical(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.swarm_laws import publish_lexical_recipe
    from gem_assets.mixing.swarm.growth import lexical_proxy, wanted_targets

    data = work.folder(TOKENS)
    lexical = lexical_proxy(work.counts(), data, work.settings.proxy)
    return publish_lexical_recipe(lexical, wanted_targets(data), work.frame, work.out)


def make_entropy(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.swarm_laws import publish_entropy_recipe

    return publish_entropy_recipe(work.counts(), work.frame, work.out)


def make_fitted(strategy: str, work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.swarm_laws import LEARNED as CHOSEN
    from gem_assets.mixing.methods.swarm_laws import publish_law_recipe
    from gem_assets.mixing.swarm.growth import lexical_proxy, read_trained

    lexical = None
    if strategy == CHOSEN:
        lexical = lexical_proxy(work.counts(), work.folder(TOKENS), work.settings.proxy)
    return publish_law_recipe(strategy, read_trained(work.folder(SWARM)), work.frame, work.out, lexical=lexical)


def make_climb(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.evidence import swarm_objective
    from gem_assets.mixing.methods.climb import ClimbRound, climb
    from gem_assets.mixing.methods.swarm_laws import publish_climb_recipe
    from gem_assets.mixing.swarm.growth import read_trained

    trained, frame = read_trained(work.folder(SWARM)), work.frame
    objective, train = swarm_objective(trained), work.trainer(work.swarm_spec(work.settings.proxy))
    size = len(trained.labels)
    found = climb(
        ClimbRound(trained.table.mixtures, objective(trained.table.losses)),
        lambda mixtures, number: objective(train(mixtures, f"climb-{number}")),
        frame.supply.token_shares,
        frame.caps,
        sizes=(max(1, size // 2), max(1, size // 4)),
        seed=frame.config.seed,
    )
    return publish_climb_recipe(found, trained, frame, work.out)


def _counted(strategy: str) -> RecipeKind:
    return RecipeKind(
        strategy,
        COUNTED[strategy],
        make_lexical if strategy == "lexical" else make_entropy,
        lambda loaded: {"mixing": loaded.mixing, "counts": loaded.proxy.counts, "tau": loaded.proxy.tau},
        needs=(TOKENS,),
        counts=True,
        libraries=("scipy", "numpy"),
        seed=lambda _: None,
        policy="fan_in",
        code_version=COUNTED_CODE_VERSIONS[strategy],
    )


def _fitted(strategy: str) -> RecipeKind:
    # the choice among laws knows the n-gram model, too
    counts = strategy == "learned"
    return RecipeKind(
        strategy,
        FITTED[strategy],
        partial(make_fitted, strategy),
        lambda loaded: {"mixing": loaded.mixing, "counts": loaded.proxy.counts if counts else None},
        needs=(SWARM, TOKENS) if counts else (SWARM,),
        counts=counts,
        libraries=("scipy", "numpy", "lightgbm"),
    )


CLIMB = RecipeKind(
    "climb",
    CLIMBED["climb"],
    make_climb,
    proxy_settings,
    needs=(SWARM, TOKENS, TEACHER),
    trains=True,
    kinds=frozenset({"json", "pytorch"}),
    libraries=("lightgbm", "torch", "numpy"),
    # 2: the best run where the trees are flat
    code_version=f"{TRAINED_CODE_VERSION}.2",
)
LEARNED = (*COUNTED, *FITTED, *CLIMBED)

learned_recipes = [build_recipe_asset(kind) for kind in (*map(_counted, COUNTED), *map(_fitted, FITTED), CLIMB)]
recipe_confirmations = [build_confirmation(strategy) for strategy in LEARNED]
