"""Recipes of methods on a whole small graph."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.mixing.recipe import Recipe
from gem_assets.orchestration.places import shown
from gem_assets.orchestration.probe import probe
from gem_assets.settings import load_settings
from resources import StoreResource
from tests.direct import BY_KEY, CORE, run_graph, run_step, write_small_settings
from tests.tiny import land_parquet, passages

BEFORE = (
    *CORE[: CORE.index("recipes/proportional") + 1],
    "proxy_tokens",
    "cluster_counts",
    "recipes/lexical",
    "proxy_swarm",
)
PROXY = """
[mixing.search]
proxies = 2
larger_models = 3
candidates = 16
[mixing.continual]
clusters = [0]
ratios = [0.0, 0.5, 1.0]
checks = 2
trajectories = 8
[proxy]
mixtures = 10
repeats = 0
device = "cpu"
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
[proxy.confirmation]
model = { width = 16, layers = 1, heads = 2, context = 32 }
training = { tokens = 4096, batch = 2, precision = "fp32", evaluate_at = [1.0] }
[mixing.scores]
proxies = 16
"""
SEARCHED = {"proxy_swarm", "proxy_tokens", "teacher_clusters"}
INPUTS = {
    "dga": {"proxy_tokens"},
    "mixmin": {"proxy_tokens"},
    "qurating": {"proxy_tokens"},
    "meta_rater": {"proxy_tokens"},
    "end_upsampling": {"recipes/proportional", "recipes/lexical"},
    "bayes": SEARCHED,
    "multi_fidelity": SEARCHED,
    "critical_ratio": {"proxy_tokens"},
    "data_mixing_agent": {"proxy_tokens"},
}


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
    assert "scores scores.jsonl" in str(first.metadata["Verdict"])
    assert not run_step(root, "recipes/lexical", None).metadata["computed"]
    path.write_text("\n".join(json.dumps(line | {"mine": -line["mine"]}) for line in lines))
    assert run_step(root, "recipes/qurating", None).metadata["computed"]
    path.unlink()
    key, strategy = shown(("recipes/qurating", None))
    assert "which is not a file" in probe(BY_KEY[key], load_settings(root), strategy).missing


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
    assert "is not a tokenizer.json" in " ".join(refused.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("strategy", INPUTS)
def test_a_method_is_made_once_from_what_the_graph_holds(root, strategy):
    result = run_step(root, f"recipes/{strategy}", None)
    assert result.metadata["computed"]
    store = StoreResource(root=str(root))
    made = store.artifacts.current(f"recipes/{strategy}")
    recipe = Recipe.read(made.path / "recipe.json")
    assert recipe.strategy == strategy
    assert len(recipe.phases) == (2 if strategy in ("end_upsampling", "data_mixing_agent") else 1)
    inputs = {ref.asset for ref in made.manifest.inputs}
    assert inputs == INPUTS[strategy] | {"domain_inventory", "gis_taxonomy"}
    told = {"Evidence", "Mixture", "Picture: shares beside proportional", "Audit", "Training order"}
    assert told <= set(result.metadata)
    again = run_step(root, f"recipes/{strategy}", None)
    assert not again.metadata["computed"]


@pytest.mark.slow
def test_a_search_that_was_killed_finds_its_runs_in_the_swarm_s_table(root):
    run_step(root, "recipes/bayes", None)
    store = StoreResource(root=str(root))
    rows = store.cache("proxy_swarm")
    before = {path.name: path.stat().st_mtime_ns for path in rows.glob("*.parquet")}
    made = store.artifacts.current("recipes/bayes")
    content = (made.path / "recipe.json").read_bytes()
    # all but the last act of the search is as a kill leaves it: rows there, no result
    shutil.rmtree(made.path.parent)
    assert run_step(root, "recipes/bayes", None).metadata["computed"]
    assert {path.name: path.stat().st_mtime_ns for path in rows.glob("*.parquet")} == before
    again = StoreResource(root=str(root)).artifacts.current("recipes/bayes")
    assert (again.path / "recipe.json").read_bytes() == content


def test_a_ratio_without_a_domain_fails_with_the_setting(root, monkeypatch):
    monkeypatch.setenv("GEM_MIXING__CONTINUAL__CLUSTERS", "[]")
    with pytest.raises(ValueError, match=r"mixing\.continual\.clusters names no cluster"):
        run_step(root, "recipes/critical_ratio", None)
