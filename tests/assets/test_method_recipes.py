"""Recipes of methods on a whole small graph."""

import pytest

from gem_assets.mixing.recipe import Recipe
from resources import StoreResource
from tests.direct import CORE, run_graph, run_step, write_small_settings
from tests.tiny import land_parquet, passages

BEFORE = (
    *CORE[: CORE.index("recipes/proportional") + 1],
    "proxy_tokens",
    "cluster_counts",
    "recipes/lexical",
)
PROXY = """
[proxy.tokenizer]
vocab = 300
[proxy.pool]
windows = 2
[proxy.model]
width = 16
layers = 1
heads = 2
context = 32
[proxy.training]
tokens = 2048
batch = 2
precision = "fp32"
[mixing.scores]
proxies = 16
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("methods")
    write_small_settings(root)
    with (root / "gem.toml").open("a") as file:
        file.write(PROXY)
    land_parquet(root, "2024-10", passages()[:110])
    run_graph(root, BEFORE)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["dga", "mixmin", "qurating", "meta_rater", "end_upsampling"])
def test_a_method_is_made_once_from_what_the_graph_holds(root, strategy):
    result = run_step(root, f"recipes/{strategy}", None)
    assert result.metadata["computed"]
    store = StoreResource(root=str(root))
    made = store.artifacts.current(f"recipes/{strategy}")
    recipe = Recipe.read(made.path / "recipe.json")
    assert recipe.strategy == strategy
    assert len(recipe.phases) == (2 if strategy == "end_upsampling" else 1)
    inputs = {ref.asset for ref in made.manifest.inputs}
    expected = {"recipes/proportional", "recipes/lexical"} if strategy == "end_upsampling" else {"proxy_tokens"}
    assert inputs == expected | {"domain_inventory", "gis_taxonomy"}
    assert {"evidence", "mixture", "bars", "audit", "order"} <= set(result.metadata)
    again = run_step(root, f"recipes/{strategy}", None)
    assert not again.metadata["computed"]
