"""The direction of imports: which room of the package may import which, and no circle anywhere.

Imports inside functions count like any other; those under ``TYPE_CHECKING`` do not.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gem_assets

TOP = Path(gem_assets.__file__).parent.parent
#: Who may import whom, from low to high: a room imports itself and the rooms of the lines above its own.
ROOMS = (
    ("frozen", "printable", "secrets", "stages", "types"),
    ("storage", "parallel"),
    ("report",),
    ("corpus",),
    ("decontamination",),
    ("embedding",),
    ("proxy",),
    ("teacher",),
    ("taxonomy",),
    ("student", "drift"),
    ("mixing",),
    ("ordering",),
    ("lineage",),
    ("export",),
    ("takedown",),
    ("tracing",),
    ("audit",),
    ("settings",),
    ("settings_reference",),
    ("maintenance", "explorer"),
    ("orchestration",),
    ("resources",),
    ("assets",),
    ("checks", "sensors"),
    ("definitions",),
    ("run",),
    ("demo",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
#: The orchestration half; everything else is the library, which never imports Dagster.
MAY_IMPORT_DAGSTER = ("orchestration", "resources", "assets", "checks", "sensors", "definitions", "run", "cli")
#: In that half, what decides: it is asked without Dagster too.
NEVER_DAGSTER = ("gem_assets.orchestration.plan", "gem_assets.orchestration.reconcile")


def modules() -> dict[str, Path]:
    found = {}
    for top in ("gem_assets", "resources", "sensors"):
        for path in (TOP / top).rglob("*.py"):
            found[".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "gem_assets" and len(parts) > 1 else parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        yield from imported(node)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return {name: set(imported(ast.parse(path.read_text(encoding="utf-8")))) for name, path in MODULES.items()}


def upward(graph: dict[str, set[str]]) -> list[str]:
    return sorted(
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in others & MODULES.keys()
        if room_of(name) != room_of(other) and other != "gem_assets" and LEVEL[room_of(name)] <= LEVEL[room_of(other)]
    )


def test_every_room_has_its_line(graph: dict[str, set[str]]):
    assert {room_of(name) for name in graph} - {"gem_assets"} == set(LEVEL)


def test_imports_go_from_high_rooms_to_low_ones(graph: dict[str, set[str]]):
    assert upward(graph) == []


def test_an_upward_import_would_be_seen():
    assert upward({"gem_assets.storage.lance": {"gem_assets.takedown.purge", "os"}}) == [
        "gem_assets.storage.lance imports gem_assets.takedown.purge"
    ]


def test_no_module_imports_itself_through_others(graph: dict[str, set[str]]):
    try:
        TopologicalSorter({name: (others & MODULES.keys()) - {name} for name, others in graph.items()}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_library_does_not_import_dagster(graph: dict[str, set[str]]):
    found = {name for name, others in graph.items() if any(other.split(".")[0] == "dagster" for other in others)}
    assert not found.intersection(NEVER_DAGSTER)
    assert {name for name in found if room_of(name) not in MAY_IMPORT_DAGSTER} == set()
