"""The domain inventory as an artifact: the table, what it says per cluster, and its picture.

Writes ``inventory.parquet`` (cluster × snapshot × language: documents, tokens, bytes) and ``snapshots.png``. Cost: one
pass over five narrow columns of the label table.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.supply import ClusterSupply, build_inventory
from gem_assets.report.plots import shares_over_snapshots

INVENTORY_NAME = "inventory.parquet"


def publish_inventory(label_batches: Iterable[pa.RecordBatch], names: Mapping[int, str], out: Path) -> dict[str, int]:
    """Reduce label rows, write the artifact into ``out`` and return its totals."""
    inventory = build_inventory(label_batches)
    pq.write_table(inventory, out / INVENTORY_NAME, compression="zstd")
    supply = ClusterSupply.from_inventory(inventory, len(names))
    snapshots = sorted(set(inventory.column("snapshot").to_pylist()))
    tokens = np.zeros((len(snapshots), len(names)))
    for row in inventory.to_pylist():
        tokens[snapshots.index(row["snapshot"]), row["cluster"]] += row["n_tokens"]
    shares = tokens / np.maximum(tokens.sum(axis=1, keepdims=True), 1)
    (out / "snapshots.png").write_bytes(shares_over_snapshots(snapshots, shares, [names[k] for k in sorted(names)]))
    return {
        "documents": int(supply.docs.sum()),
        "tokens": supply.total_tokens,
        "bytes": int(supply.n_bytes.sum()),
        "clusters": len(names),
        "snapshots": len(snapshots),
    }


def read_supply(folder: Path, n_clusters: int) -> ClusterSupply:
    """Read the supply back from an inventory artifact."""
    return ClusterSupply.from_inventory(pq.read_table(folder / INVENTORY_NAME), n_clusters)


def describe_inventory(folder: Path, names: Mapping[int, str]) -> list[dict[str, str | int | float]]:
    """One row per cluster, most tokens first: name, documents, tokens, share of tokens, tokens per document."""
    supply = read_supply(folder, len(names))
    order = np.argsort(-supply.tokens, kind="stable")
    return [
        {
            "cluster": int(supply.clusters[i]),
            "name": names[int(supply.clusters[i])],
            "documents": int(supply.docs[i]),
            "tokens": int(supply.tokens[i]),
            "token_share": float(supply.token_shares[i]),
            "tokens_per_document": float(supply.tokens_per_doc[i]),
        }
        for i in order
    ]
