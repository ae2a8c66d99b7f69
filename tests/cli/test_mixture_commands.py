import json
import re
import time

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.cli.console import run_steps

runner = CliRunner()
RATIOS = "index,law,code\n0,0.5,0.5\n1,0.25,0.75\n2,0.9,0.3\n"
METRICS = "index,a,b,mean\n0,2.0,3.0,2.5\n1,2.2,2.8,2.5\n2,2.1,2.9,2.9\n"


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratios.csv").write_text(RATIOS)
    (tmp_path / "metrics.csv").write_text(METRICS)
    return tmp_path


def run(*arguments):
    return runner.invoke(app, ["swarm", "import", "ratios.csv", "metrics.csv", *arguments])


def test_wrong_rows_are_named_and_refused(tables):
    result = run("--aggregate", "mean=a,b")
    assert result.exit_code == 1
    assert "ratios.csv, line 4, run 2: shares sum to 1.2" in result.stderr
    assert "mean is 2.9, the mean of its 2 parts is 2.5" in result.stderr
    assert not (tables / "swarm.parquet").exists()


def test_wrong_rows_are_flagged_or_dropped_by_choice(tables):
    flagged = run("--on-fault", "flag")
    assert flagged.exit_code == 0
    assert "flagged: ratios.csv, line 4" in flagged.stdout
    assert pq.read_table(tables / "swarm.parquet").num_rows == 3
    dropped = run("--on-fault", "drop")
    assert dropped.exit_code == 0
    assert "left out: ratios.csv, line 4" in dropped.stdout
    assert pq.read_table(tables / "swarm.parquet").num_rows == 2


def test_a_name_may_hold_a_comma_and_quotes(tables):
    (tables / "ratios.csv").write_text('index,"Science, Math","a ""b"" = c"\n0,0.5,0.5\n1,0.25,0.75\n')
    (tables / "metrics.csv").write_text('index,"x, y",z,"m=1"\n0,2.0,3.0,2.5\n1,2.2,2.8,2.5\n')
    done = run("--domains", '"a ""b"" = c", "Science, Math"', "--aggregate", '"m=1"="x, y",z')
    assert done.exit_code == 0, done.stderr
    columns = pq.read_table(tables / "swarm.parquet").column_names
    assert columns[:3] == ["run", 'share:a "b" = c', "share:Science, Math"]


def test_domains_are_put_in_the_order_wanted(tables):
    assert run("--on-fault", "drop", "--domains", "code,law").exit_code == 0
    assert pq.read_table(tables / "swarm.parquet").column_names[:3] == ["run", "share:code", "share:law"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--on-fault", "ignore"], "refuse, drop or flag"),
        (["--aggregate", "mean"], "name=part,part"),
        (["--domains", "law,prose"], "missing ['prose']"),
        (["--domains", '"law,code'], "cannot be read as a line of CSV"),
        (["--domains", "law,code,law"], "law are asked for more than once"),
        (["--out", "swarm.csv"], "NAME.parquet"),
        (["--out", "nowhere/swarm.parquet"], "folder that exists"),
    ],
)
def test_what_cannot_be_asked_says_what_can(tables, arguments, said):
    result = run(*arguments)
    assert result.exit_code != 0
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_recipes_without_any_say_what_to_do(tmp_path):
    (tmp_path / "landing").mkdir()
    result = runner.invoke(app, ["recipes", "--data-root", str(tmp_path)])
    assert result.exit_code == 1
    assert "no recipe has been made" in result.stderr


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("end_upsampling", "two phases"),
        ("critical_ratio", "trained before"),
        ("data_mixing_agent", "trained before"),
        ("proportional", "is a rule: it claims no gain"),
        ("nonsense", "no recipe 'nonsense'"),
    ],
)
def test_confirm_names_the_recipes_that_there_are(tmp_path, strategy, why):
    result = runner.invoke(app, ["confirm", strategy, "--data-root", str(tmp_path / "root")])
    assert result.exit_code == 1
    assert why in result.stderr
    assert "entropy, lexical, bayes, climb" in result.stderr
    assert not (tmp_path / "root").exists()


def test_every_recipe_that_can_be_confirmed_has_its_asset():
    from gem_assets.assets import recipe_confirmation
    from gem_assets.mixing.methods.registry import confirmable, methods

    assert recipe_confirmation.partitions_def is not None
    confirmed = set(recipe_confirmation.partitions_def.get_partition_keys())
    assert confirmed == set(confirmable())
    assert set(methods()) - confirmed == {
        "proportional", "uniform", "temperature", "unimax", "balanced",
        "end_upsampling", "critical_ratio", "data_mixing_agent",
    }  # fmt: skip


def test_a_step_that_fails_is_named_with_its_log(tmp_path):
    (tmp_path / "landing").mkdir()
    result = runner.invoke(app, ["confirm", "lexical", "--data-root", str(tmp_path)])
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "recipes/lexical failed" in said
    assert "materialize it first" in said
    assert "dagster/logs/mixtures.log" in said.replace(" ", "")
    assert "done" not in result.stdout
    assert "Mixtures:" not in result.stdout


def test_progress_of_a_run_is_taken_from_its_log_and_said_once(tmp_path, capsys):
    log = tmp_path / "logs" / "run.log"
    with run_steps(log, every_s=0.01) as report, log.open("a") as lines:
        report(0, 1, "proxy_swarm")
        lines.write("2026 - dagster - INFO - job - 1 - proxy_swarm - proxy_swarm: 3 of 14 proxies, about 9 s left\n")
        lines.write("2026 - dagster - INFO - job - 1 - proxy_swarm - swarm: 3 of 14, 2 per second, 9 s left\n")
        lines.write("2026 - dagster - DEBUG - job - 1 - proxy_swarm - STEP_START - Started execution of step\n")
        lines.flush()
        shown, deadline = "", time.monotonic() + 60
        while not shown and time.monotonic() < deadline:
            time.sleep(0.01)
            shown += capsys.readouterr().out
        report(1, 1, "done")
    said = (shown + capsys.readouterr().out).splitlines()
    assert said[0] == "  proxy_swarm: 3 of 14 proxies, about 9 s left"
    assert re.fullmatch(r"  proxy_swarm +\d+\.\d s", said[1])
    assert len(said) == 2


def test_a_long_step_is_never_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gem_assets.cli.console._SILENCE_S", 0.02)
    with run_steps(tmp_path / "run.log", every_s=0.01) as report:
        report(0, 1, "recipe_confirmation/lexical")
        time.sleep(0.05)  # the log is looked at once more when the run ends, however late the thread starts
    assert re.search(r"recipe_confirmation/lexical: running for \d+ s", capsys.readouterr().out)


def test_a_learned_recipe_without_a_swarm_names_the_command_before_it_runs(tmp_path):
    (tmp_path / "landing").mkdir()
    result = runner.invoke(app, ["confirm", "regmix", "--data-root", str(tmp_path)])
    assert result.exit_code == 1
    assert "there is none yet: gem swarm run" in result.stderr
    assert not (tmp_path / "dagster").exists()


def test_recipes_stand_side_by_side(tmp_path):
    from gem_assets.storage.artifacts import ArtifactStore
    from tests.mixing.test_confirmation import baseline, learned_recipe

    store = ArtifactStore(tmp_path)
    for recipe in (baseline(), learned_recipe()):
        with store.write(f"recipes/{recipe.strategy}", recipe.identity) as draft:
            recipe.write(draft.path / "recipe.json")
    page = tmp_path / "page.html"
    told = runner.invoke(app, ["recipes", "--data-root", str(tmp_path), "--html", str(page)])
    assert told.exit_code == 0, told.stderr
    assert "Use proportional" in told.stdout
    assert "learned" in told.stdout
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(runner.invoke(app, ["recipes", "--data-root", str(tmp_path), "--json"]).stdout)
    assert found["recommended"] == "proportional"
    assert [row["recipe"] for row in found["recipes"]] == ["proportional", "learned"]
