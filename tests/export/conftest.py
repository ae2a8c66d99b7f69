"""The small world of the export tests, built once."""

import pytest

from gem_assets.export.config import ExportConfig
from tests.export.worlds import LENGTH, World, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Corpus, tokenizer and recipe."""
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def config() -> ExportConfig:
    """Short sequences, little memory."""
    return ExportConfig(sequence_length=LENGTH, memory_mb=128, threads=1)
