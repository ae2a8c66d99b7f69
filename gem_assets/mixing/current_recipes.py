"""Find the recipes of a data root that may stand side by side, with the confirmations that are still about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gem_assets.mixing.comparison import PROPORTIONAL, Comparison, StageZero, compare_recipes
from gem_assets.mixing.confirmation import Confirmation, describe_confirmation
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.swarm.design import LEXICAL
from gem_assets.proxy.config import CountConfig
from gem_assets.stages import CONFIRMATIONS, PROXY_SWARM, PROXY_TOKENS, RECIPES, result_of, strategy_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.manifest import InputRef


class NoRecipesError(LookupError):
    """There is no recipe to show; the message says what to make."""


@dataclass(frozen=True)
class Gathered:
    """Recipes of one taxonomy, proportional first.

    Attributes
    ----------
    left_out
        Strategies whose current recipe is of another taxonomy than the newest proportional one.
    inputs
        The recipes, their confirmations, and the swarm from which the correlation of the lexical recipe was taken.
    confirmed
        Confirmation runs among the inputs, whatever they found.
    """

    recipes: tuple[Recipe, ...]
    comparison: Comparison
    inputs: tuple[InputRef, ...]
    left_out: tuple[str, ...]
    confirmed: int


def gather_recipes(store: ArtifactStore) -> Gathered:
    """Read the current recipes, and the confirmations made of exactly those.

    Raises NoRecipesError when no recipe has been made.
    """
    recipes: dict[str, Recipe] = {}
    inputs: dict[str, InputRef] = {}
    folders: dict[str, Path] = {}
    for asset in store.assets():
        current = store.current(asset)
        if current is None:
            continue
        if name := strategy_of(asset, RECIPES):
            recipes[name] = Recipe.read(current.path / RECIPE_NAME)
            inputs[asset] = current.ref()
        elif name := strategy_of(asset, CONFIRMATIONS):
            folders[name] = current.path
            inputs[asset] = current.ref()
    if not recipes:
        raise NoRecipesError(f"no recipe has been made in {store.root}; make them with gem run, or try gem demo")
    version = recipes.get(PROPORTIONAL, next(iter(recipes.values()))).taxonomy_version
    shown = {name: recipe for name, recipe in recipes.items() if recipe.taxonomy_version == version}
    confirmations: dict[str, Confirmation] = {}
    for name, folder in folders.items():
        recipe, made = result_of(RECIPES, name), store.current(result_of(CONFIRMATIONS, name))
        if name in shown and made is not None and _pinned(made, recipe) == inputs[recipe].identity:
            confirmations[name] = describe_confirmation(folder)
    ordered = tuple(
        shown[name] for name in sorted(shown, key=lambda n: (n != PROPORTIONAL, shown[n].evidence is not None, n))
    )
    used = {result_of(RECIPES, name) for name in shown} | {result_of(CONFIRMATIONS, name) for name in confirmations}
    zero = stage_zero(store) if LEXICAL in shown else None
    swarm = store.current(PROXY_SWARM) if zero is not None else None
    if swarm is not None:
        inputs[PROXY_SWARM] = swarm.ref()
        used.add(PROXY_SWARM)
    return Gathered(
        recipes=ordered,
        comparison=compare_recipes(ordered, confirmations, zero),
        inputs=tuple(inputs[asset] for asset in sorted(used)),
        left_out=tuple(sorted(set(recipes) - set(shown))),
        confirmed=len(confirmations),
    )


def stage_zero(store: ArtifactStore) -> StageZero | None:
    """Return how the n-gram model ranks the proxies that were trained on the tokens of the lexical recipe.

    None without a swarm, and where it is of other tokens or of an n-gram model with other settings.
    """
    recipe, swarm = store.current(result_of(RECIPES, LEXICAL)), store.current(PROXY_SWARM)
    if recipe is None or swarm is None or _pinned(recipe, PROXY_TOKENS) != _pinned(swarm, PROXY_TOKENS):
        return None
    of_swarm: dict[str, Any] = dict(swarm.manifest.config)["proxy"]  # type: ignore[assignment]
    of_recipe: dict[str, Any] = dict(recipe.manifest.config)
    counts = CountConfig.model_validate(of_swarm["counts"])
    tau = counts.pseudo_tokens(of_swarm["training"]["tokens"])
    if CountConfig.model_validate(of_recipe["counts"]) != counts or of_recipe["tau"] != tau:
        return None
    metrics: dict[str, Any] = dict(swarm.manifest.metrics)
    return StageZero(metrics["stage0_spearman"], swarm.manifest.counts["mixtures"])


def _pinned(artifact: Artifact, asset: str) -> str | None:
    return next((ref.identity for ref in artifact.manifest.inputs if ref.asset == asset), None)
