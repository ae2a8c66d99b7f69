import json
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from benchmarks.trace_root import HandMadeRoot
from gem_assets.cli import app
from gem_assets.export.records import latest_bias
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import load_settings
from tests.export.worlds import word_tokenizer
from tests.lineage.conftest import build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HandMadeRoot:
    return build(tmp_path_factory.mktemp("exported") / "root")


def gem(made: HandMadeRoot, *arguments: str | Path) -> tuple[int, str, str]:
    command = ["export", *(str(a) for a in arguments), "--data-root", str(made.root)]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


def test_prints_shares_epochs_and_exhaustion(made: HandMadeRoot, tmp_path: Path):
    tokenizer = word_tokenizer(tmp_path / "words.json")
    out = tmp_path / "out"
    code, text, err = gem(
        made, "balanced", "--to", "megatron", "--tokenizer", tokenizer, "--sequence-length", "16", "--out", out
    )
    assert code == 0, err
    assert "weight in samples of sequence_length tokens" in text
    assert all(word in text for word in ("topic 2", "50.0", "% of the run", "Largest error of a share", "Use: "))
    assert (out / "report.json").is_file()


def test_json_holds_the_report_and_goes_to_the_data_root(made: HandMadeRoot):
    code, text, err = gem(made, "balanced", "--to", "levanter", "--sequence-length", "16", "--json")
    assert code == 0, err
    told = json.loads(text)
    assert told["within_tolerance"] is True
    assert Path(told["folder"]) == made.root / "exports" / "balanced-levanter"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["balanced", "--to", "megatron", "--sequence-length", "16"], "megatron reads tokens"),
        (["balanced", "--to", "caffe"], "there is megatron"),
        (["nothing", "--to", "levanter"], "Recipes: balanced"),
        (["balanced", "--to", "torchtitan", "--sequence-length", "100000"], "torchtitan cannot train this recipe"),
        (["balanced", "--to", "torchtitan", "--phase", "3"], "they count from 0"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(made: HandMadeRoot, arguments: list[str], message: str):
    code, _, err = gem(made, *arguments)
    assert code == 1
    assert message in " ".join(err.split())
    assert "not foreseen" not in err


def test_a_value_out_of_range_is_named(made: HandMadeRoot):
    code, _, err = gem(made, "balanced", "--to", "levanter", "--sequence-length", "1")
    assert code == 2
    assert "sequence_length" in err


def test_the_page_of_an_order_shows_how_far_an_export_found_its_shares_off(tmp_path: Path):
    made = build(tmp_path / "root")
    tokenizer = word_tokenizer(tmp_path / "words.json")
    _, text, _ = gem(
        made, "balanced", "--to", "nanochat", "--tokenizer", tokenizer, "--sequence-length", "16", "--json"
    )
    notes = json.loads(text)["notes"]
    assert any("off by cluster" in note for note in notes)
    with open_instance(load_settings(made.root)) as instance:
        (seen,) = instance.fetch_observations(dg.AssetKey("training_order"), limit=5).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.partition == "balanced"
    shown = seen.asset_observation.metadata
    record = latest_bias(made.root, "recipes/balanced")
    assert record is not None
    assert set(record.share_bias) == {0, 1, 2}
    worst = max(record.share_bias.values(), key=abs)
    table = shown["Share bias"].value
    assert f"{worst:+.1%}" in str(table)
    assert "words.json" in str(shown["Share bias of"].value)
    assert str(record.order)[:12] in str(shown["Share bias of"].value)
    code, _, _ = gem(made, "balanced", "--to", "levanter", "--sequence-length", "16", "--out", tmp_path / "other")
    assert code == 0
    assert latest_bias(made.root, "recipes/balanced") == record
