"""Search document shards for benchmark items.

Two passes over what was found, one over the texts. The first reads a shard and notes each n-gram of an item that a
document holds. Then it is known in how many documents each n-gram is. The second weighs the words of an item: a word
counts the mean of ``log(1 + documents / documents with it)`` of the n-grams over it, and nothing where they are
boilerplate. The score of a document for an item is the weight of the item's words that it holds, over the weight of
all: it does not depend on how long the page is, and a changed word costs that word only. What counts lies within a
stretch of the document of at most :data:`SPREAD` times the item's length.

Source of the idea: n-gram overlap as in GPT-3 (arXiv 2005.14165, appendix C) and Llama 2 (arXiv 2307.09288, A.6, share
of an item's tokens in matched n-grams); weights by document frequency are tf-idf's.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import characters
from gem_assets.corpus.text.features import text_buffers
from gem_assets.decontamination.config import DecontaminationConfig
from gem_assets.decontamination.index import Index, Searchable
from gem_assets.decontamination.matching import find_hits, score_items, weigh_words
from gem_assets.parallel.shard_map import ShardMap, serial_map

SPREAD: Final = 8
"""Lengths of an item over which its parts may be spread: other text of four times its length may stand between them."""
LEAST_BOILERPLATE: Final = 20
"""An n-gram of fewer documents is not boilerplate, however small the snapshot is."""
FLAG_SCHEMA: Final = pa.schema(
    [
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("benchmark", pa.string()),
        ("split", pa.string()),
        ("item", pa.string()),
        ("score", pa.float32()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)
"""A document and an item that it holds; ``text[start:end]`` is the stretch, in characters."""
_ROWS: Final = 2048


@dataclass(frozen=True)
class ShardHits:
    """What one shard holds: ``path`` is a file of hits, or None when there is none."""

    path: Path | None
    documents: int
    sources: dict[str, int]


@dataclass(frozen=True)
class Found:
    """Result of a search.

    Attributes
    ----------
    flags
        ``FLAG_SCHEMA``, in the order of the shards.
    documents, sources
        Documents searched, in all and by source.
    boilerplate
        Items that were not searched because all of their n-grams are boilerplate in these documents.
    """

    flags: pa.Table
    documents: int
    sources: dict[str, int]
    boilerplate: tuple[int, ...]


def search_shards(
    shards: Sequence[Path],
    searchable: Searchable,
    config: DecontaminationConfig,
    scratch: Path,
    map_shards: ShardMap = serial_map,
) -> Found:
    """Search the shards of one snapshot.

    Parameters
    ----------
    shards
        Parquet files with ``doc_id``, ``source`` and ``text``.
    searchable
        From :func:`gem_assets.decontamination.index.build_index`, with the n-gram of ``config``.
    scratch
        Empty folder for the index and for what was noted.
    """
    index = searchable.index
    index.save(scratch)
    task = partial(_search_shard, folder=scratch, ngram=config.ngram)
    searched = list(map_shards(task, list(enumerate(shards)), "searching for benchmark text"))
    documents = sum(one.documents for one in searched)
    sources = Counter[str]()
    for one in searched:
        sources.update(one.sources)
    files = [one.path for one in searched if one.path is not None]
    weights = word_weights(index, _document_counts(files, len(index.known)), documents, config)
    np.save(scratch / "weights.npy", weights, allow_pickle=False)
    judge = partial(_judge_shard, folder=scratch, ngram=config.ngram, threshold=config.threshold)
    flags = [_named(one, searchable) for one in map_shards(judge, files, "scoring benchmark items")]
    weighed = np.add.reduceat(weights, index.item_starts[:-1]) if len(weights) else np.zeros(0)
    held = np.add.reduceat(index.item_grams >= 0, index.item_starts[:-1]) if len(weights) else np.zeros(0)
    return Found(
        pa.concat_tables([FLAG_SCHEMA.empty_table(), *flags]),
        documents,
        dict(sorted(sources.items())),
        tuple(np.flatnonzero((weighed <= 0) & (held > 0)).tolist()),
    )


def word_weights(
    index: Index, held_by: NDArray[np.int64], documents: int, config: DecontaminationConfig
) -> NDArray[np.float32]:
    """Return the weight of each word of each item, float32, items in a row.

    Parameters
    ----------
    held_by
        In how many documents each n-gram is, int64 (n-grams,).
    documents
        How many were searched.
    """
    # the one document that holds an item must not make its words count less than those that no document holds
    rare = np.log1p(documents / np.maximum(held_by, 1)).astype(np.float32)
    rare[held_by > max(config.boilerplate * documents, LEAST_BOILERPLATE)] = 0
    return weigh_words(index.item_starts, index.item_grams, rare, config.ngram)


def _search_shard(shard: tuple[int, Path], *, folder: Path, ngram: int) -> ShardHits:
    number, path = shard
    grams, tables = _index(str(folder)).grams, characters()
    documents, sources = 0, Counter[str]()
    parts: list[tuple[NDArray[np.int32], ...]] = []
    ids: list[pa.Array] = []
    of: list[pa.Array] = []
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS, columns=["doc_id", "source", "text"]):
            documents += batch.num_rows
            for row in pc.value_counts(batch.column("source")).to_pylist():  # pyright: ignore[reportAttributeAccessIssue]
                sources[str(row["values"])] += row["counts"]
            for texts in text_buffers(batch.column("text")):
                doc, *rest = find_hits(texts.data, texts.offsets, tables, grams, ngram)
                rows, local = np.unique(doc, return_inverse=True)
                parts.append(((local + sum(map(len, ids))).astype(np.int32), *rest))
                ids.append(batch.column("doc_id").take(pa.array(rows)).cast(pa.string()))
                of.append(batch.column("source").take(pa.array(rows)).cast(pa.string()))
    if not sum(map(len, ids)):
        return ShardHits(None, documents, dict(sources))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    target = folder / f"hits-{number:05d}"
    target.mkdir()
    for name, values in zip(_HITS, columns, strict=True):
        np.save(target / f"{name}.npy", values, allow_pickle=False)
    named = pa.table({"doc_id": pa.concat_arrays(ids), "source": pa.concat_arrays(of)})
    pq.write_table(named, target / _DOCUMENTS)
    return ShardHits(target, documents, dict(sources))


_HITS: Final = ("doc", "gram", "word", "start", "end")
_DOCUMENTS: Final = "documents.parquet"


def _judge_shard(hits: Path, *, folder: Path, ngram: int, threshold: float) -> pa.Table:
    """Return doc_id, source, number of the item, score, start and end of what reaches the threshold."""
    index = _index(str(folder))
    doc, gram, word, start, end = (np.load(hits / f"{name}.npy", allow_pickle=False) for name in _HITS)
    documents = pq.read_table(hits / _DOCUMENTS)
    bounds = np.searchsorted(doc, np.arange(documents.num_rows + 1)).astype(np.int64)
    rows, items, scores, starts, ends = score_items(
        bounds, gram, word, start, end, index.posting_starts, index.postings, index.item_starts,
        _weights(str(folder)), ngram, threshold, SPREAD,
    )  # fmt: skip
    named = documents.take(pa.array(rows))
    columns = {"item": items, "score": scores.astype(np.float32), "start": starts, "end": ends}
    return pa.table({**{name: named.column(name) for name in named.column_names}, **columns})


def _document_counts(files: Iterable[Path], grams: int) -> NDArray[np.int64]:
    """Return in how many documents each n-gram is."""
    total = np.zeros(grams, np.int64)
    for hits in files:
        doc, gram = (np.load(hits / f"{name}.npy", allow_pickle=False).astype(np.int64) for name in ("doc", "gram"))
        pairs = np.unique(doc * grams + gram)
        total += np.bincount(pairs % grams, minlength=grams)
    return total


def _named(found: pa.Table, searchable: Searchable) -> pa.Table:
    items = [searchable.items[i] for i in found.column("item").to_pylist()]
    columns = {
        "doc_id": found.column("doc_id"),
        "source": found.column("source"),
        "benchmark": pa.array([item.benchmark for item in items], pa.string()),
        "split": pa.array([item.split for item in items], pa.string()),
        "item": pa.array([item.id for item in items], pa.string()),
        **{name: found.column(name) for name in ("score", "start", "end")},
    }
    return pa.table(columns).cast(FLAG_SCHEMA)


@lru_cache(maxsize=1)
def _index(folder: str) -> Index:
    return Index.load(Path(folder))


@lru_cache(maxsize=1)
def _weights(folder: str) -> NDArray[np.float32]:
    return np.load(Path(folder) / "weights.npy", allow_pickle=False)
