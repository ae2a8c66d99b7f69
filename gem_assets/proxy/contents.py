"""Record which documents prepared tokens come from, and remove some of them.

Writes ``documents.parquet`` (one row per document of the streams, in their order, with its cluster and how many of its
tokens are there) and ``shown.parquet`` (pairs of a held-out window and a document that it shows something of).

:func:`without_documents` takes documents out of what :func:`~gem_assets.proxy.prepare.prepare_data` wrote: their tokens
leave the streams, and every window that shows one of them leaves the evaluation set. Tokenizer, order and all else
stay, so n-gram counts that were made with the tokenizer stay valid and no other document is read again. Cost: one copy
of the streams.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.proxy.pool import EvaluationSet, PoolError, Split, TokenPool
from gem_assets.proxy.tokens import FILE as TOKENIZER
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer
from gem_assets.storage.identity import digest

DOCUMENTS, SHOWN, HELD_OUT = "documents.parquet", "shown.parquet", "held_out.parquet"
REPORT = "prepared.json"


@dataclass(frozen=True)
class PreparedReport:
    """What was prepared.

    Attributes
    ----------
    counting
        Digest of what n-gram counts take from here, tokenizer and held-out documents; the same after documents left.
    without_target
        Domains too small to hold out a window; they are trained on and not judged by.
    """

    vocab: int
    tokenizer: str
    pool: str
    evaluation: str
    counting: str
    domain_tokens: tuple[int, ...]
    targets: tuple[str, ...]
    without_target: tuple[str, ...]
    bytes_per_token: float

    @classmethod
    def of(
        cls, pool: TokenPool, evaluation: EvaluationSet, *, counting: str, without_target: Iterable[str]
    ) -> "PreparedReport":
        """Describe streams and windows."""
        return cls(
            vocab=pool.vocab,
            tokenizer=pool.tokenizer,
            pool=pool.digest,
            evaluation=evaluation.digest,
            counting=counting,
            domain_tokens=tuple(int(n) for n in pool.sizes),
            targets=evaluation.names,
            without_target=tuple(without_target),
            bytes_per_token=float(evaluation.n_bytes.sum() / evaluation.n_tokens.sum()),
        )

    def write(self, folder: Path) -> None:
        """Write ``prepared.json``."""
        (folder / REPORT).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_contents(split: Split, ids: pa.Array, cluster: NDArray[np.int16], tokenizer: str, out: Path) -> str:
    """Write which documents a split is of; ``ids`` and ``cluster`` are aligned with its rows.

    Returns the digest of tokenizer and held-out documents, see :attr:`PreparedReport.counting`.
    """
    held_out = pa.table({"doc_id": ids.take(pa.array(split.held_out))}).sort_by("doc_id")
    pq.write_table(held_out, out / HELD_OUT)
    rows = pa.array(split.trained)
    columns = {"doc_id": ids.take(rows), "cluster": pa.array(cluster).take(rows), "tokens": pa.array(split.lengths)}
    pq.write_table(pa.table(columns), out / DOCUMENTS, compression="zstd")
    shown = {"window": pa.array(split.shown[:, 0]), "doc_id": ids.take(pa.array(split.shown[:, 1]))}
    pq.write_table(pa.table(shown), out / SHOWN)
    return digest({"tokenizer": tokenizer, "held_out": held_out.column("doc_id").to_pylist()})


def held_documents(folder: Path, wanted: Iterable[str]) -> list[str]:
    """Return which of the wanted documents prepared tokens hold, trained on or held out, sorted."""
    ids = pa.array(sorted(wanted), pa.string())
    found: set[str] = set()
    for name in (DOCUMENTS, HELD_OUT):
        if len(ids) and (folder / name).is_file():
            column = pq.read_table(folder / name, columns=["doc_id"]).column("doc_id")
            found.update(column.filter(pc.is_in(column, value_set=ids)).to_pylist())
    return sorted(found)


def without_documents(prepared: Path, gone: Iterable[str], out: Path) -> PreparedReport:
    """Write prepared tokens again without some documents.

    ``gone`` are the ids of the documents that leave; those that are not there do not matter.

    A target that has no window left is not a target any more.

    Raises PoolError when the folder does not say of which documents its tokens are, or no window is left.
    """
    ids = pa.array(sorted(gone), pa.string())
    missing = [name for name in (DOCUMENTS, SHOWN, HELD_OUT) if not (prepared / name).is_file()]
    if missing:
        raise PoolError(f"{prepared} lacks {', '.join(missing)}: documents cannot be found in it; prepare it again")
    before: dict[str, Any] = json.loads((prepared / REPORT).read_text(encoding="utf-8"))
    pool = _pool_without(prepared, ids, out)
    evaluation = _windows_without(prepared, ids, out)
    pool.save(out)
    evaluation.save(out)
    shutil.copyfile(prepared / TOKENIZER, out / TOKENIZER)
    _write_without(prepared / HELD_OUT, ids, out)
    lost = [name for name in before["targets"] if name not in evaluation.names]
    report = PreparedReport.of(
        pool, evaluation, counting=before["counting"], without_target=(*before["without_target"], *lost)
    )
    report.write(out)
    return report


def _pool_without(prepared: Path, gone: pa.Array, out: Path) -> TokenPool:
    pool, documents = TokenPool.load(prepared), pq.read_table(prepared / DOCUMENTS)
    offsets = np.concatenate([[0], np.cumsum(documents.column("tokens").to_numpy())])
    if offsets[-1] != len(pool.tokens):
        raise PoolError(f"{prepared / DOCUMENTS} is of {offsets[-1]} tokens, {len(pool.tokens)} are there")
    stays = ~_among(documents.column("doc_id"), gone)
    cluster = documents.column("cluster").to_numpy()
    streams = EncodedDocuments(np.asarray(pool.tokens), offsets)
    left = [streams.take(np.flatnonzero(stays & (cluster == k))).tokens for k in range(pool.domains)]
    _write_without(prepared / DOCUMENTS, gone, out)
    return TokenPool.of(left, pool.vocab, pool.tokenizer)


def _windows_without(prepared: Path, gone: pa.Array, out: Path) -> EvaluationSet:
    evaluation, shown = EvaluationSet.load(prepared), pq.read_table(prepared / SHOWN)
    lost = shown.column("window").to_numpy()[_among(shown.column("doc_id"), gone)]
    stays = np.ones(len(evaluation.windows), bool)
    stays[lost] = False
    number = np.cumsum(stays) - 1
    window = shown.column("window").to_numpy()
    left = shown.filter(pa.array(stays[window]))
    left = left.set_column(0, "window", pa.array(number[window[stays[window]]]))
    pq.write_table(left, out / SHOWN)
    kept, target = np.unique(evaluation.target[stays], return_inverse=True)
    if not len(kept):
        raise PoolError("no window is left to evaluate on: give validation texts or larger domains, and prepare again")
    windows = evaluation.windows[stays]
    lengths = ProxyTokenizer.load(prepared).byte_lengths()[windows[:, 1:]].sum(axis=1)
    return EvaluationSet(
        tuple(evaluation.names[j] for j in kept),
        windows,
        target.astype(np.int64),
        np.bincount(target, weights=lengths, minlength=len(kept)).astype(np.int64),
        evaluation.in_domain[kept],
    )


def _write_without(path: Path, gone: pa.Array, out: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.array(~_among(table.column("doc_id"), gone))), out / path.name, compression="zstd")


def _among(column: pa.ChunkedArray, ids: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.is_in(column, value_set=ids), bool)
