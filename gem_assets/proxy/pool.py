"""What proxies read: one token stream per domain for training, and the same fixed evaluation windows for all.

Writes ``tokens.npy`` (memory-mapped by every worker), ``bounds.npy`` and ``pool.json`` for the streams, and
``windows.npy``, ``evaluation.json`` for the windows. Documents are chosen, held out and put in order by a rank that
depends on their id and the seed alone, so neither file order nor worker count can change them. Held-out documents are
never in the stream of their domain; they are the first in rank, so that a domain keeps its windows when it grows.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.config import PoolConfig
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer


class PoolError(ValueError):
    """Token streams or windows that cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class TokenPool:
    """Training tokens of each domain.

    Attributes
    ----------
    tokens : uint16 array, shape (t,)
        Streams of the domains one after the other; documents are closed by the end mark.
    bounds : int64 array, shape (domains + 1,)
        Domain k is ``tokens[bounds[k]:bounds[k + 1]]``.
    digest
        First 32 hex of the sha256 of all of it.
    """

    tokens: NDArray[np.uint16]
    bounds: NDArray[np.int64]
    vocab: int
    tokenizer: str
    digest: str

    @classmethod
    def of(cls, streams: Sequence[NDArray[np.uint16]], vocab: int, tokenizer: str = "") -> Self:
        """Join the streams of the domains.

        Raises PoolError when an id is not below ``vocab``.
        """
        tokens = np.concatenate([np.zeros(0, np.uint16), *(np.asarray(s, np.uint16) for s in streams)])
        bounds = np.concatenate([[0], np.cumsum([len(s) for s in streams], dtype=np.int64)])
        if len(tokens) and tokens.max() >= vocab:
            raise PoolError(f"token {tokens.max()} is not below the vocabulary of {vocab}: another tokenizer?")
        return cls(tokens, bounds, vocab, tokenizer, _digest(tokens, bounds, f"{vocab} {tokenizer}"))

    @property
    def domains(self) -> int:
        """Number of domains, empty ones included."""
        return len(self.bounds) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each domain."""
        return np.diff(self.bounds)

    def domain(self, k: int) -> NDArray[np.uint16]:
        """Stream of one domain."""
        return self.tokens[self.bounds[k] : self.bounds[k + 1]]

    def save(self, folder: Path) -> None:
        """Write the streams into a folder."""
        np.save(folder / "tokens.npy", self.tokens, allow_pickle=False)
        np.save(folder / "bounds.npy", self.bounds, allow_pickle=False)
        meta = {"vocab": self.vocab, "tokenizer": self.tokenizer, "digest": self.digest}
        (folder / "pool.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the streams of a folder; the tokens are mapped, not read.

        Raises PoolError when a file is missing or damaged; names the folder.
        """
        try:
            meta = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
            tokens = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
            bounds = np.load(folder / "bounds.npy", allow_pickle=False)
            if bounds[-1] != len(tokens):
                raise ValueError(f"{len(tokens)} tokens, {bounds[-1]} expected")
            return cls(tokens, bounds, meta["vocab"], meta["tokenizer"], meta["digest"])
        except (OSError, KeyError, ValueError) as error:
            raise PoolError(f"{folder} holds no usable token pool ({error}); prepare the tokens again") from error


@dataclass(frozen=True)
class EvaluationSet:
    """Windows of every target; the same for every proxy of a swarm.

    Attributes
    ----------
    windows : uint16 array, shape (w, context + 1)
        The last ``context`` ids of a window are predicted, each from those before it.
    target : int64 array, shape (w,)
        Target of each window, ascending.
    n_bytes : int64 array, shape (J,)
        UTF-8 bytes of each target's predicted tokens.
    in_domain : bool array, shape (J,)
        Whether the target is held-out text of a training domain.
    """

    names: tuple[str, ...]
    windows: NDArray[np.uint16]
    target: NDArray[np.int64]
    n_bytes: NDArray[np.int64]
    in_domain: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise PoolError(f"target names repeat: {sorted(self.names)}; rename one")
        if not np.array_equal(np.unique(self.target), np.arange(len(self.names))):
            raise PoolError("each target needs at least one window")

    @property
    def context(self) -> int:
        """Tokens predicted in one window."""
        return self.windows.shape[1] - 1

    @property
    def n_tokens(self) -> NDArray[np.int64]:
        """Predicted tokens of each target, shape (J,)."""
        return np.bincount(self.target, minlength=len(self.names)).astype(np.int64) * self.context

    @cached_property
    def digest(self) -> str:
        """First 32 hex of the sha256 of names and windows."""
        return _digest(self.windows, self.target, "\n".join(self.names))

    def bits_per_byte(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn nats per token, shape (..., J), into bits per byte, which compare across tokenizers."""
        return losses * (self.n_tokens / np.maximum(self.n_bytes, 1) / np.log(2))

    def of(self, name: str) -> NDArray[np.uint16]:
        """Windows of one target."""
        return self.windows[self.target == self.names.index(name)]

    def only(self, positions: NDArray[np.int64]) -> "EvaluationSet":
        """Keep some targets, in ascending order."""
        kept = np.unique(positions)
        rows = np.isin(self.target, kept)
        return EvaluationSet(
            tuple(self.names[j] for j in kept),
            self.windows[rows],
            np.searchsorted(kept, self.target[rows]),
            self.n_bytes[kept],
            self.in_domain[kept],
        )

    def save(self, folder: Path) -> None:
        """Write the windows into a folder."""
        np.save(folder / "windows.npy", self.windows, allow_pickle=False)
        meta = {
            "names": self.names,
            "target": self.target.tolist(),
            "n_bytes": self.n_bytes.tolist(),
            "in_domain": self.in_domain.tolist(),
            "digest": self.digest,
        }
        (folder / "evaluation.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the windows of a folder.

        Raises PoolError when a file is missing or damaged; names the folder.
        """
        try:
            meta = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
            found = cls(
                tuple(meta["names"]),
                np.load(folder / "windows.npy", allow_pickle=False),
                np.asarray(meta["target"], np.int64),
                np.asarray(meta["n_bytes"], np.int64),
                np.asarray(meta["in_domain"], bool),
            )
            if found.digest != meta["digest"]:
                raise ValueError("the windows are not those that were written")
        except (OSError, KeyError, ValueError) as error:
            raise PoolError(f"{folder} holds no usable evaluation set ({error}); prepare the tokens again") from error
        return found

    @classmethod
    def concatenate(cls, parts: Sequence["EvaluationSet"]) -> Self:
        """Join the targets of several sets, in their order."""
        if not parts:
            raise PoolError("no target to evaluate on: give validation texts or larger domains")
        shifts = np.cumsum([0, *(len(part.names) for part in parts)])
        return cls(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.windows for part in parts]),
            np.concatenate([part.target + shift for part, shift in zip(parts, shifts[:-1], strict=True)]),
            np.concatenate([part.n_bytes for part in parts]),
            np.concatenate([part.in_domain for part in parts]),
        )


def target_windows(
    name: str,
    documents: EncodedDocuments,
    tokenizer: ProxyTokenizer,
    *,
    context: int,
    windows: int,
    in_domain: bool = False,
) -> EvaluationSet:
    """Cut the windows of one target: evenly spaced over its documents joined in their order.

    Raises PoolError when the documents do not fill a single window.
    """
    stream, length = documents.tokens, context + 1
    n = min(windows, len(stream) // length)
    if n == 0:
        raise PoolError(
            f"target {name!r} has {len(stream)} tokens, less than one window of {length}; give it more text"
        )
    cut = stream[_window_starts(len(stream), length, n)[:, None] + np.arange(length)]
    n_bytes = int(tokenizer.byte_lengths()[cut[:, 1:]].sum())
    return EvaluationSet((name,), cut, np.zeros(n, np.int64), np.array([n_bytes]), np.array([in_domain]))


@dataclass(frozen=True)
class Split:
    """Training streams and held-out windows, and of which documents they are.

    Attributes
    ----------
    held_out : int64 array
        Rows that were held out, ascending.
    trained, lengths : int64 arrays, shape (n,)
        Rows in the order of the streams, and how many tokens of each are in them.
    shown : int64 array, shape (m, 2)
        Pairs of a window and a row of which it shows something.
    """

    pool: TokenPool
    evaluation: EvaluationSet | None
    held_out: NDArray[np.int64]
    trained: NDArray[np.int64]
    lengths: NDArray[np.int64]
    shown: NDArray[np.int64]


def build_pool(
    documents: EncodedDocuments,
    domain_of: NDArray[np.integer],
    ranks: NDArray[np.uint64],
    tokenizer: ProxyTokenizer,
    names: Sequence[str],
    config: PoolConfig,
    *,
    context: int,
) -> "Split":
    """Split labelled documents into training streams and held-out windows.

    A domain too small for a window is trained on in full and has no target.

    Parameters
    ----------
    documents, domain_of, ranks
        Encoded documents, the domain of each (negative: unused) and its pseudo-random rank
        (``sampling.document_ranks``).
    names
        Name of each domain; its held-out target is called the same.
    config, context
        How much is kept and held out, and the model's context.
    """
    labels = np.asarray(domain_of, np.int64)
    if len(labels) and labels.max() >= len(names):
        raise PoolError(f"domain {labels.max()} has no name; {len(names)} names were given")
    lengths = np.diff(documents.offsets)
    streams: list[NDArray[np.uint16]] = []
    targets: list[EvaluationSet] = []
    held_rows, trained, kept_tokens = ([np.zeros(0, np.int64)] for _ in range(3))
    shown, windows = [np.zeros((0, 2), np.int64)], 0
    for k, name in enumerate(names):
        rows = np.flatnonzero(labels == k)
        rows = rows[np.argsort(ranks[rows], kind="stable")]
        held = _held_out(lengths[rows], config, context)
        if held:
            held_rows.append(rows[:held])
            part = documents.take(rows[:held])
            targets.append(
                target_windows(name, part, tokenizer, context=context, windows=config.windows, in_domain=True)
            )
            within = _documents_shown(part.offsets, len(targets[-1].windows), context + 1)
            shown.append(np.column_stack([within[:, 0] + windows, rows[within[:, 1]]]))
            windows += len(targets[-1].windows)
        rows = rows[held:]
        kept = int(np.searchsorted(np.cumsum(lengths[rows]), config.domain_tokens)) + 1
        streams.append(documents.take(rows[:kept]).tokens[: config.domain_tokens])
        ends = np.minimum(np.cumsum(lengths[rows[:kept]]), config.domain_tokens)
        trained.append(rows[:kept])
        kept_tokens.append(np.diff(ends, prepend=0))
    pool = TokenPool.of(streams, tokenizer.vocab, tokenizer.digest)
    return Split(
        pool,
        EvaluationSet.concatenate(targets) if targets else None,
        np.sort(np.concatenate(held_rows)),
        np.concatenate(trained),
        np.concatenate(kept_tokens),
        np.concatenate(shown),
    )


def _window_starts(tokens: int, length: int, n: int) -> NDArray[np.int64]:
    return np.linspace(0, tokens - length, n).astype(np.int64) if n > 1 else np.zeros(1, np.int64)


def _documents_shown(offsets: NDArray[np.int64], n: int, length: int) -> NDArray[np.int64]:
    """Pairs of a window and the position of a document that it reaches into."""
    starts = _window_starts(int(offsets[-1]), length, n)
    first = np.searchsorted(offsets, starts, side="right") - 1
    last = np.searchsorted(offsets, starts + length, side="left")
    return np.array([(w, d) for w in range(n) for d in range(first[w], last[w])], np.int64).reshape(-1, 2)


def _held_out(lengths: NDArray[np.int64], config: PoolConfig, context: int) -> int:
    """Documents to hold out: enough for all windows, within the share; 0 when that does not fill one window."""
    most = int(config.held_out * len(lengths))
    tokens = np.cumsum(lengths[:most])
    enough = int(np.searchsorted(tokens, config.windows * (context + 1))) + 1
    held = min(enough, most)
    return held if held and tokens[held - 1] >= context + 1 else 0


def _digest(tokens: NDArray[np.uint16], bounds: NDArray[np.int64], extra: str) -> str:
    found = hashlib.sha256(extra.encode())
    found.update(np.ascontiguousarray(bounds, "<i8").tobytes())
    found.update(np.ascontiguousarray(tokens, "<u2").tobytes())
    return found.hexdigest()[:32]
