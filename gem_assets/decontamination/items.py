"""Read benchmark items: parquet, JSON lines, or a folder of them."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.corpus.text.cleaning import clean_text
from gem_assets.decontamination.config import Benchmark

SUFFIXES: Final = (".parquet", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_SPLIT: Final = "split"
_ROWS: Final = 1024
_BLOCK: Final = 1 << 20


class BenchmarkError(ValueError):
    """A benchmark that cannot be read, or holds no text; the message names the file and the way out."""


@dataclass(frozen=True)
class Item:
    """One benchmark item.

    Attributes
    ----------
    benchmark, split
        Where it belongs, as the settings name it.
    id
        Its own name, or its place in the file.
    text
        Clean text of all its fields.
    """

    benchmark: str
    split: str
    id: str
    text: str


def read_items(benchmark: Benchmark) -> list[Item]:
    """Return the items of a benchmark, also those without text.

    Raises
    ------
    BenchmarkError
        When a file is missing or damaged, lacks every field, or no item holds text.
    """
    found: list[Item] = []
    files = benchmark_files(benchmark)
    for file in files:
        of_file = file.name.split(".")[0] if len(files) > 1 else ""
        for number, row in enumerate(_rows(file, benchmark)):
            if benchmark.split and isinstance(row.get(_SPLIT), str) and row[_SPLIT] != benchmark.split:
                continue
            place = f"{of_file}:{number}" if of_file else str(number)
            name = row.get(benchmark.id)
            own = str(name) if isinstance(name, str | int) and not isinstance(name, bool) else place
            text = "\n".join(part for field in benchmark.fields for part in _strings(row.get(field)))
            try:
                found.append(Item(benchmark.name, benchmark.split, own, clean_text(text)))
            except UnicodeEncodeError as error:
                raise BenchmarkError(f"{file}, item {own}: its text is no Unicode ({error.reason}); mend it") from error
    if not any(item.text for item in found):
        fields, which = ", ".join(benchmark.fields), f" in split {benchmark.split}" if benchmark.split else ""
        raise BenchmarkError(
            f"{benchmark.path} holds {len(found)} items{which} and no text in {fields}: name its columns in "
            f"`fields` of the benchmark {benchmark.name}"
        )
    return found


def benchmark_files(benchmark: Benchmark) -> list[Path]:
    """Return the files of a benchmark, sorted.

    Raises
    ------
    BenchmarkError
        When there is none.
    """
    path = Path(benchmark.path)
    known = ", ".join(SUFFIXES)
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise BenchmarkError(f"{path} is none of {known}; write it as one of these")
        return [path]
    if not path.is_dir():
        raise BenchmarkError(f"{path} is not there: correct the path of the benchmark {benchmark.name}")
    files = sorted(one for one in path.rglob("*") if one.name.endswith(SUFFIXES) and one.is_file())
    if not files:
        raise BenchmarkError(f"{path} holds no file of {known}")
    if not benchmark.split:
        return files
    of_split = [one for one in files if benchmark.split in re.split(r"[^A-Za-z0-9_]+", str(one.relative_to(path)))]
    # a folder whose files are not told apart by name may hold a column that does it
    return of_split or files


def benchmarks_version(benchmarks: Sequence[Benchmark]) -> str:
    """Return 64 hex over the names, the columns and the bytes of all benchmarks; paths do not count.

    Raises
    ------
    BenchmarkError
        When a benchmark has no file.
    """
    total = sha256()
    for one in benchmarks:
        files = benchmark_files(one)
        described = [one.name, one.split, list(one.fields), one.id, [file.name for file in files]]
        total.update(json.dumps(described).encode())
        for file in files:
            stat = file.stat()
            total.update(bytes.fromhex(_file_digest(str(file), stat.st_size, stat.st_mtime_ns)))
    return total.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(path: str, _size: int, _changed: int) -> str:
    found = sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _rows(file: Path, benchmark: Benchmark) -> Iterator[Mapping[str, Any]]:
    rows = _parquet_rows(file, benchmark) if file.name.endswith(".parquet") else _json_rows(file)
    seen, known = False, set[str]()
    for row in rows:
        seen = seen or any(field in row for field in benchmark.fields)
        known.update(row if not seen else ())
        yield row
    if known and not seen:
        raise BenchmarkError(
            f"{file} has none of the columns {', '.join(benchmark.fields)}; it has {', '.join(sorted(known)[:20])}. "
            f"Name its columns in `fields` of the benchmark {benchmark.name}"
        )


def _parquet_rows(file: Path, benchmark: Benchmark) -> Iterator[Mapping[str, Any]]:
    try:
        with pq.ParquetFile(file) as table:
            held = table.schema_arrow.names
            wanted = [name for name in dict.fromkeys([*benchmark.fields, benchmark.id, _SPLIT]) if name in held]
            if not any(field in held for field in benchmark.fields):
                # told by the caller, with the names that there are
                yield dict.fromkeys(held)
                return
            for batch in table.iter_batches(_ROWS, columns=wanted):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{file} is damaged, or no parquet file ({error}); get it again") from error


def _json_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    number = 0
    try:
        with gzip.open(file, "rb") if file.name.endswith(".gz") else file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line.decode("utf-8-sig"))
                if not isinstance(row, dict):
                    raise BenchmarkError(f"{file}, line {number}: not a JSON object, but {line[:40]!r}")
                yield row
    except (ValueError, RecursionError) as error:
        if isinstance(error, BenchmarkError):
            raise
        raise BenchmarkError(f"{file}, line {number}: not JSON in UTF-8 ({error}); mend the line") from error
    except (OSError, EOFError) as error:
        raise BenchmarkError(f"{file} cannot be read after line {number} ({error}); get it again") from error


def _strings(value: Any) -> Iterator[str]:
    """Yield every string of a field, also those in lists and objects, such as the choices of a question."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
