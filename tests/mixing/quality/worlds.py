"""Prepared tokens of two clusters in which half of the documents are noise."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ModelConfig, ProxyConfig, TrainingConfig
from gem_assets.proxy.contents import DOCUMENTS
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from tests.proxy.worlds import markov_stream

VOCAB, LENGTH, DOCUMENTS_OF = 48, 60, 120
#: Cluster 0 has three good documents in four, cluster 1 one in four, and the same tokens.
GOOD = (0.75, 0.25)
TOKENS = np.array([60_000, 60_000])
CONFIG = ProxyConfig(
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
    training=TrainingConfig(tokens=64 * 64, batch=4, precision="fp32", evaluate_at=(1.0,)),
    device="cpu",
)


def frame(tokens=TOKENS, **changes):
    supply = ClusterSupply(np.arange(len(tokens)), tokens // 100, tokens, tokens * 4)
    return MixtureFrame(supply, {0: "clean", 1: "dirty"}, "v1", "bytes", MixingConfig(**changes))


def write_prepared(folder):
    """Write tokens, documents and windows; return ids, clusters and whether each document is good."""
    rng = np.random.default_rng(0)
    good_stream = markov_stream(40_000, VOCAB, seed=1)
    windows = good_stream[: 12 * 17].reshape(12, 17)
    streams, ids, clusters, good = [], [], [], []
    at = len(windows) * 17
    for k, part in enumerate(GOOD):
        pieces = []
        for i in range(DOCUMENTS_OF):
            fine = i < part * DOCUMENTS_OF
            body = good_stream[at : at + LENGTH] if fine else rng.integers(1, VOCAB, LENGTH).astype(np.uint16)
            at += LENGTH if fine else 0
            pieces.append(body)
            ids.append(f"d{k}-{i:03d}")
            clusters.append(k)
            good.append(fine)
        streams.append(np.concatenate(pieces))
    TokenPool.of(streams, VOCAB).save(folder)
    table = {"doc_id": ids, "cluster": pa.array(clusters, pa.int16()), "tokens": [LENGTH] * len(ids)}
    pq.write_table(pa.table(table), folder / DOCUMENTS)
    EvaluationSet(("aim",), windows, np.zeros(12, np.int64), np.array([100]), np.zeros(1, bool)).save(folder)
    return ids, np.array(clusters), np.array(good)
