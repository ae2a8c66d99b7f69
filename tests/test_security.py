"""What comes from outside stays data: names never become paths or filters, artifacts never code."""

import ast
import inspect
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.corpus.landing import LandingError, validate_snapshot_name
from gem_assets.orchestration.dev_server import DevServer
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_source import rows_of
from gem_assets.storage.manifest import check_partition
from tests.resources.tables import rows

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gem_assets", "resources", "sensors")
HOSTILE = [
    "../up", "/etc", "a/b", "a\\b", "..", ".", "", "a..b", ".hidden", "s' OR '1'='1", 's" OR 1=1', "s'; DROP TABLE t",
    "s\0", "s\n", "a%00", "a b", "ä", "a" * 200, "$(id)", "`id`", "-rf", "a:b", "a*", "all",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_entry_point_takes_a_hostile_snapshot_name(tmp_path, name):
    tables = LanceTables(tmp_path / "db")
    for take in (
        lambda: check_partition(name),
        lambda: rows_of(name),
        lambda: tables.replace_snapshot("t", rows("s", 2), name),
        lambda: list(tables.scan("t", snapshot=name)),
        lambda: tables.tag("t", name, 1),
    ):
        with pytest.raises((ValueError, KeyError)):
            take()
    with pytest.raises(LandingError):
        validate_snapshot_name(name)
    assert not list(tmp_path.rglob("*.lance"))


@given(st.text(st.sampled_from("ab01._=+-'\"/\\ %;\0\n*"), max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_name_that_is_taken_is_one_path_component_and_one_quoted_value(name):
    try:
        taken = check_partition(name)
    except ValueError:
        return
    assert Path("/landing", taken).resolve().parent == Path("/landing")
    assert rows_of(taken) == f"snapshot = '{taken}'"
    assert not set(taken) & set("'\"\\/%;\0\n* ")


def test_a_filter_selects_its_own_snapshot_and_no_other(tmp_path):
    tables = LanceTables(tmp_path)
    names = ["a", "a-1", "a.1", "a_1", "a=1", "a+1", "A"]
    for number, name in enumerate(names):
        tables.replace_snapshot("t", rows(name, number + 1), name)
    assert {name: tables.count("t", snapshot=name) for name in names} == {n: i + 1 for i, n in enumerate(names)}


def calls(path: Path) -> set[str]:
    """Dotted names of what a module calls, and of what it imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_nothing_is_unpickled_but_what_the_engine_sends_to_its_own_workers():
    forbidden = {
        "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch.load", "torch.save",
        "yaml.load", "yaml.unsafe_load", "eval", "exec", "pd.read_pickle",
    }  # fmt: skip
    users = {
        path.relative_to(ROOT).as_posix(): sorted(calls(path) & forbidden)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if calls(path) & forbidden
    }
    assert users == {f"gem_assets/parallel/{name}.py": ["pickle"] for name in ("pool", "ray_map", "worker")}


def test_arrays_are_read_without_pickles():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                    stated = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    assert stated.get("allow_pickle") == "False", f"{path}:{node.lineno}"


def test_no_setting_can_hold_a_secret():
    from gem_assets.settings import Settings

    def names(model, prefix=""):
        for name, field in model.model_fields.items():
            yield f"{prefix}{name}"
            kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
            for kind in kinds:
                if hasattr(kind, "model_fields"):
                    yield from names(kind, f"{prefix}{name}.")

    listed = list(names(Settings))
    assert len(listed) > 50
    words = ("secret", "password", "passwd", "credential", "api_key", "access_key")
    assert [name for name in listed if any(word in name.lower() for word in words)] == []


def test_the_web_interface_listens_on_loopback_unless_told():
    from gem_assets.cli.app import dev

    assert inspect.signature(DevServer).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(dev).parameters["host"].default == "127.0.0.1"


def test_a_table_of_hostile_values_is_stored_as_it_is(tmp_path):
    tables = LanceTables(tmp_path)
    data = rows("s", len(HOSTILE))
    data = data.set_column(2, "text", pa.array(HOSTILE, pa.large_string()))
    tables.replace_snapshot("t", data, "s")
    assert sorted(tables.read("t").column("text").to_pylist()) == sorted(HOSTILE)
