import subprocess
import sys

import pytest
from pydantic import ValidationError

from gem_assets.corpus.config import ColumnNames, CorpusConfig


def test_defaults_are_valid_and_frozen():
    config = CorpusConfig()
    assert config.near.threshold == 0.8
    with pytest.raises(ValidationError, match="frozen"):
        config.shard_rows = 3  # type: ignore[misc]


def test_one_name_stands_for_a_list():
    assert ColumnNames(text="body").text == ("body",)
    assert ColumnNames.model_validate({"url": ["a", "b"]}).url == ("a", "b")


@pytest.mark.parametrize(
    "values",
    [
        {"min_text_chars": 100, "max_text_chars": 10},
        {"near": {"threshold": 0}},
        {"near": {"num_perm": 2}},
        {"columns": {"text": []}},
        {"overlong": "drop"},
        {"shard_rows": 0},
        {"max_decompression_ratio": 1},
        {"filters": {"max_symbol_ratio": 2}},
        {"typo": 1},
        {"tokenizer": ""},
    ],
)
def test_nonsense_is_refused(values):
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate(values)


def test_settings_survive_json():
    config = CorpusConfig(languages=("EN", "de", "en"), columns=ColumnNames(text="x"))
    assert config.languages == ("de", "en")
    assert CorpusConfig.model_validate_json(config.model_dump_json()) == config


def test_settings_and_schemas_import_nothing_heavy():
    heavy = ["pyarrow", "numpy", "zstandard", "brotli", "resiliparse", "datasketch", "scipy", "torch", "tokenizers"]
    heavy.append("dagster")
    code = (
        "import sys; import gem_assets.corpus, gem_assets.corpus.config, gem_assets.corpus.landing;"
        f"bad = set({heavy}) & set(sys.modules); print(*bad); sys.exit(bool(bad))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
