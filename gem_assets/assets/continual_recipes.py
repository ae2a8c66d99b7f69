"""``recipes/<strategy>`` for a model that goes on from natural shares (continual pre-training); all by hand."""

from typing import TYPE_CHECKING, Any

from gem_assets.assets.recipe_frame import TOKENS, RecipeKind, RecipeWork, build_recipe_asset, proxy_settings

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings


def make_critical_ratio(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.critical_ratio import critical_ratio_recipe

    return critical_ratio_recipe(work.folder(TOKENS), work.frame, work.settings.proxy, work.out, report=work.report)


def make_data_mixing_agent(work: RecipeWork) -> "Recipe":
    from gem_assets.mixing.methods.data_mixing_agent import data_mixing_agent_recipe
    from gem_assets.mixing.swarm.growth import wanted_targets

    data, proxy = work.folder(TOKENS), work.settings.proxy
    return data_mixing_agent_recipe(data, wanted_targets(data), work.frame, proxy, work.out, report=work.report)


def ratio_settings(settings: "Settings") -> dict[str, Any]:
    continual = settings.mixing.continual.model_dump(exclude={"trajectories"})
    return {**proxy_settings(settings), "continual": continual}


def agent_settings(settings: "Settings") -> dict[str, Any]:
    continual = settings.mixing.continual.model_dump(include={"part", "checks", "trajectories"})
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

DATA_MIXING_AGENT = RecipeKind(
    "data_mixing_agent",
    "Data Mixing Agent: a policy that names the next mixture from the course of training, learned from "
    "`mixing.continual.trajectories` random courses that go on from one proxy; the course that it then steers is a "
    "recipe of several phases. By hand; half a proxy for each course with the default settings.",
    make_data_mixing_agent,
    agent_settings,
    needs=(TOKENS,),
    trains=True,
    kinds=frozenset({"json", "pytorch"}),
    libraries=("torch", "scipy", "numpy"),
    seed=lambda settings: settings.proxy.seed,
)

continual_recipes = [build_recipe_asset(kind) for kind in (CRITICAL_RATIO, DATA_MIXING_AGENT)]
