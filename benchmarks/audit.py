"""Audit pack: what it costs beside the account of the mixture that it is made from, and how much memory it takes.

``python -m benchmarks.audit [--quick]`` prints one JSON object as its last line:

- ``documents``, ``hosts``: size of the mixture, made up: 2 million documents of 200,000 hosts (100,000 of 10,000 with
  ``--quick``), each shown one to four times, addresses and dates as crawls have them;
- ``rows_s_core``: documents of the account per processor second;
- ``domains_over_account``, ``dates_over_account``: time of grouping by registrable domain and of joining the dates, as
  ratios to the account (join of the order with the labels, Merkle root, composition) of the same documents;
- ``peak_mb``: peak resident memory of the process after all three;
- ``byte_mismatch``: bytes of all domains minus bytes of all documents with an address; must be 0.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.audit.crawl import crawl_period
from gem_assets.audit.domains import count_domains
from gem_assets.lineage.audit import COLUMNS, DOCUMENTS_NAME, publish_audit

SUFFIXES = ("com", "co.uk", "de", "com.br", "github.io", "org", "gov.au", "net")


def make(folder: Path, documents: int, hosts: int, seed: int = 0) -> tuple[pa.Table, Path, Path]:
    """Return the candidates, the order's file and the shard with the dates."""
    random = np.random.default_rng(seed)
    ids = pa.array([f"{i:032x}" for i in range(documents)])
    names = [f"w{h % 3}.site{h // 3}.{SUFFIXES[h % len(SUFFIXES)]}" for h in range(hosts)]
    own = random.zipf(1.3, documents) % hosts
    tokens = random.integers(50, 2000, documents)
    table = pa.table(
        {
            "doc_id": ids,
            "content_digest": ids,
            "n_tokens": tokens,
            "n_bytes": tokens * 4,
            "lang": pa.array(np.array(["en", "de", "fr"])[random.integers(0, 3, documents)]),
            "source": pa.array(["crawl"] * documents),
            "url": pa.array([f"https://{names[h]}/page/{i}" for i, h in enumerate(own)]),
            "license": pa.nulls(documents, pa.string()),
        }
    ).select(COLUMNS)
    shown = np.repeat(np.arange(documents), random.integers(1, 5, documents))
    order, shard = folder / "order.parquet", folder / "shard.parquet"
    pq.write_table(pa.table({"doc_id": ids.take(pa.array(shown))}), order)
    days = pa.array([f"2026-{1 + i % 12:02}-{1 + i % 28:02}T00:00:00Z" for i in range(documents)])
    pq.write_table(pa.table({"doc_id": ids, "date": days}), shard)
    return table, order, shard


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def run(documents: int, hosts: int) -> dict[str, Any]:
    """Measure once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, order, shard = make(folder, documents, hosts)
        out = folder / "audit"
        out.mkdir()
        used = time.process_time()
        account, report = timed(lambda: publish_audit([order], table.to_reader(), {}, out))
        used = time.process_time() - used
        shown = pq.read_table(out / DOCUMENTS_NAME, columns=["multiplicity", "n_bytes"])
        expected = pc.sum(pc.multiply(shown.column(0), shown.column(1))).as_py()
        domains, counted = timed(lambda: count_domains(out / DOCUMENTS_NAME))
        dates, period = timed(lambda: crawl_period(out / DOCUMENTS_NAME, [shard], report.tokens))
    assert period.dated_share == 1.0
    return {
        "documents": documents,
        "hosts": hosts,
        "domains": counted.num_rows,
        "rows_s_core": round(documents / used),
        "domains_over_account": round(domains / account, 3),
        "dates_over_account": round(dates / account, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "byte_mismatch": pc.sum(counted.column("bytes")).as_py() - expected,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    print(json.dumps(run(100_000, 10_000) if chosen.quick else run(2_000_000, 200_000)))
