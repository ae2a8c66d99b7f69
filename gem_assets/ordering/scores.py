"""The user's own score: a column of parquet files, joined to the documents before they are ordered.

The files may be what was landed (FineWeb-Edu's ``score``, joined on its ``url``) or what a model wrote about documents
of this corpus (joined on ``doc_id``). Where a key stands more than once, the highest score counts. Documents without a
score follow ``missing_score``. DuckDB joins and spills; the files are read once.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.ordering.config import OrderingConfig
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import FileRef, InputRef

ASSET = "scores"
_NEEDED = ("doc_id", "cluster", "n_tokens", "dup_count")
_ROWS = 131_072


class ScoreError(ValueError):
    """A score that cannot be used; the message names the file or column and what there is."""


def label_columns(config: OrderingConfig, available: Sequence[str]) -> list[str]:
    """Return the columns of the label table that an order reads.

    Raises
    ------
    ScoreError
        When the score is none of them and no files are named that hold it.
    """
    if config.score_files:
        return list(dict.fromkeys([*_NEEDED, config.score_key]))
    if config.score not in available:
        raise ScoreError(
            f"ordering.score is {config.score!r}, which is not a column of the labels ({', '.join(available)}); for a "
            "column of your own, name the parquet files that hold it in ordering.score_files"
        )
    return list(dict.fromkeys([*_NEEDED, config.score]))


def score_files(config: OrderingConfig, data_root: Path) -> list[Path]:
    """Return the files that hold the user's score, sorted; none when it is a column of the labels.

    Raises
    ------
    ScoreError
        When a name fits no file, leads out of the data root, or a file lacks a column.
    """
    found: set[Path] = set()
    for pattern in config.score_files:
        parts = Path(pattern).parts
        if Path(pattern).is_absolute() or ".." in parts:
            raise ScoreError(
                f"ordering.score_files names {pattern}; name files below {data_root} (put a link there), so that the "
                "manifest holds on another machine"
            )
        files = [path for path in data_root.glob(pattern) if path.is_file()]
        if not files:
            raise ScoreError(f"ordering.score_files names {pattern}, and no file below {data_root} fits")
        found.update(files)
    for path in sorted(found):
        _check_columns(path, config)
    return sorted(found)


def pin_scores(files: Sequence[Path], data_root: Path) -> list[InputRef]:
    """Pin the files as one input, by the digest of each; no input without files."""
    if not files:
        return []
    refs = tuple(
        FileRef(path=path.relative_to(data_root).as_posix(), bytes=path.stat().st_size, sha256=file_digest(path))
        for path in files
    )
    version = sha256("\n".join(f"{ref.path} {ref.sha256}" for ref in refs).encode()).hexdigest()
    return [InputRef(asset=ASSET, data_version=version, files=refs)]


def with_scores(
    documents: Iterable[pa.RecordBatch], files: Sequence[Path], config: OrderingConfig, scratch: Path
) -> Iterator[pa.RecordBatch]:
    """Yield the documents with the score column joined to them; as they are when there are no files.

    Parameters
    ----------
    documents
        Batches with ``config.score_key``.
    files
        From :func:`score_files`.
    scratch
        Folder for what does not fit in memory.
    """
    import duckdb

    if not files:
        yield from documents
        return
    batches = iter(documents)
    first = next(batches, None)
    if first is None:
        return

    def rows() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    key = _quoted(config.score_key_column or config.score_key)
    limits = {"memory_limit": f"{config.memory_mb}MiB", "threads": config.threads}
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix=".scores-") as spill,
        duckdb.connect(config={**limits, "temp_directory": spill}) as database,
    ):
        database.execute("SET enable_progress_bar = false")
        database.register("documents", pa.RecordBatchReader.from_batches(first.schema, rows()))
        database.read_parquet([str(path) for path in files], union_by_name=True).create_view("score_rows")
        joined = database.sql(
            f"SELECT documents.*, scores.score AS {_quoted(config.score)} FROM documents LEFT JOIN "  # noqa: S608
            f"(SELECT {key} AS key, max({_quoted(config.score)})::DOUBLE AS score FROM score_rows GROUP BY ALL) scores "
            f"ON documents.{_quoted(config.score_key)} = scores.key"
        )
        yield from joined.to_arrow_reader(_ROWS)


def _check_columns(path: Path, config: OrderingConfig) -> None:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ScoreError(f"{path} is not a parquet file: {error}") from error
    for name in (config.score_key_column or config.score_key, config.score):
        if name not in schema.names:
            raise ScoreError(f"{path} has no column {name!r}; it has {', '.join(schema.names)}")
    kind = schema.field(config.score).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise ScoreError(f"{path}: column {config.score!r} is {kind}; a score is a number")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
