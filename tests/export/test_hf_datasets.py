"""The mixture as `datasets` itself draws it."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.export import hf_datasets
from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from tests.export.worlds import SHARES, World


def test_files_hold_every_document(world: World, config: ExportConfig, tmp_path: Path) -> None:
    export("hf-datasets", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    for d, cluster in zip(json.loads((tmp_path / "mixture.json").read_text())["datasets"], SHARES, strict=True):
        texts = Counter(t for f in d["files"] for t in pq.read_table(tmp_path / f).column("text").to_pylist())
        assert texts == world.texts(cluster)


def test_the_packages_draws_give_the_reported_error(world: World, config: ExportConfig, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    report = export("hf-datasets", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    spec = importlib.util.spec_from_file_location("load_mixture", tmp_path / "load_mixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    of_text = {t: c for c in SHARES for t in world.texts(c)}
    tokens = dict.fromkeys(SHARES, 0)
    rows = 0
    for row in module.load():
        tokens[of_text[row["text"]]] += row["n_tokens"]
        rows += 1
    assert rows == json.loads((tmp_path / "mixture.json").read_text())["documents"]
    error = max(abs(t / sum(tokens.values()) - SHARES[c]) for c, t in tokens.items())
    assert error == pytest.approx(report.realised_share_error)
    assert error < 0.02


def test_probabilities_count_documents(world: World, config: ExportConfig, tmp_path: Path) -> None:
    report = export("hf-datasets", world.mixture, world.batches(), tmp_path, world.tokenizer, config)
    mean = {c.cluster: c.tokens_available / c.documents for c in report.clusters}
    wanted = {c: s / mean[c] for c, s in SHARES.items()}
    total = sum(wanted.values())
    # whole clusters' means, where the run reads only a part: near, not equal
    assert [c.weight for c in report.clusters] == pytest.approx([w / total for w in wanted.values()], rel=0.1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.floats(0, 5))
def test_documents_for_tokens_inverts_tokens_of_documents(lengths: list[int], epochs: float) -> None:
    tokens = epochs * sum(lengths)
    documents = hf_datasets.documents_for(np.array(lengths), tokens)
    assert hf_datasets.tokens_of([np.array(lengths)], np.array([documents]))[0] == pytest.approx(tokens)
