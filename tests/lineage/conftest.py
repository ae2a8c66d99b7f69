"""A small data root with two label versions, a re-read snapshot and two versions of a recipe."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.trace_root import LANDED, HandMadeRoot, document_batch, landed_lines
from gem_assets.ordering.config import CurveConfig, OrderingConfig
from gem_assets.storage.store import trace_index_folder
from gem_assets.tracing.index import TraceIndex
from gem_assets.tracing.trace import Tracer

ORDERING = OrderingConfig(curve=CurveConfig(strategy="saw"), score="q_chars", memory_mb=128, threads=1)


@dataclass(frozen=True)
class World:
    """The root, and what stands in its documents."""

    made: HandMadeRoot
    index: TraceIndex

    @property
    def tracer(self) -> Tracer:
        return Tracer(self.made.store, self.index)


def pages(snapshot: str, numbers: range, note: str = "") -> pa.RecordBatch:
    """Pages of three sites, of lengths between 30 and 500 bytes."""
    urls = [f"https://www{i % 3 or ''}.site{i % 3}.example/page/{i}" for i in numbers]
    texts = [f"Page {i}{note} of the site. " + "word " * (i * 7 % 90) for i in numbers]
    return document_batch(snapshot, texts, urls, [None] * len(urls))


def build(root: Path) -> HandMadeRoot:
    made = HandMadeRoot(root)
    first = pages("2026-01", range(60))
    second = pages("2026-02", range(60, 90))
    urls = first.column("url").to_pylist()
    made.snapshot("2026-01", [first], landed=landed_lines(urls))
    seen_again = {
        "snapshot": "2026-02",
        "kind": "exact_across",
        "doc_id": "a" * 32,
        "content_digest": first.column("content_digest")[4].as_py(),
        "kept_doc_id": first.column("doc_id")[4].as_py(),
        "kept_snapshot": "2026-01",
        "url": "https://mirror.example/copy",
        "file": LANDED,
        "offset": 30,
        "n_bytes": 10,
    }
    refused = {
        "doc_id": "f" * 32,
        "url": "https://blocked.example/x",
        "file": LANDED,
        "offset": 31,
        "reason": "too_short",
        "n_bytes": 3,
    }
    broken = {
        "snapshot": "2026-02",
        "file": LANDED,
        "offset": 32,
        "reason": "damaged_json",
        "detail": "",
        "url": "https://broken.example/",
        "n_bytes": 9,
    }
    made.snapshot(
        "2026-02",
        [second],
        landed=landed_lines(second.column("url").to_pylist()),
        duplicates=[seen_again],
        filtered=[refused],
        quarantined=[broken],
    )
    made.label("2026-01", (np.arange(60) % 3).astype(np.int16))
    made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 4000)
    made.order("balanced", ORDERING)
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = build(tmp_path / "root")
    return World(made, TraceIndex(trace_index_folder(made.root), made.scan))
