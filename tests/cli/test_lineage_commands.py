import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.trace_root import LANDED, HandMadeRoot
from gem_assets.cli import app
from gem_assets.takedown.blocklist import BlockEntry, Blocklist, BlockRequest
from tests.lineage.conftest import build, pages
from tests.report.test_pages import check_is_inert


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandMadeRoot:
    monkeypatch.setenv("COLUMNS", "200")
    return build(tmp_path / "root")


def gem(made: HandMadeRoot, *arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--data-root", str(made.root)])
    return result.exit_code, result.stdout, result.stderr


def test_trace_prints_and_writes_json_and_a_page(made: HandMadeRoot, tmp_path: Path):
    page = tmp_path / "trace.html"
    code, out, _ = gem(made, "trace", "https://www1.site1.example/page/7", "--html", page)
    assert code == 0
    assert "pages.jsonl at 7" in out
    assert "topic 1 (cluster 1)" in out
    assert "of " in out
    assert "balanced@" in check_is_inert(page.read_text()).text
    code, out, _ = gem(made, "trace", "site1.example", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["domain"]["documents"] == 30
    assert len(answer["documents"]) == 20
    code, out, _ = gem(made, "trace", "https://nowhere.example/")
    assert code == 1
    assert "is not in any snapshot" in out


def test_diff_prints_and_writes_json_and_a_page(made: HandMadeRoot, tmp_path: Path):
    made.label("2026-02", (np.arange(30) % 3).astype(np.int16))
    made.recipe("balanced", {0: 0.3, 1: 0.3, 2: 0.4}, 4000)
    page = tmp_path / "diff.html"
    code, out, _ = gem(made, "diff", "balanced~1", "balanced", "--html", page)
    assert code == 0
    assert "new snapshot" in out
    assert "10.0 % of the budget moved" in out
    assert "new snapshot" in check_is_inert(page.read_text()).text
    code, out, _ = gem(made, "diff", "balanced~1", "balanced", "--json")
    assert json.loads(out)["entered"][0]["documents"] == 30
    code, _, err = gem(made, "diff", "balanced~5", "balanced")
    assert code == 1
    assert "2 versions" in err


def test_a_document_on_the_takedown_list_leaves_as_a_takedown(made: HandMadeRoot):
    first = made.current("raw_shards", "2026-01").path / "part-00000.parquet"
    gone = pq.read_table(first, columns=["doc_id"]).column(0)[0].as_py()
    entry = BlockEntry(kind="doc_id", value=gone)
    at = datetime(2026, 11, 25, tzinfo=UTC)
    Blocklist(made.root).append(BlockRequest(id="0" * 12, at=at, entries=(entry,), documents=(gone,)))
    made.snapshot("2026-01", [pages("2026-01", range(1, 60))], landed=b"again")
    made.label("2026-01", (np.arange(1, 60) % 3).astype(np.int16))
    made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 4000)
    code, out, _ = gem(made, "diff", "balanced~1", "balanced", "--json")
    assert code == 0
    left = json.loads(out)["left"]
    assert [(m["reason"], m["examples"][0]["doc_id"]) for m in left] == [("takedown", gone)]


def test_lineage_shows_verifies_and_fails_on_a_flipped_byte(made: HandMadeRoot, tmp_path: Path):
    page = tmp_path / "lineage.html"
    code, out, _ = gem(made, "lineage", "balanced", "--verify", "--html", page)
    assert code == 0
    assert "landing[2026-01]" in out
    assert "Verified: 4 artifacts and 1 landed files" in out
    assert "is what it was" in check_is_inert(page.read_text()).text
    raw = made.root / "landing" / "2026-01" / LANDED
    raw.write_bytes(b"x" + raw.read_bytes()[1:])
    code, out, _ = gem(made, "lineage", "training_order/balanced", "--verify", "--json")
    assert code == 1
    told = json.loads(out)
    assert told["root"].startswith("training_order/balanced@")
    assert [f["kind"] for f in told["faults"]] == ["landing_changed"]
    assert gem(made, "lineage", "balanced")[0] == 0
    code, _, err = gem(made, "lineage", "student_labels")
    assert code == 1
    assert "a version for each snapshot" in err
