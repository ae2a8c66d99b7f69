import numpy as np
import pytest

from gem_assets.mixing.current_recipes import NoRecipesError, gather_recipes
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import CountConfig, ProxyConfig
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import InputRef

TOKENS = np.array([600, 400])
SUPPLY = ClusterSupply(np.arange(2), TOKENS // 100, TOKENS, TOKENS * 4)
PROXY = ProxyConfig()


def pinned(version):
    return [InputRef(asset="proxy_tokens", data_version=version, identity=digest(version))]


@pytest.fixture
def store(tmp_path):
    """Proportional and lexical recipes, and a swarm of the same tokens."""
    store = ArtifactStore(tmp_path)
    for name, inputs in (("proportional", []), ("lexical", pinned("t1"))):
        evidence = RecipeEvidence(method=name, verdict="of counts") if inputs else None
        with store.write(f"recipes/{name}", digest(name)) as draft:
            recipe = Recipe.create(
                name, TOKENS / TOKENS.sum(), SUPPLY, names={}, taxonomy_version="v", tokenizer="bytes",
                repetition_cap=4.0, evidence=evidence,
            )  # fmt: skip
            recipe.write(draft.path / "recipe.json")
            draft.inputs, draft.config = inputs, {"counts": PROXY.counts, "tau": PROXY.tau}
    write_swarm(store, "t1", PROXY)
    return store


def write_swarm(store, version, proxy):
    with store.write("proxy_swarm", digest([version, proxy])) as draft:
        (draft.path / "report.json").write_text("{}")
        draft.inputs, draft.config = pinned(version), {"proxy": proxy.model_dump(mode="json")}
        draft.counts, draft.metrics = {"mixtures": 36}, {"stage0_spearman": 0.95}


def test_the_correlation_of_the_lexical_recipe_is_that_of_the_swarm_of_its_tokens(store):
    found = gather_recipes(store)
    assert [row["cv_spearman"] for row in found.comparison.rows] == [None, 0.95]
    assert {ref.asset for ref in found.inputs} == {"recipes/proportional", "recipes/lexical", "proxy_swarm"}


@pytest.mark.parametrize(
    ("version", "proxy"),
    [("t2", PROXY), ("t1", PROXY.model_copy(update={"counts": CountConfig(order=3)}))],
)
def test_a_swarm_of_other_tokens_or_of_another_count_model_says_nothing(store, version, proxy):
    write_swarm(store, version, proxy)
    found = gather_recipes(store)
    assert found.comparison.rows[1]["cv_spearman"] is None
    assert "gem swarm run" in found.comparison.rows[1]["verdict"]
    assert "proxy_swarm" not in {ref.asset for ref in found.inputs}


def test_nothing_to_gather_says_what_to_make(tmp_path):
    with pytest.raises(NoRecipesError, match="no recipe has been made"):
        gather_recipes(ArtifactStore(tmp_path))
