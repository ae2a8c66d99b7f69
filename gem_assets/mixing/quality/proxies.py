"""Proxies that are trained on chosen documents, each once: a folder that grows.

Writes one JSON file per finished proxy, ``<key>.json``, whole or not at all. The key is the digest of the copies of
every document, the shares, the token pool, the proxy's configuration and the seed. A run trains what is missing;
killed, it loses what its workers were training. Chosen documents are put in random order before windows are cut, so
that copies of one do not stand side by side.

Other selections read other text: what two proxies of a swarm share, window for window, two of these do not. Their noise
is larger for that, which is why the answer of a search is trained over several seeds (``scored``).
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.proxy.batched import check_converged, train_batch
from gem_assets.proxy.contents import DOCUMENTS
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.proxy.stream import check_shares
from gem_assets.proxy.swarm import SwarmProgress, SwarmSpec
from gem_assets.proxy.tokens import EncodedDocuments
from gem_assets.proxy.train import DivergedError, train_proxy
from gem_assets.storage.durable import file_lock, make_dirs, write_atomic
from gem_assets.storage.identity import digest
from gem_assets.types import Floats

_DECIMALS = 9


class SelectedProxyError(ValueError):
    """A proxy that did not converge, or rows that cannot be used; the message says which."""


@dataclass(frozen=True)
class SelectionJob:
    """One proxy to train.

    Attributes
    ----------
    label
        Where the choice comes from; not part of the key.
    copies : int64 array, shape (n,)
        How often each prepared document is taken, in the order of ``documents.parquet``; None takes each once.
    """

    label: str
    copies: NDArray[np.int64] | None
    shares: tuple[float, ...]
    seed: int

    def __str__(self) -> str:
        return f"{self.label!r} with seed {self.seed}"

    @classmethod
    def of(cls, label: str, copies: NDArray[np.int64] | None, shares: Floats, seed: int) -> "SelectionJob":
        """Round the shares to nine decimals; a cluster with a share has to have a document."""
        p = check_shares(np.asarray(shares, np.float64), len(shares))
        return cls(label, copies, tuple(np.round(p, _DECIMALS).tolist()), seed)

    def key(self, identity: str, pool: str) -> str:
        """Name of the proxy, 32 hex."""
        taken = (
            hashlib.sha256(np.ascontiguousarray(self.copies, "<i8").tobytes()).hexdigest()
            if (self.copies is not None)
            else "all"
        )
        named = {"copies": taken, "shares": self.shares, "pool": pool, "proxy": identity, "seed": self.seed}
        return digest(named)[:32]


def selected_pool(prepared: Path, copies: NDArray[np.int64] | None, seed: int) -> TokenPool:
    """Return the streams of a prepared folder with each document so often, in random order within its cluster.

    Raises PoolError when the copies are not of the prepared documents.
    """
    pool = TokenPool.load(prepared)
    if copies is None:
        return pool
    table = pq.read_table(prepared / DOCUMENTS, columns=["cluster", "tokens"])
    cluster, lengths = table.column("cluster").to_numpy(), table.column("tokens").to_numpy()
    if len(copies) != len(cluster) or lengths.sum() != len(pool.tokens):
        raise PoolError(f"{len(copies)} choices for the {len(cluster)} documents in {prepared}; prepare tokens again")
    documents = EncodedDocuments(np.asarray(pool.tokens), np.concatenate([[0], np.cumsum(lengths)]))
    streams: list[NDArray[np.uint16]] = []
    for k in range(pool.domains):
        rows = np.flatnonzero(cluster == k)
        rows = np.repeat(rows, copies[rows])
        streams.append(documents.take(np.random.default_rng([seed, k]).permutation(rows)).tokens)
    return TokenPool.of(streams, pool.vocab, pool.tokenizer)


def run_selections(
    jobs: Sequence[SelectionJob],
    spec: SwarmSpec,
    folder: Path,
    *,
    map_shards: ShardMap = serial_map,
    progress: SwarmProgress | None = None,
) -> Floats:
    """Train the proxies that are missing and return the losses of all, ``(m, J)``, nats per token.

    On a GPU one proxy is trained at a time, as each has its own text.

    Raises SelectedProxyError when one diverged; its message says what to lower.
    """
    make_dirs(folder)
    pool, evaluation = TokenPool.load(spec.data), EvaluationSet.load(spec.data)
    identity = spec.identity(evaluation, pool.tokenizer)
    wanted = {job.key(identity, pool.digest): job for job in jobs}
    with file_lock(folder / ".lock", timeout=5.0, purpose="train proxies on chosen documents"):
        missing = [(key, job) for key, job in wanted.items() if _read(folder, key) is None]
        done, started = len(wanted) - len(missing), time.monotonic()
        work = partial(train_selection, spec=spec, folder=folder)
        for number, _ in enumerate(map_shards(work, missing, "chosen documents"), start=1):
            if progress is not None:
                left = (time.monotonic() - started) / number * (len(missing) - number)
                progress(done + number, len(wanted), left)
    rows = {key: _read(folder, key) or {} for key in wanted}
    for key, row in rows.items():
        if "losses" not in row:
            raise SelectedProxyError(f"the proxy on {wanted[key]} has no losses: {row.get('error', 'its row is gone')}")
    return np.array([rows[job.key(identity, pool.digest)]["losses"] for job in jobs], np.float64)


def train_selection(item: tuple[str, SelectionJob], *, spec: SwarmSpec, folder: Path) -> str:
    """Train one proxy and write its row; runs in a worker."""
    key, job = item
    pool, evaluation = selected_pool(spec.data, job.copies, job.seed), EvaluationSet.load(spec.data)
    row: dict[str, object] = {"label": job.label, "seed": job.seed}
    shares = np.array(job.shares)
    try:
        if spec.batched:
            found = train_batch(pool, evaluation, shares[None], [job.seed], spec.config, device=spec.device)[0]
            check_converged(found, spec.config)
        else:
            found = train_proxy(pool, evaluation, shares, spec.config, seed=job.seed)
        row["losses"] = found.losses[-1].tolist()
    except DivergedError as error:
        row["error"] = str(error)
    write_atomic(folder / f"{key}.json", (json.dumps(row, sort_keys=True) + "\n").encode())
    return key


def _read(folder: Path, key: str) -> dict[str, object] | None:
    try:
        found = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
