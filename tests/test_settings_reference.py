"""``gem settings`` and the page of all settings."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.settings import Settings, SettingsError, load_settings
from gem_assets.settings_reference import REFERENCE_COMMAND, effective_settings, reference

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"


def test_the_page_of_settings_is_current():
    assert PAGE.read_text(encoding="utf-8") == reference(), f"run: {REFERENCE_COMMAND}"


def test_the_page_names_every_setting_once_under_its_section(tmp_path: Path):
    listed: list[str] = []
    section = ""
    for line in reference().splitlines():
        if line.startswith("##"):
            found = re.search(r"`\[(.+)\]`", line)
            section = f"{found[1]}." if found is not None else ""
        elif line.startswith("| `"):
            listed.append(section + line.split("`")[1])
    assert len(listed) == len(set(listed))
    keys = {one.key for one in effective_settings(load_settings(tmp_path))} - {"data_root"}
    # a section that is absent by default is one value there, and a table of its own on the page
    absent = {"taxonomy.namer", "ordering.final_phase", "ordering.metadata_prefix"}
    assert keys - set(listed) == absent
    assert {key.rpartition(".")[0] for key in set(listed) - keys} == absent


def test_every_description_is_a_sentence():
    for line in reference().splitlines():
        if line.startswith("| `"):
            assert re.search(r"\| .+\. \|$", line), line


def show(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["settings", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("GEM_DATA_ROOT", raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GEM_{name.upper()}", raising=False)
    return monkeypatch


def test_each_value_says_where_it_comes_from(tmp_path: Path, clean: pytest.MonkeyPatch):
    written = '[teacher]\nk = 12\nn_init = 3\n[audit.statements]\nmodel = "m"\n[taxonomy.namer]\n'
    written += 'base_url = "http://127.0.0.1/v1"\nmodel = "x"\n[mixing.search]\nproxies = 8\n'
    (tmp_path / "gem.toml").write_text(written)
    clean.setenv("GEM_TEACHER__K", "48")
    clean.setenv("GEM_DRIFT", '{"divergence": {"warn": 0.01, "refit": 1}}')
    clean.setenv("GEM_AUDIT__STATEMENTS", '{"provider": "p"}')
    found = {one["key"]: (one["value"], one["source"]) for one in show("--data-root", str(tmp_path))}
    assert found["data_root"] == (str(tmp_path), "--data-root")
    assert found["teacher.k"] == (48, "environment")
    assert found["teacher.n_init"] == (3, "gem.toml")
    assert found["teacher.seed"] == (0, "default")
    assert found["drift.divergence.warn"] == (0.01, "environment")
    assert found["drift.unsure_rise.warn"] == (0.05, "default")
    # a value that is written down is from the file, even where it equals the default
    assert found["mixing.search.proxies"] == (8, "gem.toml")
    assert found["taxonomy.namer.model"] == ("x", "gem.toml")
    # left out of the identity, and still a setting
    assert found["taxonomy.namer.timeout_s"] == (30.0, "default")
    assert found["audit.statements"] == ({"model": "m", "provider": "p"}, "gem.toml, environment")
    changed = [one["key"] for one in show("--changed", "--data-root", str(tmp_path))]
    assert changed == [key for key, (_, source) in found.items() if source != "default"]


def test_the_data_root_says_how_it_was_chosen(tmp_path: Path, clean: pytest.MonkeyPatch):
    clean.chdir(tmp_path)
    assert show("--changed") == []
    clean.setenv("GEM_DATA_ROOT", str(tmp_path / "x"))
    assert show("--changed") == [{"key": "data_root", "value": str(tmp_path / "x"), "source": "environment"}]
    assert not (tmp_path / "x").exists()


def test_a_secret_in_a_setting_is_not_shown(tmp_path: Path, clean: pytest.MonkeyPatch):
    clean.setenv("GEM_NAMER_API_KEY", "sesame-0123456789")
    clean.setenv("GEM_AUDIT__STATEMENTS", '{"provider": "key sesame-0123456789, http://me:secret@host/"}')
    for arguments in (["settings"], ["settings", "--json"]):
        result = CliRunner().invoke(app, [*arguments, "--data-root", str(tmp_path)])
        assert "(hidden)" in result.output
        assert "sesame" not in result.output
        assert "me:secret" not in result.output


@pytest.mark.parametrize("value", ["{", "48", "x"])
def test_a_section_in_the_environment_that_is_not_json_is_named(tmp_path: Path, clean: pytest.MonkeyPatch, value: str):
    clean.setenv("GEM_TEACHER", value)
    with pytest.raises(SettingsError, match=r"(?i)teacher"):
        load_settings(tmp_path)
