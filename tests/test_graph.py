"""The shape of the graph: keys, dependencies, partitions, policies and checks, against a stored snapshot."""

import dagster as dg
import pytest

from gem_assets.assets.pictures import PICTURES
from gem_assets.definitions import code_location
from gem_assets.mixing.methods.registry import strategies
from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.reconciler import nodes_of


@pytest.fixture(scope="module")
def defs(tmp_path_factory):
    return code_location(tmp_path_factory.mktemp("root"))


def test_definitions_load(defs):
    dg.Definitions.validate_loadable(defs)


def test_asset_graph(defs, snapshot):
    graph = defs.resolve_asset_graph()
    assert "\n".join(_line(graph, graph.get(key)) for key in sorted(graph.get_all_asset_keys())) == snapshot


def _line(graph, node):
    """Key, group, partitions, dependencies, policy (and where a strategy has another one), checks and pool."""
    partitions, checks = "", ""
    if node.partitions_def is not None:
        strategies = isinstance(node.partitions_def, dg.StaticPartitionsDefinition)
        partitions = f"{len(node.partitions_def.get_partition_keys())} strategies" if strategies else "snapshot"
    for check in sorted(node.check_keys):
        checks += f" {check.name}{'!' if graph.get_check_spec(check).blocking else ''}"
    tags = {name: tag for name, tag in sorted(node.tags.items()) if name.startswith("gem/refresh")}
    policies = [f"{name.removeprefix('gem/refresh').strip('.')} {tag}".strip() for name, tag in tags.items()]
    deps = ", ".join(sorted(key.to_user_string() for key in node.parent_keys))
    pool = ", ".join(sorted(node.pools)) if node.is_materializable else ""
    return (
        f"{node.key.to_user_string()} ({node.group_name}) [{partitions}] <- {deps or 'nothing'} | "
        f"{', '.join(policies) or 'reported'} | checks:{checks or ' none'} | pool: {pool or 'none'}"
    )


def test_the_graph_fits_on_one_screen(defs):
    graph = defs.resolve_asset_graph()
    assert len(graph.materializable_asset_keys) <= 26  # 24, the map, and the search for benchmark text
    assert len(graph.get_all_asset_keys() - graph.materializable_asset_keys) <= 2
    last = [key.path[-1] for key in graph.get_all_asset_keys()]
    assert len(last) == len(set(last))
    groups = {node.group_name for node in graph.asset_nodes}
    assert groups == {"corpus", "clusters", "labels", "mixtures", "evidence", "training"}


def test_every_strategy_has_one_place_and_dagster_shows_it_once(defs):
    graph = defs.resolve_asset_graph()
    places = [node.asset for node in nodes_of(graph)]
    assert len(places) == len(set(places))
    assert {name.removeprefix("recipes/") for name in places if name.startswith("recipes/")} == set(strategies())
    for place in places:
        key, partition = shown((place, None))
        assert graph.has(key), place
        assert place_of(key, partition) == (place, None)


def test_an_order_depends_on_the_recipe_of_its_own_strategy_alone(defs):
    nodes = {node.asset: node for node in nodes_of(defs.resolve_asset_graph())}
    for strategy in strategies():
        order, audit = nodes[f"training_order/{strategy}"], nodes[f"mixture_audit/{strategy}"]
        assert [name for name in order.parents if name.startswith("recipes/")] == [f"recipes/{strategy}"]
        assert [name for name in audit.parents if "/" in name] == [f"training_order/{strategy}"]
        assert order.policy == audit.policy == ("fan_in" if strategy == "balanced" else "by_hand")
    assert {"recipes/proportional", "recipes/lexical"} <= set(nodes["recipes/end_upsampling"].parents)


def test_what_is_expensive_says_so_in_its_first_line(defs):
    fitted = {"teacher_clusters", "student_model", "proxy_tokens"}
    trained = {"proxy_swarm", "recipe_learned", "recipe_lab", "recipe_confirmation"}
    for spec in defs.resolve_all_asset_specs():
        first = (spec.description or "").split("\n")[0]
        assert first.startswith("Expensive") == (spec.key.to_user_string() in fitted | trained), spec.key


def test_a_picture_stands_below_the_first_line_of_a_description(defs):
    shown = {spec.key.to_user_string(): (spec.description or "").split("\n") for spec in defs.resolve_all_asset_specs()}
    assert all("![" not in lines[0] for lines in shown.values())
    assert {name for name, lines in shown.items() if any(line.startswith("![") for line in lines)} == set(PICTURES)


def test_jobs_are_named_by_a_verb_and_the_expensive_ones_say_so(defs):
    jobs = {job.name: job.description or "" for job in defs.get_repository_def().get_all_jobs() if job.description}
    wanted = {"new_snapshot", "refit", "learn_a_mixture", "confirm_a_mixture", "audit_a_mixture"}
    assert set(jobs) == wanted
    assert {name for name, told in jobs.items() if told.startswith("Expensive")} == wanted - {
        "new_snapshot",
        "audit_a_mixture",
    }


def test_every_asset_says_what_it_is(defs):
    for spec in defs.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners, spec.key
        assert spec.group_name != "default", spec.key
        assert spec.kinds, spec.key


def test_every_materialized_asset_is_refreshed_by_a_policy(defs):
    for spec in defs.resolve_all_asset_specs():
        if spec.key not in (dg.AssetKey("landing"), dg.AssetKey("blocklist")) and spec.tags["gem/refresh"] != "by_hand":
            assert spec.automation_condition is not None, spec.key


def test_sensors_run_from_the_start(defs):
    sensors = {s.name: s for s in defs.get_repository_def().sensor_defs}
    assert set(sensors) == {"landing", "takedown", "drift", "held", "automation"}
    assert all(s.default_status == dg.DefaultSensorStatus.RUNNING for s in sensors.values())


def test_loading_the_code_location_stays_light():
    import subprocess
    import sys

    heavy = ["torch", "faiss", "lancedb", "lance", "great_expectations", "sklearn", "matplotlib", "numba"]
    code = f"import sys, gem_assets.definitions; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_asking_every_asset_what_it_would_make_imports_nothing_heavy(tmp_path):
    import subprocess
    import sys

    heavy = ["torch", "faiss", "great_expectations", "sklearn", "matplotlib", "numba", "duckdb", "datasketch", "scipy"]
    code = f"""
import sys
from pathlib import Path
from gem_assets.corpus.landing import land
from gem_assets.definitions import code_location
from gem_assets.mixing.methods.registry import strategies
from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.reconciler import nodes_of
from gem_assets.settings import load_settings
from gem_assets.orchestration.reconciler import Reconciler
settings = load_settings(Path({str(tmp_path)!r}) / "data")
source = Path({str(tmp_path)!r}) / "pages.jsonl"
source.write_text('{{"url": "https://a.invalid", "text": "a page with some words"}}')
land([source], settings.landing, "2026-01")
graph = code_location(settings.data_root).resolve_asset_graph()
found = Reconciler(str(settings.data_root), graph, None, notes=False).look(["2026-01"])
print(len(found.items), [m for m in {heavy} if m in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, _, found = out.stdout.strip().splitlines()[-1].partition(" ")
    assert int(count) > 20
    assert found == "[]"


def test_library_half_never_imports_dagster():
    import subprocess
    import sys

    from tests.test_imports import LEVEL, MODULES, room_of

    opens_tables = {"gem_assets.storage.lance", "gem_assets.takedown.purge"}
    library = [
        name
        for name in sorted(MODULES.keys() - opens_tables)
        if name != "gem_assets" and LEVEL[room_of(name)] < LEVEL["orchestration"]
    ]
    code = (
        "import importlib, sys\n"
        f"for m in {library}: importlib.import_module(m)\n"
        "print([m for m in ('dagster', 'lancedb', 'resources', 'sensors') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "config",
    [
        {"resources": {"store": {"config": {"root": "ftp://192.0.2.1/x"}}}},
        {"resources": {"store": {"config": "ftp://192.0.2.1/x"}}},
        {"resources": {"settings": {"config": {"data_root": "/elsewhere"}}}},
        {"resources": {"engine": {"config": {"kind": "ray"}}}},
        {"resources": {"io_manager": {"config": {"base_dir": "/elsewhere"}}}},
    ],
)
def test_a_run_cannot_choose_where_resources_read_and_write(defs, config):
    job = defs.resolve_implicit_global_asset_job_def()
    dg.validate_run_config(job, {})
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, config)
