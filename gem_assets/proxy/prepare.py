"""Prepare labelled shards for proxies: tokenizer, token pool, evaluation windows, counts.

Writes, into one folder, ``tokenizer.json``, the files of ``pool``, those of ``contents`` and ``held_out.parquet`` (ids
of the documents behind the windows, which no count and no stream may hold); and ``counts.parquet`` for each snapshot
into a folder of its own.

Documents are chosen by the rank of their id (``sampling.document_ranks``), the lowest first, as many of each domain as
may be needed; they are read twice, once for the tokenizer's sample and once to be encoded, shard by shard. Memory is
the ids and sizes of the labels, and the chosen tokens.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.sampling import BATCH_ROWS, Scan, document_ranks, select_documents
from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.contents import HELD_OUT, PreparedReport, write_contents
from gem_assets.proxy.counts import DomainCounts, count_documents
from gem_assets.proxy.pool import EvaluationSet, PoolError, build_pool, target_windows
from gem_assets.proxy.tokens import FILE as TOKENIZER
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer, spread_sample

#: UTF-8 bytes per token that are reckoned with when documents are chosen; more than any text has at 2,048 ids.
_BYTES_PER_TOKEN = 5
_PRUNE_ROWS = 2_000_000
_LABELS = pa.schema([("doc_id", pa.string()), ("cluster", pa.int16())])
_CHOSEN = pa.schema([("doc_id", pa.string()), ("cluster", pa.int16()), ("rank", pa.uint64())])


def prepare_data(
    labels: Scan,
    shards: Mapping[str, Sequence[Path]],
    names: Sequence[str],
    config: ProxyConfig,
    out: Path,
    scratch: Path,
    *,
    targets: Mapping[str, Sequence[str]] | None = None,
    map_shards: ShardMap = serial_map,
) -> PreparedReport:
    """Write tokenizer, pool and evaluation set.

    Raises PoolError when no domain and no target fills a window, or a target's name is a domain's.

    Parameters
    ----------
    labels
        Yields batches of ``doc_id``, ``cluster`` and ``n_bytes`` of every labelled document.
    shards
        Parquet shards with ``doc_id`` and ``text``, by snapshot.
    names
        Name of each domain; cluster k is ``names[k]``.
    out, scratch
        Empty folders, for the result and for files that may go afterwards.
    targets
        Texts of further targets by name, such as a validation set that mixtures shall be made for. They must not be
        among the training documents.
    """
    context = config.model.context
    chosen = choose_documents(labels, len(names), config)
    tokenizer = ProxyTokenizer.train(_sample_texts(chosen, shards, len(names), config), config.tokenizer)
    tokenizer.save(out)
    encoded, ids = _encode_chosen(chosen, shards, out, scratch, map_shards)
    row_of = _index(ids, chosen.column("doc_id").combine_chunks())
    cluster, rank = (chosen.column(name).to_numpy()[row_of] for name in ("cluster", "rank"))
    split = build_pool(encoded, cluster, rank, tokenizer, names, config.pool, context=context)
    parts = [split.evaluation] if split.evaluation is not None else []
    for name, texts in sorted((targets or {}).items()):
        windows = config.pool.windows
        parts.append(target_windows(name, tokenizer.encode(texts), tokenizer, context=context, windows=windows))
    if not parts:
        raise PoolError(_too_little(encoded, cluster, config))
    evaluation = EvaluationSet.concatenate(parts)
    split.pool.save(out)
    evaluation.save(out)
    report = PreparedReport.of(
        split.pool,
        evaluation,
        counting=write_contents(split, ids, cluster, tokenizer.digest, out),
        without_target=(name for name in names if name not in evaluation.names),
    )
    report.write(out)
    return report


def count_snapshot(
    labels: Scan,
    shards: Sequence[Path],
    domains: int,
    prepared: Path,
    out: Path,
    scratch: Path,
    *,
    order: int = 2,
    map_shards: ShardMap = serial_map,
) -> DomainCounts:
    """Count every labelled document of one snapshot and write ``counts.parquet``.

    Counts of several snapshots are merged (``DomainCounts.merge``): a new snapshot counts its own documents and nothing
    else. Held-out documents are not counted.

    ``labels`` yields batches of ``doc_id`` and ``cluster`` of the snapshot's documents.
    """
    held = pq.read_table(prepared / HELD_OUT).column("doc_id").combine_chunks()
    batches = (pa.Table.from_batches([batch]).select(_LABELS.names) for batch in labels(_LABELS.names))
    # none at all where other snapshots have every text already
    table = pa.concat_tables([_LABELS.empty_table(), *(batch.cast(_LABELS) for batch in batches)])
    table = table.filter(pa.array(~_member(table.column("doc_id").combine_chunks(), held)))
    wanted = _write_ids(table, scratch)
    task = partial(_count_shard, wanted=wanted, prepared=prepared, scratch=scratch, domains=domains, order=order)
    tokenizer = ProxyTokenizer.load(prepared)
    total = DomainCounts.empty(tokenizer.vocab, domains, order, tokenizer.digest)
    for folder in map_shards(task, list(enumerate(shards)), "counting n-grams"):
        total = total.merge(DomainCounts.load(folder))
    total.save(out)
    return total


def choose_documents(labels: Scan, domains: int, config: ProxyConfig) -> pa.Table:
    """Return ``doc_id``, ``cluster`` and ``rank`` of the documents that proxies may need, sorted by id.

    The lowest ranks of each domain, up to the bytes that its tokens and windows can take. A document that is in several
    snapshots counts once.
    """
    room = _BYTES_PER_TOKEN * (config.pool.domain_tokens + 2 * config.pool.windows * (config.model.context + 1))
    kept: list[pa.Table] = []
    rows = 0
    for batch in labels(["doc_id", "cluster", "n_bytes"]):
        ranks = document_ranks(batch.column("doc_id"), config.seed)
        columns = [batch.column(name) for name in ("doc_id", "cluster", "n_bytes")]
        kept.append(pa.table([*columns, pa.array(ranks)], names=["doc_id", "cluster", "n_bytes", "rank"]))
        rows += len(batch)
        if rows > _PRUNE_ROWS:
            kept = [_lowest(pa.concat_tables(kept), domains, room)]
            rows = len(kept[0])
    if not rows:
        raise PoolError("no labelled documents to prepare proxies from: label a snapshot first")
    return _lowest(pa.concat_tables(kept), domains, room).select(_CHOSEN.names).cast(_CHOSEN)


def load_texts(path: Path) -> dict[str, list[str]]:
    """Read validation texts from parquet or JSONL with ``text`` and, for several targets, ``target``.

    Without the second column all texts are one target, named after the file.

    Raises PoolError when the file cannot be read or has no text; names it.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            columns = {
                name: table.column(name).to_pylist() for name in ("text", "target") if name in table.column_names
            }
        else:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            columns = {name: [line.get(name) for line in lines] for name in ("text", "target")}
    except (OSError, ValueError, AttributeError, pa.ArrowInvalid) as error:
        raise PoolError(f"{path} cannot be read as parquet or JSONL: {error}") from error
    texts: dict[str, list[str]] = {}
    names: Iterable[Any] = columns.get("target") or [None] * len(columns.get("text", []))
    for text, name in zip(columns.get("text", []), names, strict=True):
        if isinstance(text, str) and text.strip():
            texts.setdefault(str(name or path.stem), []).append(text)
    if not texts:
        raise PoolError(f"{path} has no column 'text' with any text in it")
    return texts


def _too_little(documents: EncodedDocuments, cluster: NDArray[np.integer], config: ProxyConfig) -> str:
    """Say how far the largest cluster is from a window to evaluate proxies on."""
    placed = cluster >= 0
    tokens = np.bincount(cluster[placed], np.diff(documents.offsets)[placed]).astype(np.int64)
    largest = int(tokens.argmax())
    return (
        f"no cluster has text to spare for evaluation: a window needs {config.model.context + 1} tokens from at most "
        f"{config.pool.held_out:.0%} of a cluster's documents, and the largest cluster has {tokens[largest]:,} tokens "
        f"in {np.count_nonzero(cluster == largest)} documents. Land more, set a smaller proxy.model.context, or name "
        "validation texts in proxy.targets"
    )


def _lowest(table: pa.Table, domains: int, room: int) -> pa.Table:
    """Rows of the lowest ranks of each domain up to ``room`` bytes, each document once, sorted by id."""
    cluster, rank = table.column("cluster").to_numpy(), table.column("rank").to_numpy()
    order = np.lexsort((rank, cluster))
    ids = table.column("doc_id").combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(ids[order], return_index=True)
    order = order[np.sort(first)]
    order = order[(cluster[order] >= 0) & (cluster[order] < domains)]
    size = table.column("n_bytes").to_numpy()[order].astype(np.int64)
    before = np.cumsum(size) - size
    starts = np.searchsorted(cluster[order], np.arange(domains))
    offset = np.append(before, 0)[starts[cluster[order]]]
    return table.take(pa.array(order[before - offset < room])).sort_by("doc_id")


def _sample_texts(
    chosen: pa.Table, shards: Mapping[str, Sequence[Path]], domains: int, config: ProxyConfig
) -> list[str]:
    """Texts for the tokenizer, from each domain in turn, lowest rank first."""
    cluster, rank = chosen.column("cluster").to_numpy(), chosen.column("rank").to_numpy()
    # a few documents of each domain are more than the sample holds, unless they are very short
    depth = max(64, config.tokenizer.sample_bytes // (domains * 512))
    rows = np.concatenate(
        [np.flatnonzero(cluster == k)[np.argsort(rank[cluster == k])][:depth] for k in range(domains)]
    )
    picked = chosen.take(pa.array(rows))
    found = _once(select_documents(shards, picked.column("doc_id"), ["text"]))
    text_of = dict(zip(found.column("doc_id").to_pylist(), found.column("text").to_pylist(), strict=True))
    by_domain: list[list[str]] = [[] for _ in range(domains)]
    for k, doc_id in zip(cluster[rows].tolist(), picked.column("doc_id").to_pylist(), strict=True):
        if doc_id in text_of:
            by_domain[k].append(text_of[doc_id])
    return spread_sample(by_domain, config.tokenizer)


def _encode_chosen(
    chosen: pa.Table, shards: Mapping[str, Sequence[Path]], prepared: Path, scratch: Path, map_shards: ShardMap
) -> tuple[EncodedDocuments, pa.Array]:
    """Encode the chosen documents; returned sorted by id, each once, with their ids."""
    wanted = _write_ids(chosen.select(["doc_id"]), scratch)
    files = [path for _, paths in sorted(shards.items()) for path in paths]
    task = partial(_encode_shard, wanted=wanted, prepared=prepared, scratch=scratch)
    parts: list[EncodedDocuments] = []
    ids: list[pa.Array] = []
    for path in map_shards(task, list(enumerate(files)), "encoding documents"):
        with np.load(path, allow_pickle=False) as found:
            parts.append(EncodedDocuments(found["tokens"], found["offsets"]))
            ids.append(pa.array(found["doc_id"].astype(str).tolist(), pa.string()))
    joined = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
    _, first = np.unique(np.array(joined.to_pylist(), dtype="U32"), return_index=True)
    return EncodedDocuments.concatenate(parts).take(first), joined.take(pa.array(first))


def _encode_shard(shard: tuple[int, Path], *, wanted: Path, prepared: Path, scratch: Path) -> Path:
    number, path = shard
    tokenizer, ids = _tokenizer(prepared), _read_ids(str(wanted))
    picked = _read_wanted(path, ids.column("doc_id").combine_chunks())
    encoded = tokenizer.encode(picked.column("text").to_pylist())
    out = scratch / f"encoded-{number:05d}.npz"
    doc_id = np.array(picked.column("doc_id").to_pylist(), dtype="S32")
    np.savez(out, allow_pickle=False, tokens=encoded.tokens, offsets=encoded.offsets, doc_id=doc_id)
    return out


def _count_shard(
    shard: tuple[int, Path], *, wanted: Path, prepared: Path, scratch: Path, domains: int, order: int
) -> Path:
    number, path = shard
    tokenizer, labels = _tokenizer(prepared), _read_ids(str(wanted))
    ids = labels.column("doc_id").combine_chunks()
    picked = _read_wanted(path, ids)
    row = _index(picked.column("doc_id").combine_chunks(), ids)
    counts = count_documents(
        tokenizer.encode(picked.column("text").to_pylist()),
        labels.column("cluster").to_numpy()[row],
        vocab=tokenizer.vocab,
        domains=domains,
        order=order,
        tokenizer=tokenizer.digest,
    )
    out = scratch / f"counts-{number:05d}"
    out.mkdir()
    counts.save(out)
    return out


def _read_wanted(path: Path, ids: pa.Array) -> pa.Table:
    picked: list[pa.RecordBatch] = []
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(BATCH_ROWS, columns=["doc_id", "text"]):
        mask = _member(batch.column("doc_id"), ids)
        if mask.any():
            picked.append(batch.filter(pa.array(mask)))
    schema = file.schema_arrow
    fields = [schema.field(name) for name in ("doc_id", "text")]
    return pa.Table.from_batches(picked, schema=pa.schema(fields)).select(["doc_id", "text"])


def _member(ids: pa.Array, among: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.is_in(ids, value_set=among), bool)  # pyright: ignore[reportAttributeAccessIssue]


def _index(ids: pa.Array, among: pa.Array) -> NDArray[np.int64]:
    """Position of each id among others that hold it."""
    return np.asarray(pc.index_in(ids, value_set=among), np.int64)  # pyright: ignore[reportAttributeAccessIssue]


def _once(table: pa.Table) -> pa.Table:
    _, first = np.unique(np.array(table.column("doc_id").to_pylist(), dtype="U32"), return_index=True)
    return table.take(pa.array(first))


def _write_ids(table: pa.Table, scratch: Path) -> Path:
    path = scratch / f"wanted-{uuid.uuid4().hex}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path


@lru_cache(maxsize=1)
def _read_ids(path: str) -> pa.Table:
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()


def _tokenizer(prepared: Path) -> ProxyTokenizer:
    return _cached_tokenizer(prepared, (prepared / TOKENIZER).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _cached_tokenizer(prepared: Path, _: int) -> ProxyTokenizer:
    return ProxyTokenizer.load(prepared)
