"""What the methods that train one run on the prepared tokens have in common, as methods of the graph."""

from functools import partial
from typing import TYPE_CHECKING

from gem_assets.mixing.methods.base import TOKENS, TRAINED_CODE_VERSION, Method, MethodWork, proxy_settings

if TYPE_CHECKING:
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.settings import Settings

TOY = " One run on one core, of toy size with the default settings; meant for larger models."


def make(strategy: str, work: MethodWork) -> "Recipe":
    """Run a method and write its recipe."""
    from gem_assets.mixing.online.recipes import publish_method_recipe
    from gem_assets.mixing.swarm.growth import wanted_targets

    data = work.folder(TOKENS)
    return publish_method_recipe(
        strategy, data, wanted_targets(data), work.frame, work.settings.proxy, work.out, progress=work.steps
    )


def proxy_seed(settings: "Settings") -> int:
    """Seed of the proxies."""
    return settings.proxy.seed


def single_run(name: str, summary: str, *, cost: str, use: str, source: str) -> Method:
    """Declare a method that trains in its own way on the prepared tokens."""
    return Method(
        name,
        "lab",
        summary,
        partial(make, name),
        proxy_settings,
        cost=cost,
        use=use,
        source=source,
        needs=(TOKENS,),
        trains=True,
        kinds=frozenset({"json", "pytorch"}),
        libraries=("torch", "scipy", "numpy"),
        seed=proxy_seed,
        code_version=TRAINED_CODE_VERSION,
    )
