"""``recipes/<strategy>`` of the Bayesian searches that go on from the swarm; all by hand."""

from typing import TYPE_CHECKING, Any

from gem_assets.assets.recipe_confirmation import build_confirmation
from gem_assets.assets.recipe_frame import (
    SWARM,
    TEACHER,
    TOKENS,
    RecipeKind,
    RecipeWork,
    build_recipe_asset,
    proxy_settings,
)

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings

SEARCHED = {
    "bayes": "Bayesian optimisation: a few further proxies (`mixing.search.proxies`), one after the other, each on the "
    "mixture of which a Gaussian process over the runs so far expects the most; rows join the swarm's growing table.",
    "multi_fidelity": "Bayesian optimisation over two model sizes (after ADMIRE): the swarm is the small, models of "
    "`proxy.confirmation` the large, and each further run is the one that tells most about the best mixture for its "
    "cost. `mixing.search.larger_models` is the budget.",
}


def make_bayes(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.search.recipes import publish_bayes_recipe
    from gem_assets.mixing.swarm.growth import read_trained

    train = work.trainer(work.swarm_spec(work.settings.proxy))
    return publish_bayes_recipe(read_trained(work.folder(SWARM)), train, work.frame, work.out)


def make_multi_fidelity(work: RecipeWork) -> "Recipe":
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


def bayes_settings(settings: "Settings") -> dict[str, Any]:
    search = settings.mixing.search.model_dump(include={"proxies", "candidates"})
    return {**proxy_settings(settings), "search": search}


def fidelity_settings(settings: "Settings") -> dict[str, Any]:
    search = settings.mixing.search.model_dump(exclude={"proxies"})
    return {**proxy_settings(settings), "search": search, "confirmation": settings.proxy.confirmation}


KINDS = (
    RecipeKind(
        "bayes",
        SEARCHED["bayes"],
        make_bayes,
        bayes_settings,
        needs=(SWARM, TOKENS, TEACHER),
        trains=True,
        kinds=frozenset({"json", "pytorch", "scikitlearn"}),
        libraries=("scikit-learn", "torch", "numpy"),
    ),
    RecipeKind(
        "multi_fidelity",
        SEARCHED["multi_fidelity"],
        make_multi_fidelity,
        fidelity_settings,
        needs=(SWARM, TOKENS, TEACHER),
        trains=True,
        kinds=frozenset({"json", "pytorch", "scikitlearn"}),
        libraries=("scikit-learn", "botorch", "torch", "numpy"),
    ),
)

search_recipes = [build_recipe_asset(kind) for kind in KINDS]
search_confirmations = [build_confirmation(kind.strategy) for kind in KINDS]
