"""The shape of the graph: keys, dependencies, partitions, policies and checks, against a stored snapshot."""

import dagster as dg
import pytest

from gem_assets.definitions import code_location


@pytest.fixture(scope="module")
def defs(tmp_path_factory):
    return code_location(tmp_path_factory.mktemp("root"))


def test_definitions_load(defs):
    dg.Definitions.validate_loadable(defs)


def test_asset_graph(defs, snapshot):
    graph = defs.resolve_asset_graph()
    shape = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        shape[key.to_user_string()] = {
            "deps": sorted(k.to_user_string() for k in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "partitions": node.partitions_def.name if node.partitions_def else None,
            "policy": node.tags.get("gem/refresh"),
            "checks": sorted(
                f"{check.name}{' (blocking)' if graph.get_check_spec(check).blocking else ''}"
                for check in node.check_keys
            ),
            "pool": sorted(node.pools) if node.is_materializable else [],
        }
    assert shape == snapshot


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
    from pathlib import Path

    import gem_assets

    root = Path(gem_assets.__file__).parent
    dagster_half = {
        "assets",
        "checks",
        "cli",
        "demo",
        "definitions.py",
        "orchestration",
        "maintenance",
        "lance.py",
        "purge.py",
    }
    modules = [
        ".".join(("gem_assets", *path.relative_to(root).with_suffix("").parts))
        for path in sorted(root.rglob("*.py"))
        if not dagster_half.intersection(path.relative_to(root).parts)
        and path.name not in ("__init__.py", "__main__.py")
    ]
    code = (
        "import importlib, sys\n"
        f"for m in {modules}: importlib.import_module(m)\n"
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
