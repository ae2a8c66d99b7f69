"""``recipes/<strategy>`` for a model that goes on from natural shares (continual pre-training); all by hand."""

from typing import TYPE_CHECKING, Any

from gem_assets.assets.recipe_frame import TOKENS, RecipeKind, RecipeWork, build_recipe_asset, proxy_settings

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings


def make_critical_ratio(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.continual_recipes import critical_ratio_recipe

    return critical_ratio_recipe(work.folder(TOKENS), work.frame, work.settings.proxy, work.out, report=work.report)


def ratio_settings(settings: "Settings") -> dict[str, Any]:
    continual = settings.mixing.continual.model_dump(exclude={"trajectories"})
    return {**proxy_settings(settings), "continual": continual}


CRITICAL_RATIO = RecipeKind(
    "critical_ratio",
    "Critical mixture ratio: how much text of some clusters (`mixing.continual.clusters`, the domain) a model that was "
    "trained on the natural shares can go on with before it gets worse on the others. A proxy, and from it a run for "
    "each ratio; their general losses follow a power law in the ratio. By hand; about four proxies on one core.",
    make_critical_ratio,
    ratio_settings,
    needs=(TOKENS,),
    trains=True,
    kinds=frozenset({"json", "pytorch"}),
    libraries=("torch", "scipy", "numpy"),
    seed=lambda settings: settings.proxy.seed,
)

continual_recipes = [build_recipe_asset(CRITICAL_RATIO)]
