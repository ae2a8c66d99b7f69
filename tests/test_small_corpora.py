"""What a first try with 24 documents gives, and a second snapshot in which nothing is new."""

import pytest

from gem_assets.run import run_until
from gem_assets.settings import load_settings
from gem_assets.storage.artifacts import ArtifactStore
from tests.tiny import land_jsonl, passages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = """
engine = "inline"
[corpus]
min_text_chars = 80
[embedding]
dimension = 8
[teacher]
k = 2
n_init = 1
anneal_iter = 4
[student]
hash_bits = 12
epochs = 2
"""
BY_COUNTS_ALONE = {"recipes/balanced", "recipes/proportional", "training_order/balanced", "mixture_audit/balanced"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    (root / "gem.toml").write_text(SETTINGS)
    rows = [{**row, "text": row["text"][:200]} for row in passages()[:24]]
    found = {}
    for snapshot in ("2026-01", "2026-02"):
        land_jsonl(root, snapshot, rows)
        found[snapshot] = run_until(load_settings(root))
    return ArtifactStore(root), found


def test_what_needs_counts_alone_is_made(world):
    _, found = world
    assert {step.asset for step in found["2026-01"].steps if step.succeeded} >= BY_COUNTS_ALONE


def test_what_cannot_be_made_says_what_it_lacks(world):
    _, found = world
    failed = {step.asset: step.error for step in found["2026-01"].failed}
    assert set(failed) == {"proxy_tokens"}
    assert "no cluster has text to spare for evaluation: a window needs" in failed["proxy_tokens"]
    assert "Land more" in failed["proxy_tokens"]


def test_a_snapshot_in_which_nothing_is_new_fails_nowhere(world):
    artifacts, found = world
    assert artifacts.current("raw_shards", "2026-02").manifest.counts["kept"] == 0
    assert {step.asset for step in found["2026-02"].failed} <= {"proxy_tokens"}
    made = {(step.asset, step.snapshot) for step in found["2026-02"].steps if step.succeeded}
    assert made >= {("student_labels", "2026-02"), ("drift_statistics", "2026-02"), ("mixture_audit/balanced", None)}
