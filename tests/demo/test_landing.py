import hashlib
from collections import Counter
from pathlib import Path

import pytest

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.landing import LandingError, landed_files, list_snapshots
from gem_assets.corpus.readers.records import Quarantined, RawDocument
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.text.cleaning import clean_text, content_digest
from gem_assets.demo import landing
from gem_assets.demo.finding import find_text_files
from gem_assets.demo.landing import DAMAGED_FILES, DemoError, DemoSources, build_demo_landing
from tests.corpus.making import one_by_one


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "landing"


@pytest.fixture(scope="module")
def built(root: Path) -> DemoSources:
    return build_demo_landing(root, small=True)


def texts(folder: Path) -> dict[str, str]:
    """Return the digest of the text by address, from every file of a snapshot."""
    found: dict[str, str] = {}
    for file in landed_files(folder):
        for item in one_by_one(read_file(file.path, file.relative, CorpusConfig())):
            if isinstance(item, RawDocument):
                assert item.url is not None
                found[item.url] = content_digest(clean_text(item.text))
    return found


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_three_complete_snapshots_in_three_formats(root: Path, built: DemoSources):
    assert [(s.name, s.complete) for s in list_snapshots(root)] == [(s.name, True) for s in built.snapshots]
    assert [s.file_format for s in built.snapshots] == ["WARC", "parquet", "JSONL"]
    suffixes = [Counter(file.path.suffixes[0] for file in landed_files(s.path)) for s in built.snapshots]
    assert suffixes[0] == Counter({".warc": 4})
    assert suffixes[1] == Counter({".parquet": 4})
    assert suffixes[2][".jsonl"] == 8
    assert {path.name for path in root.parent.iterdir()} == {"landing", "landing-records"}, "no staging folder is left"


def test_what_is_said_of_a_snapshot_is_in_it(built: DemoSources):
    before: dict[str, str] = {}
    for snapshot in built.snapshots[:2]:
        now = texts(snapshot.path)
        assert len(now) == snapshot.documents
        assert len(now.keys() - before.keys()) == snapshot.new
        assert sum(before.get(url) == digest for url, digest in now.items()) == snapshot.recrawled
        assert sum(url in before and before[url] != digest for url, digest in now.items()) == snapshot.edited
        assert len(before.keys() - now.keys()) == snapshot.gone
        before = now


def test_the_second_snapshot_overlaps_the_first(built: DemoSources):
    second = built.snapshots[1]
    assert second.recrawled > second.new > second.edited > 20
    assert second.gone > 40


def test_each_damaged_file_is_noticed_and_the_others_are_sound(built: DemoSources):
    third = built.snapshots[2]
    assert third.damaged_files == DAMAGED_FILES
    reasons: dict[str, set[str]] = {}
    for file in landed_files(third.path):
        items = read_file(file.path, file.relative, CorpusConfig())
        reasons[file.relative] = {item.reason for item in items if isinstance(item, Quarantined)}
    assert {name for name, found in reasons.items() if found} == set(DAMAGED_FILES)
    assert reasons["truncated.jsonl.gz"] >= {"truncated_gzip"}
    assert reasons["last-line-cut.jsonl"] == {"truncated_json"}
    assert reasons["not-utf8.jsonl"] == {"invalid_utf8"}
    assert reasons["zero-length.jsonl"] == {"empty_file"}
    assert reasons["no-footer.parquet"] == {"damaged_parquet"}


def test_most_of_a_damaged_file_is_saved(built: DemoSources):
    third = built.snapshots[2]
    assert third.documents + 30 < len(texts(third.path)) < third.documents + 120


def test_kinds_and_sizes_are_diverse(built: DemoSources):
    assert sum(built.kinds.values()) > 600
    assert len(built.kinds) >= 10
    assert built.text_bytes > 1_000_000


def test_the_same_environment_gives_the_same_bytes(root: Path, built: DemoSources, tmp_path: Path):
    again = build_demo_landing(tmp_path / "landing", small=True)
    assert digests(tmp_path / "landing") == digests(root)
    assert [s.documents for s in again.snapshots] == [s.documents for s in built.snapshots]


def test_progress_ends_at_its_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = [file for file in find_text_files() if file.kind in {"readmes", "json", "help-topics", "python-code"}][:400]
    monkeypatch.setattr(landing, "find_text_files", lambda: few)
    monkeypatch.setattr(landing, "SMALL_DOCUMENTS", 300)
    last: dict[str, tuple[int, int]] = {}

    def note(step: str, done: int, total: int, /) -> None:
        last[step] = (done, total)

    build_demo_landing(tmp_path / "landing", small=True, seed=1, progress=note)
    assert list(last) == ["Looking for text on this machine", "Cutting documents", "Writing snapshots"]
    assert all(done == total for done, total in last.values())
    with pytest.raises(LandingError, match="already"):
        build_demo_landing(tmp_path / "landing", small=True, seed=1)


def test_a_machine_without_text_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(landing, "find_text_files", list)
    with pytest.raises(DemoError, match="Only 0 passages"):
        build_demo_landing(tmp_path / "landing", small=True)
