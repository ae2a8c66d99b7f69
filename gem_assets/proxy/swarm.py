"""Train many proxies, each once, into a table that grows.

Writes one parquet file of one row for each finished proxy, ``<key>.parquet``, whole or not at all. The key is the
digest of (mixture, proxy configuration, taxonomy, seed), where the configuration stands for model, training, head,
tokenizer and evaluation windows: what can change a loss, and only that. A run trains the proxies whose file is missing,
in as many processes as the map it is given has; killed at any moment it loses what its workers were training, at most
one proxy each (on a GPU, one batch). The text that was trained on is recorded and not part of the key: a pool is to be
kept as long as its taxonomy is, or a new snapshot would make all evidence stale.

A proxy that diverges is a result, too: its row holds the message and no losses, and it is not tried again.
"""

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.proxy.batched import check_converged, train_batch
from gem_assets.proxy.config import CODE_VERSION, ProxyConfig
from gem_assets.proxy.model import resolve_precision
from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.repetition import Repetition
from gem_assets.proxy.stream import check_shares
from gem_assets.proxy.train import DivergedError, ProxyResult, train_proxy
from gem_assets.stages import PROXY_SWARM
from gem_assets.storage.durable import file_lock, make_dirs, write_atomic
from gem_assets.storage.identity import digest
from gem_assets.types import Floats

logger = logging.getLogger(__name__)

#: Called with (proxies done, proxies in all, seconds left or None while nothing is known).
SwarmProgress = Callable[[int, int, float | None], None]

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("taxonomy", pa.string(), nullable=False),
        pa.field("proxy", pa.string(), nullable=False),
        pa.field("pool", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("domains", pa.list_(pa.string()), nullable=False),
        pa.field("shares", pa.list_(pa.float64()), nullable=False),
        pa.field("targets", pa.list_(pa.string()), nullable=False),
        pa.field("in_domain", pa.list_(pa.bool_()), nullable=False),
        pa.field("losses", pa.list_(pa.float64())),
        pa.field("bits_per_byte", pa.list_(pa.float64())),
        pa.field("evaluated_at", pa.list_(pa.int64())),
        pa.field("all_losses", pa.list_(pa.list_(pa.float64()))),
        pa.field("epochs", pa.list_(pa.float64())),
        pa.field("train_loss", pa.float64()),
        pa.field("logit_mean", pa.float64()),
        pa.field("logit_max_abs", pa.float64()),
        pa.field("mu_norm", pa.float64()),
        pa.field("error", pa.string()),
        pa.field("seconds", pa.float64()),
    ]
)
_LOCK = ".lock"
_DECIMALS = 9


class SwarmFolderError(ValueError):
    """Rows of a swarm that cannot be used together; the message says which."""


@dataclass(frozen=True)
class SwarmSpec:
    """What all proxies of a swarm have in common.

    Attributes
    ----------
    data
        Folder with token pool and evaluation set (``pool``).
    taxonomy
        Identity of the taxonomy whose clusters are the domains.
    domains
        Name of each domain, in the order of the pool's.
    repetition
        The run whose repetition of each domain proxies match; None lets them read all of the pool.
    device
        ``cpu``, one proxy per process, or a GPU (``cuda``), where ``together`` proxies are one task.
    together
        Proxies trained side by side in one task (``batched``). On a CPU more than 1 gains nothing.
    """

    config: ProxyConfig
    data: Path
    taxonomy: str
    domains: tuple[str, ...]
    device: str = "cpu"
    together: int = 1
    repetition: Repetition | None = None

    @property
    def batched(self) -> bool:
        """Whether proxies are trained side by side."""
        return self.together > 1 or not self.device.startswith("cpu")

    def pool(self) -> TokenPool:
        """Open the text that proxies are trained on.

        Raises
        ------
        PoolError
            When the data folder is unusable.
        """
        pool = TokenPool.load(self.data)
        if self.repetition is None:
            return pool
        c = self.config
        return self.repetition.cut(pool, c.steps * c.training.batch * c.model.context, c.model.context)

    def identity(self, evaluation: EvaluationSet, tokenizer: str) -> str:
        """First 32 hex of the digest of all that decides a loss, but mixture, taxonomy and seed."""
        training = self.config.training.model_dump()
        training["precision"] = resolve_precision(self.config.training.precision, self.device)
        return digest(
            {
                "code_version": CODE_VERSION,
                "backend": f"batched on {self.device.partition(':')[0]}" if self.batched else "single",
                "model": self.config.model,
                "head": self.config.head,
                "training": training,
                "evaluation": evaluation.digest,
                "tokenizer": tokenizer,
                # absent where nothing is matched, so that proxies keep the keys that they had
                **({"repetition": self.repetition.stored()} if self.repetition is not None else {}),
            }
        )[:32]


@dataclass(frozen=True)
class ProxyJob:
    """One proxy to train; ``label`` says where the mixture comes from and is not part of the key."""

    label: str
    shares: tuple[float, ...]
    seed: int

    def __str__(self) -> str:
        return f"{self.label!r} with seed {self.seed}"

    @classmethod
    def of(cls, label: str, shares: Floats | Sequence[float], seed: int) -> "ProxyJob":
        """Round the shares to nine decimals, so that a mixture has one key whatever computed it."""
        p = np.asarray(shares, np.float64)
        return cls(label, tuple(np.round(check_shares(p, len(p)), _DECIMALS).tolist()), seed)

    def key(self, identity: str, taxonomy: str) -> str:
        """Name of the proxy, 32 hex."""
        return digest({"shares": self.shares, "proxy": identity, "taxonomy": taxonomy, "seed": self.seed})[:32]


@dataclass(frozen=True)
class SwarmRows:
    """Finished proxies, in the order of their keys.

    Attributes
    ----------
    table
        Rows as :data:`SCHEMA` says, without ``seconds``: the same bytes whenever and wherever they were trained.
    seconds : float64 array, shape (n,)
        CPU seconds of each proxy.
    damaged
        Files that could not be read; a run trains them again.
    """

    table: pa.Table
    seconds: Floats
    damaged: tuple[str, ...] = ()
    failed: pa.Table = field(default_factory=lambda: SCHEMA.empty_table().drop_columns("seconds"))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> tuple[str, ...]:
        """Where each mixture came from."""
        return tuple(self.table.column("label").to_pylist())

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Seed of each proxy, (n,)."""
        return self.table.column("seed").to_numpy().astype(np.int64)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains."""
        return tuple(self._common("domains"))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self._common("targets"))

    @property
    def in_domain(self) -> NDArray[np.bool_]:
        """Whether each target is held-out text of a domain, (J,)."""
        return np.array(self._common("in_domain"), bool)

    @property
    def mixtures(self) -> Floats:
        """Shares, (n, K)."""
        return self._matrix("shares", len(self.domains))

    @property
    def losses(self) -> Floats:
        """Nats per token, (n, J)."""
        return self._matrix("losses", len(self.targets))

    def _matrix(self, column: str, width: int) -> Floats:
        return np.array(self.table.column(column).to_pylist(), np.float64).reshape(len(self), width)

    def _common(self, column: str) -> list[str]:
        values = {tuple(value) for value in self.table.column(column).to_pylist()}
        if len(values) > 1:
            raise SwarmFolderError(
                f"rows of this swarm differ in {column}; read one proxy configuration and taxonomy at a time"
            )
        return list(next(iter(values), ()))


def swarm_jobs(labels: Sequence[str], mixtures: Floats, config: ProxyConfig) -> list[ProxyJob]:
    """Return one job per mixture, and ``config.repeats`` more seeds of two of them, to measure noise.

    Repeated are ``uniform`` and ``proportional`` where they exist, else the first two.
    """
    if len(labels) != len(mixtures):
        raise ValueError(f"{len(labels)} labels for {len(mixtures)} mixtures")
    jobs = [ProxyJob.of(label, shares, config.seed) for label, shares in zip(labels, mixtures, strict=True)]
    usual = [job for job in jobs if job.label in ("uniform", "proportional")]
    again = (usual + [job for job in jobs if job not in usual])[:2]
    for extra in range(1, config.repeats + 1):
        jobs += [ProxyJob(job.label, job.shares, config.seed + extra) for job in again]
    return list(dict.fromkeys(jobs))


def run_swarm(
    jobs: Sequence[ProxyJob],
    spec: SwarmSpec,
    folder: Path,
    *,
    map_shards: ShardMap = serial_map,
    progress: SwarmProgress | None = None,
) -> SwarmRows:
    """Train the proxies that are missing and return all that were asked for.

    Parameters
    ----------
    jobs
        Mixtures and seeds; equal ones are trained once.
    folder
        Where the rows are kept; may hold rows of other swarms.
    map_shards
        How proxies are spread over processes; each takes one core.

    Raises
    ------
    PoolError
        When the data folder is unusable or a mixture does not fit the pool.
    LockTimeoutError
        When another run is at work on the same folder.
    """
    make_dirs(folder)
    pool, evaluation = spec.pool(), EvaluationSet.load(spec.data)
    if len(spec.domains) != pool.domains:
        raise SwarmFolderError(f"{len(spec.domains)} domains are named, the pool in {spec.data} has {pool.domains}")
    identity = spec.identity(evaluation, pool.tokenizer)
    for job in jobs:
        check_shares(np.array(job.shares), pool.domains)
    wanted = {job.key(identity, spec.taxonomy): job for job in jobs}
    with file_lock(folder / _LOCK, timeout=5.0, purpose="train a swarm"):
        for left_over in folder.glob(".*.tmp"):
            left_over.unlink(missing_ok=True)
        missing = [job for key, job in wanted.items() if _read_row(folder / f"{key}.parquet") is None]
        done, started = len(wanted) - len(missing), time.monotonic()
        if progress is not None:
            progress(done, len(wanted), None if missing else 0.0)
        work = partial(train_jobs, spec=spec, folder=folder)
        size = spec.together if spec.batched else 1
        number = 0
        for keys in map_shards(work, _chunks(missing, size), PROXY_SWARM):
            number += len(keys)
            if progress is not None:
                left = (time.monotonic() - started) / number * (len(missing) - number)
                progress(done + number, len(wanted), left)
    return read_swarm(folder, keys=tuple(wanted))


def train_jobs(jobs: Sequence[ProxyJob], *, spec: SwarmSpec, folder: Path) -> list[str]:
    """Train one proxy, or several side by side, write their rows, and return their keys; runs in a worker."""
    pool, evaluation = spec.pool(), EvaluationSet.load(spec.data)
    identity = spec.identity(evaluation, pool.tokenizer)
    keys: list[str] = []
    for job, outcome in zip(jobs, _train(jobs, pool, evaluation, spec), strict=True):
        keys.append(job.key(identity, spec.taxonomy))
        row: dict[str, object] = {
            "key": keys[-1],
            "label": job.label,
            "taxonomy": spec.taxonomy,
            "proxy": identity,
            "pool": pool.digest,
            "seed": job.seed,
            "domains": list(spec.domains),
            "shares": list(job.shares),
            "targets": list(evaluation.names),
            "in_domain": evaluation.in_domain.tolist(),
        }
        if isinstance(outcome, DivergedError):
            logger.warning("proxy %s: %s", job, outcome)
            row["error"] = str(outcome)
        else:
            row |= _measured(outcome, evaluation)
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), buffer)
        write_atomic(folder / f"{keys[-1]}.parquet", buffer.getvalue())
    return keys


def _train(
    jobs: Sequence[ProxyJob], pool: TokenPool, evaluation: EvaluationSet, spec: SwarmSpec
) -> Iterator[ProxyResult | DivergedError]:
    if spec.batched:
        mixtures, seeds = np.array([job.shares for job in jobs]), [job.seed for job in jobs]
        results = train_batch(pool, evaluation, mixtures, seeds, spec.config, device=spec.device)
        runs = [partial(check_converged, result, spec.config) for result in results]
    else:
        runs = [
            partial(train_proxy, pool, evaluation, np.array(job.shares), spec.config, seed=job.seed) for job in jobs
        ]
    for run in runs:
        try:
            yield run()
        except DivergedError as error:
            yield error


def _measured(result: ProxyResult, evaluation: EvaluationSet) -> dict[str, object]:
    return {
        "losses": result.losses[-1].tolist(),
        "bits_per_byte": evaluation.bits_per_byte(result.losses[-1]).tolist(),
        "evaluated_at": result.tokens.tolist(),
        "all_losses": result.losses.tolist(),
        "epochs": result.epochs.tolist(),
        "train_loss": float(result.train_loss[-1]),
        "logit_mean": result.logits.mean,
        "logit_max_abs": result.logits.max_abs,
        "mu_norm": result.logits.mu_norm,
        "seconds": result.seconds,
    }


def read_swarm(
    folder: Path,
    *,
    keys: Sequence[str] | None = None,
    proxy: str | None = None,
    taxonomy: str | None = None,
) -> SwarmRows:
    """Read finished proxies: those of given keys, of one proxy configuration, of one taxonomy, or all.

    A file that cannot be read is named in a warning and in the result, and left out.
    """
    files = sorted(folder.glob("*.parquet")) if keys is None else [folder / f"{key}.parquet" for key in sorted(keys)]
    rows: list[pa.Table] = []
    damaged: list[str] = []
    for path in files:
        row = _read_row(path)
        if row is None:
            damaged.append(path.name)
        else:
            rows.append(row)
    if damaged:
        logger.warning("%s: %d rows cannot be read and will be trained again: %s", folder, len(damaged), damaged)
    table = pa.concat_tables(rows) if rows else SCHEMA.empty_table()
    for column, value in (("proxy", proxy), ("taxonomy", taxonomy)):
        if value is not None:
            table = table.filter(pa.array([found == value for found in table.column(column).to_pylist()], pa.bool_()))
    good = pa.array([error is None for error in table.column("error").to_pylist()], pa.bool_())
    bad = pa.array([error is not None for error in table.column("error").to_pylist()], pa.bool_())
    seconds = table.filter(good).column("seconds").to_numpy().astype(np.float64)
    return SwarmRows(
        table.filter(good).drop_columns("seconds").combine_chunks(),
        seconds,
        tuple(damaged),
        table.filter(bad).drop_columns("seconds").combine_chunks(),
    )


def _chunks(jobs: Sequence[ProxyJob], size: int) -> list[tuple[ProxyJob, ...]]:
    return [tuple(jobs[i : i + size]) for i in range(0, len(jobs), size)]


def _read_row(path: Path) -> pa.Table | None:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return None
    return table if table.schema.equals(SCHEMA) and len(table) == 1 else None
