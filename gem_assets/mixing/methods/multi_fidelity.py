"""Bayesian optimisation over two model sizes: the swarm is the small one, the confirmation's models the large one.

The search itself is in ``search.fidelity``.
"""

from typing import TYPE_CHECKING, Any

from gem_assets.mixing.methods.base import (
    SWARM,
    TEACHER,
    TOKENS,
    TRAINED_CODE_VERSION,
    Method,
    MethodWork,
    proxy_settings,
)

if TYPE_CHECKING:
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings


def make(work: MethodWork) -> "Recipe":
    """Search on from the pinned swarm, in models of both sizes."""
    from gem_assets.mixing.search.recipes import publish_fidelity_recipe, training_cost
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
    kinds=frozenset({"json", "pytorch", "scikitlearn"}),
    libraries=("scikit-learn", "botorch", "torch", "numpy"),
    code_version=TRAINED_CODE_VERSION,
)
