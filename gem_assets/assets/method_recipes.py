"""``recipes/<strategy>`` of the methods that train proxies of their own on the prepared tokens; all by hand."""

from functools import partial
from typing import TYPE_CHECKING

from gem_assets.assets.recipe_confirmation import build_confirmation
from gem_assets.assets.recipe_frame import TOKENS, RecipeKind, RecipeWork, build_recipe_asset, proxy_settings

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe

BY_HAND = " By hand: one run on one core, of toy size with the default settings; meant for larger models."
METHODS = {
    "doremi": "DoReMi: weight to the clusters in which a proxy still lags a reference trained on the natural shares."
    + BY_HAND,
    "aioli": "Aioli: measures during training how each cluster moves every target, and follows that." + BY_HAND,
    "skillit": "Skill-It: a graph of which cluster helps which target, from short branches, and then the losses."
    + BY_HAND,
    "doge": "DoGE: weight to the clusters whose gradients agree with those of the targets." + BY_HAND,
    "dga": "Dynamic gradient alignment: mirror steps along the agreement of gradients." + BY_HAND,
    "tikmix": "TiKMiX-D: at the end of each stage the mixture of largest group influence on the targets." + BY_HAND,
    "tikmix_m": "TiKMiX-M: the same, and at the end of each stage the best of some hundred blends around that mixture, "
    "each under its own curvature." + BY_HAND,
    "mixmin": "MixMin: one proxy per cluster; the mixture of their predictions that explains the targets best. "
    "By hand: "
    "about half a proxy's training for each cluster.",
    "merging": "Modular merging: one proxy a cluster from a shared start, and the mixture at which the average of "
    "their parameters loses least on the targets, under a divergence from the natural shares. By hand; merged models "
    "rank mixtures for several targets at once poorly (correlation .41 on a toy).",
}
END_UPSAMPLING = "end_upsampling"
END_UPSAMPLED = ("recipes/proportional", "recipes/lexical")
METHOD_STRATEGIES = (*METHODS, END_UPSAMPLING)


def make_method(strategy: str, work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.online.recipes import publish_method_recipe
    from gem_assets.mixing.swarm.growth import wanted_targets

    data = work.folder(TOKENS)
    return publish_method_recipe(
        strategy, data, wanted_targets(data), work.frame, work.settings.proxy, work.out, progress=work.steps
    )


def make_end_upsampling(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.online.recipes import publish_end_upsampling
    from gem_assets.mixing.recipe import RECIPE_NAME, Recipe

    first, last = (Recipe.read(work.folder(name) / RECIPE_NAME) for name in END_UPSAMPLED)
    return publish_end_upsampling(first, last, work.frame, work.out)


def _method(strategy: str) -> RecipeKind:
    return RecipeKind(
        strategy,
        METHODS[strategy],
        partial(make_method, strategy),
        proxy_settings,
        needs=(TOKENS,),
        trains=True,
        kinds=frozenset({"json", "pytorch"}),
        libraries=("torch", "scipy", "numpy"),
        seed=lambda loaded: loaded.proxy.seed,
    )


_END_UPSAMPLING = RecipeKind(
    END_UPSAMPLING,
    "End-of-training upsampling: the natural shares for most of the tokens, the lexical recipe for the last 15 %. A "
    "recipe of two phases; repetition counts over both.",
    make_end_upsampling,
    lambda loaded: loaded.mixing,
    needs=END_UPSAMPLED,
    kinds=frozenset({"json"}),
)

method_recipes = [build_recipe_asset(kind) for kind in (*map(_method, METHODS), _END_UPSAMPLING)]
method_confirmations = [build_confirmation(strategy) for strategy in METHODS]
