"""The registry of mixture methods, and all that derives from it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gem_assets.mixing.methods import registry
from gem_assets.mixing.methods.base import FAMILIES
from gem_assets.mixing.methods.reference import REFERENCE_COMMAND, MethodPageError, rows, written_into
from gem_assets.mixing.methods.registry import MethodError, confirmable, methods, strategies
from gem_assets.settings import Settings
from gem_assets.storage.identity import digest, plain

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "methods.md"
#: A method that uses the swarm: this one file, and its test.
INVENTED = """
from gem_assets.mixing.methods.base import SWARM, Method, mixing_settings

def make(work):
    from gem_assets.mixing.evidence import swarm_objective
    from gem_assets.mixing.caps import apply_caps
    from gem_assets.mixing.recipe import RecipeEvidence
    from gem_assets.mixing.swarm.growth import read_trained

    swarm = read_trained(work.folder(SWARM))
    best = int(swarm_objective(swarm)(swarm.table.losses).argmin())
    shares = apply_caps(swarm.table.mixtures[best], work.frame.caps)
    recipe = work.frame.recipe("{name}", shares, RecipeEvidence(method="{name}"))
    work.frame.write(recipe, work.out, {{}})
    return recipe

METHOD = Method(
    "{name}", "learned", "The best mixture of the swarm as it was trained.", make, mixing_settings,
    cost="a swarm", use="nobody trusts a law", needs=(SWARM,),
)
"""


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """A folder whose modules count as modules of the package, as if they had been added to it."""
    monkeypatch.setattr(registry.package, "__path__", [*registry.package.__path__, str(tmp_path)])
    methods.cache_clear()
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"{registry.package.__name__}.{path.stem}", None)
    methods.cache_clear()


def test_methods_are_ordered_by_family_and_say_what_a_user_needs():
    families = [found.family for found in methods().values()]
    assert families == sorted(families, key=FAMILIES.index)
    assert set(families) == set(FAMILIES)
    for name, found in methods().items():
        assert found.name == name
        assert found.summary.endswith("."), name
        assert found.cost, name
        assert found.use, name
        assert name in strategies(found.family)
    assert confirmable() == tuple(name for name, found in methods().items() if not found.unconfirmed)


def test_a_module_with_a_method_is_all_that_a_new_method_takes(invented):
    (invented / "best_run.py").write_text(INVENTED.format(name="best_run"))
    assert methods()["best_run"].module == "best_run"
    assert "best_run" in strategies("learned")
    assert "best_run" in confirmable()
    [row] = [row for row in rows() if row["method"] == "best_run"]
    assert row["needs"] == "swarm"


def test_an_invented_method_is_listed_confirmed_and_a_partition(invented):
    (invented / "best_run.py").write_text(INVENTED.format(name="best_run"))
    code = f"""
import json
import dagster as dg
from gem_assets.mixing import methods
methods.__path__.append({str(invented)!r})
from typer.testing import CliRunner
from gem_assets.cli import app
from gem_assets.definitions import code_location
listed = json.loads(CliRunner().invoke(app, ["recipes", "available", "--json"]).stdout)
refused = CliRunner().invoke(app, ["confirm", "nonsense", "--data-root", {str(invented / "root")!r}])
graph = code_location({str(invented / "root")!r}).resolve_asset_graph()
parts = {{key.to_user_string(): graph.get(key).partitions_def for key in graph.get_all_asset_keys()}}
static = {{node: d.get_partition_keys() for node, d in parts.items() if isinstance(d, dg.StaticPartitionsDefinition)}}
nodes = sorted(node for node, keys in static.items() if "best_run" in keys)
print(json.dumps([[row["method"] for row in listed], refused.output, nodes]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    listed, refused, nodes = json.loads(out.stdout.strip().splitlines()[-1])
    assert "best_run" in listed
    assert "best_run" in refused
    assert nodes == ["mixture_audit", "recipe_confirmation", "recipe_learned", "training_order"]


def test_two_modules_cannot_claim_one_name(invented):
    (invented / "best_run.py").write_text(INVENTED.format(name="regmix"))
    with pytest.raises(MethodError, match="swarm_laws and best_run both define the method regmix"):
        methods()


def test_the_page_of_methods_is_current():
    page = PAGE.read_text(encoding="utf-8")
    assert written_into(page) == page, f"run: {REFERENCE_COMMAND}"
    with pytest.raises(MethodPageError, match="once each"):
        written_into("a page without marks")


def test_importing_the_registry_loads_nothing_heavy():
    heavy = ["torch", "scipy", "sklearn", "lightgbm", "matplotlib", "resiliparse", "pandas", "dagster", "resources"]
    code = (
        "import sys; from gem_assets.mixing.methods.registry import methods; "
        f"print(len(methods()), [m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().endswith(" []")


#: What names the recipes beside their inputs and the versions of libraries; a change here makes recipes of users stale.
IDENTITIES = {
    "proportional": "9c46f34f38f8",
    "uniform": "9c46f34f38f8",
    "temperature": "9c46f34f38f8",
    "unimax": "9c46f34f38f8",
    "balanced": "9c46f34f38f8",
    "entropy": "f93df0dc6cf0",
    "lexical": "c768ef5c81f3",
    "bayes": "4ed770f2c8b4",
    "climb": "f0e387f529aa",
    "multi_fidelity": "93e1ac7a102e",
    "regmix": "b29a3a22f584",
    "log_linear": "b29a3a22f584",
    "effective_exposure": "b29a3a22f584",
    "bimix": "b29a3a22f584",
    "data_mixing_law": "b29a3a22f584",
    "learned": "421184739a00",
    "aioli": "ab3716f9e544",
    "critical_ratio": "692fb70b7b6b",
    "data_mixing_agent": "2407576f5ee5",
    "doge": "ab3716f9e544",
    "dga": "ab3716f9e544",
    "doremi": "ab3716f9e544",
    "end_upsampling": "b94571e5dd72",
    "merging": "ab3716f9e544",
    "meta_rater": "b1058e71e293",
    "mixmin": "ab3716f9e544",
    "quadmix": "35b76d1b2664",
    "qurating": "b443f2a0bc97",
    "skillit": "ab3716f9e544",
    "tikmix": "ab3716f9e544",
    "tikmix_m": "ab3716f9e544",
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_what_names_a_recipe_stays(name):
    assert named_by(name) == IDENTITIES[name], "recipes that were made become stale; if that is meant, write it here"


def named_by(name: str) -> str:
    found, settings = methods()[name], Settings(data_root=Path("unused"))
    inputs = [*found.recipes, *found.needs, found.counts]
    named = [plain(found.config(settings)), found.code_version, inputs, found.libraries, found.seed(settings)]
    return digest(plain({"named": named}))[:12]
