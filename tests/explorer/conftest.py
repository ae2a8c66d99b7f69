"""One data root for the explorer's tests: every stage that a view reads, on a few hundred paragraphs."""

import shutil

import pytest

from gem_assets.explorer.views import Views
from gem_assets.settings import load_settings
from gem_assets.stages import CORPUS_MAP
from tests.assets.test_method_recipes import PROXY
from tests.direct import CORE, run_graph, write_small_settings
from tests.tiny import land_parquet, passages

HOSTILE = "<script>alert('x')</script> \"quoted\" & more"
MADE = (
    *CORE,
    CORPUS_MAP,
    "proxy_tokens",
    "cluster_counts",
    "recipes/lexical",
    "proxy_swarm",
    "recipes/learned",
)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A finished root; tests that change one take ``own_root``."""
    root = tmp_path_factory.mktemp("explored")
    write_small_settings(root)
    with (root / "gem.toml").open("a") as file:
        file.write(PROXY)
    rows = passages()
    rows[0] = {**rows[0], "text": f"{HOSTILE} {rows[0]['text']}"}
    land_parquet(root, "2026-01", rows[:110])
    land_parquet(root, "2026-02", rows[110:170])
    run_graph(root, tuple(dict.fromkeys(MADE)))
    return root


@pytest.fixture(scope="session")
def views(made):
    return Views(load_settings(made))


@pytest.fixture
def own_root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "root")
