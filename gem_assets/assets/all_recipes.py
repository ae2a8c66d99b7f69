"""Every ``recipes/<strategy>`` that the graph holds, and those that a confirmation run can put to the test."""

import dagster as dg

from gem_assets.assets.continual_recipes import continual_recipes
from gem_assets.assets.learned_recipes import learned_recipes, recipe_confirmations
from gem_assets.assets.method_recipes import method_confirmations, method_recipes
from gem_assets.assets.recipes import recipes
from gem_assets.assets.scored_recipes import scored_confirmations, scored_recipes
from gem_assets.assets.search_recipes import search_confirmations, search_recipes


def _strategies(assets: list[dg.AssetsDefinition]) -> tuple[str, ...]:
    return tuple(asset.key.path[-1] for asset in assets)


all_recipes = [
    *recipes,
    *learned_recipes,
    *method_recipes,
    *scored_recipes,
    *search_recipes,
    *continual_recipes,
]
all_confirmations = [
    *recipe_confirmations,
    *method_confirmations,
    *scored_confirmations,
    *search_confirmations,
]
STRATEGIES, CONFIRMED = _strategies(all_recipes), _strategies(all_confirmations)
