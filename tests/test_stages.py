"""The table of the assets against the graph, and that nothing else spells their names."""

import ast

import dagster as dg
import pytest

from gem_assets import stages
from gem_assets.definitions import code_location
from gem_assets.orchestration.places import FAMILIES
from tests.test_imports import MODULES

NAMES = {value for name, value in vars(stages).items() if name.isupper() and isinstance(value, str)}
#: Words that also mean other things: a folder, a group of weights, a sensor, a kind of reason.
WORDS = {"landing", "embeddings", "drift", "recipes", "blocklist", stages.KEPT_CURRENT}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return code_location(tmp_path_factory.mktemp("root")).resolve_asset_graph()


def test_every_asset_of_the_graph_is_named(graph):
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names - set(FAMILIES) == NAMES - {stages.RECIPES, stages.KEPT_CURRENT}


def test_assets_per_snapshot_are_those_of_the_graph(graph):
    per_snapshot = {
        node.key.to_user_string()
        for node in graph.asset_nodes
        if node.is_materializable and isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
    }
    assert per_snapshot == set(stages.SNAPSHOT_WISE)


def test_every_asset_that_is_made_has_a_policy(graph):
    made = {key.to_user_string() for key in graph.materializable_asset_keys} - set(FAMILIES)
    assert made == {name for name in stages.POLICIES if "/" not in name}


def test_names_are_spelled_in_one_place():
    spelled = {
        (module, node.value)
        for module, path in MODULES.items()
        if module != "gem_assets.stages"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES - WORDS
    }
    assert spelled == set()
