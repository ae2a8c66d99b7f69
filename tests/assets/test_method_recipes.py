"""Recipes of methods on a whole small graph."""

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.mixing.recipe import Recipe
from gem_assets.settings import load_settings
from resources import StoreResource
from resources.probe import probe
from tests.direct import BY_KEY, CORE, run_graph, run_step, write_small_settings
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
def test_a_file_of_scores_is_joined_and_names_the_result(root, tmp_path, monkeypatch):
    store = StoreResource(root=str(root))
    documents = pq.read_table(store.artifacts.current("proxy_tokens").path / "documents.parquet")
    path = tmp_path / "scores.jsonl"
    lines = [{"doc_id": name, "mine": i % 7} for i, name in enumerate(documents.column("doc_id").to_pylist())]
    path.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setenv("GEM_MIXING__SCORES__FILE", str(path))
    first = run_step(root, "recipes/qurating", None)
    assert first.metadata["computed"]
    assert "scores scores.jsonl" in str(first.metadata["verdict"])
    assert not run_step(root, "recipes/lexical", None).metadata["computed"]
    path.write_text("\n".join(json.dumps(line | {"mine": -line["mine"]}) for line in lines))
    assert run_step(root, "recipes/qurating", None).metadata["computed"]
    path.unlink()
    definition = BY_KEY["recipes/qurating"]
    assert "which is no file" in probe(definition, load_settings(root)).missing


@pytest.mark.slow
def test_the_clusters_of_a_tokenizer_are_inferred(root, tmp_path):
    store = StoreResource(root=str(root))
    own = store.artifacts.current("proxy_tokens").path / "tokenizer.json"
    out = tmp_path / "mixture.json"
    outcome = CliRunner().invoke(
        app, ["tokenizer-mixture", str(own), "--data-root", str(root), "--merges", "20", "--out", str(out)]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "from halves of the text" in outcome.stdout
    told = json.loads(out.read_text())
    assert sum(row["share_of_bytes"] for row in told["clusters"]) == pytest.approx(1)
    assert told["merges"] == 20
    assert {row["name"] for row in told["clusters"]}
    refused = CliRunner().invoke(app, ["tokenizer-mixture", str(root / "gem.toml"), "--data-root", str(root)])
    assert refused.exit_code == 1
    assert "is no tokenizer.json" in " ".join(refused.stderr.split())


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
