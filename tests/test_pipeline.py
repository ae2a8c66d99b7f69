"""The whole graph on a tiny real corpus: it runs, it adds up, and running it again writes nothing."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from great_expectations.datasource.fluent.interfaces import Batch
from great_expectations.expectations.metadata_types import FailureSeverity
from typer.testing import CliRunner

from gem_assets.checks import ALL_CHECKS, recipe_checks
from gem_assets.cli import app
from gem_assets.cli.planning import make_plan
from gem_assets.run import UnknownAssetError, materialize_everything
from gem_assets.settings import load_settings
from resources import SettingsResource, StoreResource
from tests.tiny import land_jsonl, land_parquet, passages, write_settings

# the first test also builds the whole graph, which takes minutes on a machine that is busy with other work
pytestmark = pytest.mark.timeout(900)

RECIPES = ["proportional", "uniform", "temperature", "unimax", "balanced"]


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of artifacts and tables with size and modification time."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in ("artifacts", "tables", "landing")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    write_settings(root)
    rows = passages()
    half = len(rows) * 2 // 3
    land_parquet(root, "2026-01", rows[:half])
    edited = [{**row, "text": row["text"] + "\n\nEdited since the last crawl."} for row in rows[:10]]
    land_jsonl(root, "2026-02", edited + rows[10:60] + rows[half:], damaged=True)
    settings = load_settings(root)
    return settings, materialize_everything(settings)


@pytest.fixture(scope="module")
def store(built):
    settings, _ = built
    return StoreResource(root=str(settings.data_root))


def counts(store, asset, partition=None):
    return store.artifact(store.input(asset, partition)).manifest.counts


@pytest.mark.slow
def test_everything_succeeds(built):
    _, summary = built
    assert [s for s in summary.steps if not s.succeeded] == []
    assert {s.asset for s in summary.steps if s.snapshot is None} >= {f"recipes/{name}" for name in RECIPES}
    # eight hundred paragraphs are too few for a good student: its checks may warn
    warned = [s for s in summary.steps if s.failed_checks and not s.asset.startswith("student")]
    assert warned == []


SUITES = [*(one for one in ALL_CHECKS if one not in recipe_checks), recipe_checks[0]]
"""Recipes share one suite; the first recipe's stands for all."""


@pytest.mark.parametrize("check", SUITES, ids=lambda check: next(iter(check.check_keys)).name)
def test_only_a_critical_expectation_makes_a_check_an_error(check, built, store, monkeypatch):
    """Each expectation of each suite fails once, alone: what only informs or warns is no error and holds nothing."""
    outcomes, failing = [], 0
    validate = Batch.validate

    def validated(batch, suite, **options):
        if not outcomes:
            outcomes.append(validate(batch, suite, **options))
        for place, result in enumerate(outcomes[0].results):
            result.success = place != failing
        outcomes[0].success = False
        return outcomes[0]

    monkeypatch.setattr(Batch, "validate", validated)
    settings, _ = built
    given = {
        "context": SimpleNamespace(partition_key="balanced" if check in recipe_checks else "2026-01"),
        "settings": SettingsResource(data_root=str(settings.data_root)),
        "store": store,
    }
    look = check.op.compute_fn.decorated_fn
    asked = {name: given[name] for name in inspect.signature(look).parameters}
    severities = []
    while not outcomes or failing < len(outcomes[0].results):
        judged = look(**asked)
        severities.append(outcomes[0].results[failing].expectation_config.severity)
        critical = severities[-1] == FailureSeverity.CRITICAL
        assert not judged.passed
        assert judged.severity == (dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN)
        failing += 1
    (spec,) = check.check_specs
    assert not spec.blocking or FailureSeverity.CRITICAL in severities


def test_every_record_is_accounted_for(store):
    for snapshot in ("2026-01", "2026-02"):
        found = counts(store, "raw_shards", snapshot)
        assert found["read"] == found["kept"] + found["duplicates"] + found["filtered"] + found["quarantined"]
        assert found["kept"] > 50


def test_damaged_files_are_quarantined_with_a_reason(store):
    import pyarrow.parquet as pq

    folder = store.artifact(store.input("raw_shards", "2026-02")).path
    rows = pq.read_table(folder / "quarantine.parquet").to_pylist()
    assert {row["file"] for row in rows} == {"pages.jsonl.gz", "empty.jsonl", "broken.parquet"}
    assert all(row["reason"] for row in rows)


def test_unsure_documents_were_labelled_by_the_students_own_teacher(store):
    for snapshot in ("2026-01", "2026-02"):
        found = store.artifact(store.input("student_labels", snapshot)).manifest
        assert 0 < found.metrics["escalated_share"] <= 0.2
        assert found.config["escalate_margin"] == 0.2
    student = store.input("student_model")
    assert store.ancestor(student, "teacher_clusters").identity == store.input("teacher_clusters").identity


def test_text_seen_in_two_snapshots_is_kept_once(store):
    import pyarrow.parquet as pq

    folder = store.artifact(store.input("raw_shards", "2026-02")).path
    again = [r for r in pq.read_table(folder / "duplicates.parquet").to_pylist() if r["kind"] == "exact_across"]
    assert len(again) >= 45
    assert {row["kept_snapshot"] for row in again} == {"2026-01"}


def test_inventory_is_the_sum_of_the_snapshots(store):
    inventory = counts(store, "domain_inventory")
    shards = [counts(store, "raw_shards", s) for s in ("2026-01", "2026-02")]
    assert inventory["documents"] == sum(s["kept"] for s in shards)
    assert inventory["tokens"] == sum(s["tokens"] for s in shards)


def test_teacher_is_certified(store):
    metrics = store.artifact(store.input("teacher_clusters")).manifest.metrics
    assert metrics["monotone"] is True
    assert metrics["gap"] < 1e-8


def test_manifests_name_every_input_by_content(store):
    recipe = store.artifact(store.input("recipes/balanced")).manifest
    assert {ref.asset for ref in recipe.inputs} == {"domain_inventory", "gis_taxonomy"}
    assert recipe.recomputed_identity() == recipe.identity
    labels = store.artifact(store.input("student_labels", "2026-01")).manifest
    assert labels.lance[0].rows == labels.counts["documents"]


def test_the_order_comes_with_its_guidelines_and_pictures(store):
    order = store.artifact(store.input("training_order/balanced"))
    assert {"curve.png", "shares.png", "guidelines.json"} <= {file.path for file in order.manifest.outputs}
    figures = [row["figure"].split(":")[0] for row in order.manifest.metrics["guidelines"]]
    assert set(figures) == {"boundary", "cyclic", "continuity", "local diversity"}


def test_the_audit_of_a_real_mixture_is_accepted_by_the_validators(store):
    import mlcroissant
    import spdx_python_model

    folder = store.artifact(store.input("mixture_audit/balanced")).path
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    model, objects = spdx_python_model.load_data(json.loads((folder / "spdx.json").read_text()))
    assert len(list(objects.foreach_type(model.dataset_DatasetPackage))) == 3
    events = [json.loads(line) for line in (folder / "openlineage.jsonl").read_text().splitlines()]
    assert {event["job"]["name"] for event in events} >= {"raw_shards", "teacher_clusters", "recipes/balanced"}
    found = json.loads((folder / "eu_summary.json").read_text())
    # the help topics are one site, at an address that no one can register
    assert found["sources"]["crawled"]["largest_domains"] == ["help.invalid"]


@pytest.mark.slow
def test_gem_audit_copies_the_audit_of_the_current_mixture(built, store, tmp_path):
    settings, _ = built
    arguments = [
        "audit",
        "balanced",
        "--data-root",
        str(settings.data_root),
        "--out",
        str(tmp_path / "audit"),
        "--json",
    ]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    current = store.artifact(store.input("mixture_audit/balanced"))
    assert set(told["files"]) == {file.path for file in current.manifest.outputs}
    assert told["facts"]["report"]["merkle_root"] == current.manifest.metrics["merkle_root"]
    assert (tmp_path / "audit" / "index.html").read_bytes() == (current.path / "index.html").read_bytes()
    # an existing folder of another kind is refused
    (tmp_path / "audit" / "manifest.json").unlink()
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "is not an audit" in refused.output


@pytest.mark.parametrize("argument", ["only", "also"])
def test_a_name_that_is_no_asset_is_refused_with_those_that_come_close(tmp_path, argument):
    with pytest.raises(UnknownAssetError, match="no asset 'recipes/lexicla'; did you mean recipes/lexical, "):
        materialize_everything(load_settings(tmp_path), **{argument: ["recipes/lexicla"]})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_made_is_said_and_progress_does_not_say_done(tmp_path):
    told = []
    names = ["recipes/lexical", "recipes/entropy"]
    summary = materialize_everything(load_settings(tmp_path), lambda *args: told.append(args), only=names)
    assert [step.asset for step in summary.failed] == ["recipes/entropy", "recipes/lexical"]
    assert "proxy_tokens has not been materialized" in summary.failed[0].error
    assert told == [(0, 0, "2 failed")]


def test_a_text_that_another_snapshot_kept_is_taken_up_in_the_run_that_loses_it(tmp_path):
    write_settings(tmp_path)
    settings, rows = load_settings(tmp_path), passages()[:9]
    land_parquet(tmp_path, "2026-01", rows[:3])
    land_parquet(tmp_path, "2026-02", rows[3:6])
    materialize_everything(settings, only=["raw_shards"])
    # the first snapshot now shows a page of the second, which the second shows no more
    land_parquet(tmp_path, "2026-01", rows[:4])
    land_parquet(tmp_path, "2026-02", rows[4:])
    summary = materialize_everything(settings, only=["raw_shards"])
    assert [step.snapshot for step in summary.steps] == ["2026-01", "2026-02", "2026-01"]
    store = StoreResource(root=str(tmp_path))
    kept = [store.artifacts.current("raw_shards", name).manifest.counts["kept"] for name in ("2026-01", "2026-02")]
    assert kept == [4, 5]
    assert not materialize_everything(settings, only=["raw_shards"]).steps


@pytest.mark.slow
def test_running_again_writes_nothing(built, store):
    settings, first = built
    before = contents(settings.data_root)
    assert make_plan(settings).tasks == ()
    versions = {name: store.tables.versions(name) for name in store.tables.tables()}
    again = materialize_everything(settings)
    assert again.steps == ()
    told = {(s.asset, s.snapshot): set(s.failed_checks) for s in first.steps}
    assert {(s.asset, s.snapshot): set(s.failed_checks) for s in again.standing} == told
    assert contents(settings.data_root) == before
    assert {name: store.tables.versions(name) for name in store.tables.tables()} == versions


@pytest.mark.slow
def test_learned_recipes_run_by_name_and_a_rerun_trains_nothing(built, store):
    settings, _ = built
    by_name = [
        "proxy_swarm",
        "recipes/bimix",
        "recipes/climb",
        "recipe_confirmation/bimix",
        "recipe_report",
    ]
    summary = materialize_everything(settings, only=by_name, also=by_name)
    assert [s for s in summary.steps if not s.succeeded] == []
    assert {s.asset for s in summary.steps} == set(by_name)
    rows = {path: path.stat().st_mtime_ns for path in store.cache("proxy_swarm").glob("*.parquet")}
    # fourteen mixtures, two repeats, rounds of seven and three, three arms of two seeds
    assert len(rows) >= 14 + 2 + 7 + 3
    swarm = counts(store, "proxy_swarm")
    assert swarm["proxies"] == swarm["mixtures"] + 2
    confirmed = store.artifact(store.input("recipe_confirmation/bimix")).manifest
    assert confirmed.counts["seeds"] == 2
    assert confirmed.metrics["verdict"]
    report = store.artifact(store.input("recipe_report"))
    assert report.manifest.metrics["recommended"] in ("proportional", "bimix")
    assert {ref.asset for ref in report.manifest.inputs} >= {"recipes/climb", "recipe_confirmation/bimix"}
    page = (report.path / "recipes.html").read_text(encoding="utf-8")
    assert "lexical proxy" in page
    before = contents(settings.data_root)
    materialize_everything(settings, only=by_name, also=by_name)
    assert contents(settings.data_root) == before
    assert {path: path.stat().st_mtime_ns for path in store.cache("proxy_swarm").glob("*.parquet")} == rows


@pytest.mark.slow
def test_a_new_snapshot_refits_nothing(built, store):
    settings, _ = built
    fitted = ["embedding_space", "teacher_clusters", "student_model", "gis_taxonomy"]
    before = {name: store.input(name).identity for name in fitted}
    documents = counts(store, "domain_inventory")["documents"]
    rows = [{**row, "url": row["url"] + "x", "text": row["text"][::-1]} for row in passages()[:40]]
    incoming = land_parquet(settings.data_root.parent / "incoming", "2026-03", rows)
    imagined = make_plan(settings, "2026-03", [incoming])
    land_parquet(settings.data_root, "2026-03", rows)
    plan = make_plan(settings)
    steps = [(task.asset, task.partition) for task in plan.tasks]
    assert steps == [(task.asset, task.partition) for task in imagined.tasks]
    of_snapshots = {asset for asset, partition in steps if partition is not None}
    assert of_snapshots >= {"raw_shards", "embeddings", "student_labels", "drift_statistics"}
    assert {partition for _, partition in steps} == {None, "2026-03"}
    assert {asset for asset, partition in steps if partition is None} >= {"domain_inventory", "recipes/balanced"}
    assert not set(fitted) & {asset for asset, _ in steps}
    assert set(plan.kept) >= {"embedding_space", "teacher_clusters"}
    assert all(task.automatic and task.reasons and task.documents and task.seconds for task in plan.tasks)
    summary = materialize_everything(settings, only=[asset for asset, _ in steps])
    assert [s for s in summary.steps if not s.succeeded] == []
    assert {name: store.input(name).identity for name in fitted} == before
    assert counts(store, "domain_inventory")["documents"] == documents + counts(store, "raw_shards", "2026-03")["kept"]


@pytest.mark.slow
def test_a_refit_keeps_ids_and_names_and_a_second_call_finds_nothing_to_do(built, store):
    from gem_assets.taxonomy.publish import TAXONOMY_NAME
    from gem_assets.taxonomy.taxonomy import Taxonomy

    def taxonomy():
        return Taxonomy.read(store.artifact(store.input("gis_taxonomy")).path / TAXONOMY_NAME)

    settings, _ = built
    before, first = taxonomy(), store.input("teacher_clusters")
    follow = ("teacher_clusters", "gis_taxonomy", "carried_evidence")
    summary = materialize_everything(settings, only=follow)
    assert [s for s in summary.steps if not s.succeeded] == []
    second = store.artifact(store.input("teacher_clusters"))
    assert first.identity in [ref.identity for ref in second.manifest.inputs if ref.asset == "teacher_clusters"]
    after = taxonomy()
    assert before.refit is None
    assert after.refit is not None
    assert after.refit.previous == before.version
    old = {p.id: p.name for p in before.hierarchy.parents}
    kept = [p for p in after.hierarchy.parents if p.id in old]
    assert kept
    assert [(p.name, p.named_by) for p in kept] == [(old[p.id], "previous") for p in kept]
    assert all(p.id >= before.hierarchy.next_id for p in after.hierarchy.parents if p.id not in old)
    assert after.refit.kept > 0.9
    assert {c.domain: c.name for c in after.clusters} == {c.domain: c.name for c in before.clusters}
    assert counts(store, "carried_evidence")["recipes"] >= len(RECIPES)
    stored = contents(settings.data_root)
    materialize_everything(settings, only=follow)
    assert contents(settings.data_root) == stored
