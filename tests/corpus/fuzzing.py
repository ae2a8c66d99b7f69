"""Damaged and expensive files, made from a seed: for the tests, and for as long as one likes.

``python -m tests.corpus.fuzzing --reader warc --seconds 3600 --seed 0`` prints one JSON object as its last line:

- ``cases``, ``bytes``, ``documents``, ``rows``: what was read;
- ``us_per_byte``: processor time of this process for a byte, over all cases; ``worst_us_per_byte``: of the worst case
  of at least 10,000 bytes, whose number is ``worst_case``;
- ``superlinear``: cases that took more than three times as long as their length explains when they were made four times
  as long;
- ``failures``: cases in which a reader raised, gave a row that it must not give, quoted a document, or died; of a
  process that died, what its other cases gave is not counted.

``--case N`` reads one case again and prints what it gives. The exit code is 1 where there is a failure or a superlinear
case.
"""

import argparse
import bz2
import gzip
import json
import lzma
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import zstandard

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.records import Item, Quarantined, RawDocument
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.schema import QUARANTINE_REASONS
from tests.corpus.making import (
    conversion,
    http,
    jsonl,
    members,
    one_by_one,
    page,
    parquet,
    prose,
    response,
    warc_record,
)

BATCH: Final = 500
LARGE: Final = 10_000
SLOW_S: Final = 0.05
CONFIG: Final = CorpusConfig(max_record_bytes=100_000, bomb_floor_bytes=1 << 20)
ARC: Final = b"filedesc://x.arc 0.0.0.0 20260101000000 text/plain 22\n1 0 x\nURL IP-address\n\n\n" + b"".join(
    b"http://example.org/%d 1.2.3.4 20260102030405 text/html %d\n%s\n" % (i, len(body), body)
    for i, body in enumerate([http(page(prose(1))), http(page(prose(2)))])
)
CHUNKED: Final = http(b"5\r\nhello\r\n0\r\n\r\n", "Content-Type: text/html\r\nTransfer-Encoding: chunked")
PACKED: Final = http(gzip.compress(page(prose(4)), mtime=0), "Content-Type: text/html\r\nContent-Encoding: gzip")
RECORDS: Final = [
    warc_record("warcinfo", b"software: x", None, "application/warc-fields"),
    response(prose(1)),
    warc_record("response", CHUNKED),
    warc_record("response", PACKED),
    conversion(prose(2), "https://example.org/2"),
]
WARC: Final = b"".join(RECORDS)
WET: Final = [conversion(prose(i), f"https://example.org/{i}") for i in range(4)]
LINES: Final = jsonl([{"text": prose(i), "url": f"u{i}", "date": "2026-01-01"} for i in range(4)])
PARQUET: Final = {"text": [prose(i) for i in range(4)], "url": ["a", "b", "c", None]}

SEEDS: Final[dict[str, dict[str, bytes]]] = {
    "warc": {
        "a.warc": WARC,
        "a.warc.gz": members(RECORDS),
        "one-member.warc.gz": gzip.compress(WARC, mtime=0),
        "a.warc.zst": b"".join(zstandard.compress(record) for record in RECORDS),
        "a.warc.xz": lzma.compress(WARC),
    },
    "wet": {"a.warc.wet": b"".join(WET), "a.warc.wet.gz": members(WET)},
    "arc": {"a.arc": ARC, "a.arc.gz": gzip.compress(ARC, mtime=0)},
    "jsonl": {
        "a.jsonl": LINES,
        "a.jsonl.gz": gzip.compress(LINES, mtime=0),
        "a.jsonl.zst": zstandard.compress(LINES),
        "a.jsonl.bz2": bz2.compress(LINES),
    },
    "parquet": {
        "a.parquet": parquet(PARQUET, compression="zstd"),
        "b.parquet": parquet({"text": PARQUET["text"]}, compression="none", use_dictionary=False),
    },
    "html": {"a.html": page(prose(5))},
}
TOKENS: Final[dict[str, Sequence[bytes]]] = {
    "warc": (
        *(b"WARC/1.0\r\n", b"WARC/0.18\n", b"WARC-Type: response\r\n", b"Content-Length: 1000000\r\n", b"\r\n", b"\n"),
        *(b"Content-Length: 40000000\r\n", b"Content-Length: -1\r\n", b"\r\n\r\n", b"WARC-Type", b" folded\r\n", b"\0"),
        *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n"),
        *(b"Content-Encoding: gzip,br\r\n", b"WARC-Target-URI: ", b"<http://a/ b>", b"\x1f\x8b\x08\0", b"<!--", b"<p>"),
    ),
    "arc": (
        *(b"http://a/ 1.1.1.1 20200101000000 text/html 900000\n", b"http://a/ ", b"20200101000000 ", b" 1 ", b"\n"),
        *(b"dns:a ", b"text/html ", b"-1\n", b"filedesc://", b" ", b"\r\n", b"HTTP/1.1 200 OK\n\n", b"5\n"),
    ),
    "jsonl": (b'{"text": "x"}\n', b"[", b"{", b'{"text":', b'"', b"\\", b"\n", b",", b"]", b"}", b" ", b"\xff", b"0"),
    "html": (b"<div>", b"</b>", b"<li>", b"<table>", b"<!--", b"-->", b"<a x='", b"&amp;", b"<math>", b" ", b"x", b"<"),
}


def mutate(data: bytes, tokens: Sequence[bytes], others: Sequence[bytes], rng: Random) -> bytes:
    """Return the bytes with up to eight places flipped, overwritten, removed, doubled or filled with foreign ones."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + rng.randint(1, 40)] = rng.randbytes(rng.randint(0, 40))
            case 2:
                out[at:at] = rng.choice(others)[: rng.randint(1, 200)]
            case 3:
                del out[at : at + rng.randint(1, 100)]
            case 4:
                out[at:at] = out[at : at + rng.randint(1, 400)] * rng.randint(1, 20)
            case _:
                out[at:at] = rng.choice(tokens) * rng.choice((1, 1, 2, 50)) if tokens else b""
    return bytes(out)


def expensive(tokens: Sequence[bytes], rng: Random, size: int) -> bytes:
    """Return a few tokens repeated up to a size."""
    piece = b"".join(rng.choice(tokens) * rng.choice((1, 1, 1, 7)) for _ in range(rng.randint(1, 5)))
    return piece * max(size // len(piece), 1)


def make(reader: str, rng: Random, times: int = 1) -> tuple[str, bytes]:
    """Return name and bytes of one case; ``times`` makes what is repeated as many times longer."""
    seeds, tokens = SEEDS[reader], TOKENS.get("warc" if reader == "wet" else reader, ())
    name = rng.choice(sorted(seeds))
    if tokens and rng.random() < 0.3:
        size = rng.choice((2_000, 20_000, 60_000))
        data = seeds[min(seeds)][: rng.randint(0, 200)] + expensive(tokens, rng, times * size)
        pack: Callable[[bytes], bytes] = gzip.compress if name.endswith(".gz") else bytes
        return name, pack(data)
    foreign = [data for group in SEEDS.values() for data in group.values()]
    return name, mutate(seeds[name], tokens, foreign, rng) * times


def read(path: Path, name: str, data: bytes) -> tuple[list[Item], float]:
    """Read one case; return what it gave and the processor seconds that this took."""
    path.write_bytes(data)
    begin = time.process_time()
    found: list[Item] = list(one_by_one(read_file(path, name, CONFIG)))
    return found, time.process_time() - begin


def complaint(found: Sequence[Item], name: str) -> str | None:
    """Return what is wrong with the items of a case, or None."""
    for item in found:
        if item.file != name or item.offset < 0:
            return f"place {item.file}#{item.offset}"
        if isinstance(item, Quarantined) and (item.reason not in QUARANTINE_REASONS or item.reason == "reader_error"):
            return f"reason {item.reason}: {item.detail}"
        if isinstance(item, Quarantined) and "harbour" in item.detail:
            return "a document in the detail of a row"
    return None


@dataclass
class Tally:
    """What was read."""

    cases: int = 0
    bytes: int = 0
    documents: int = 0
    rows: int = 0
    cpu_s: float = 0.0
    worst: float = 0.0
    worst_case: int = -1
    superlinear: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add what another process read."""
        if other.worst > self.worst:
            self.worst, self.worst_case = other.worst, other.worst_case
        self.cases, self.bytes = self.cases + other.cases, self.bytes + other.bytes
        self.documents, self.rows = self.documents + other.documents, self.rows + other.rows
        self.cpu_s += other.cpu_s
        self.superlinear += other.superlinear
        self.failures += other.failures


def read_case(reader: str, seed: int, number: int, path: Path, tally: Tally) -> list[Item]:
    """Read one case into the tally."""
    name, data = make(reader, Random(f"{seed}/{number}"))
    tally.cases += 1
    try:
        found, took = read(path, name, data)
    except Exception as error:
        tally.failures.append(f"{number}: {type(error).__name__}")
        return []
    if (problem := complaint(found, name)) is not None:
        tally.failures.append(f"{number}: {problem}")
    tally.bytes, tally.cpu_s = tally.bytes + len(data), tally.cpu_s + took
    tally.documents += sum(isinstance(item, RawDocument) for item in found)
    tally.rows += sum(isinstance(item, Quarantined) for item in found)
    if len(data) >= LARGE and took / len(data) > tally.worst:
        tally.worst, tally.worst_case = took / len(data), number
    if took > SLOW_S:
        longer = make(reader, Random(f"{seed}/{number}"), 4)[1]
        if read(path, name, longer)[1] > 3 * took * max(len(longer) / len(data), 1) + 0.5:
            tally.superlinear.append(number)
    return found


def run(reader: str, seconds: float, seed: int) -> Tally:
    """Read cases for a while, each few hundred in a process of their own, which the reader may kill."""
    total, number, begin = Tally(), 0, time.monotonic()
    at = mmap.mmap(-1, 8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case"
        while (left := begin + seconds - time.monotonic()) > 0:
            receive, send = os.pipe()
            if (child := os.fork()) == 0:
                tally, first, until = Tally(), number, time.monotonic() + left
                while number < first + BATCH and time.monotonic() < until:
                    at[:] = number.to_bytes(8, "little")
                    read_case(reader, seed, number, path, tally)
                    number += 1
                os.write(send, json.dumps(asdict(tally)).encode())
                os._exit(0)
            os.close(send)
            with os.fdopen(receive, "rb") as answer:
                told = answer.read()
            status = os.waitpid(child, 0)[1]
            number = int.from_bytes(at[:], "little") + 1
            if told:
                total.add(Tally(**json.loads(told)))
            else:
                total.failures.append(f"{number - 1}: the reader died, status {status}")
    return total


def main() -> int:
    """Read the command line, fuzz, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reader", choices=sorted(SEEDS), required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int)
    options = parser.parse_args()
    begin = time.monotonic()
    if options.case is None:
        tally = run(options.reader, options.seconds, options.seed)
    else:
        tally = Tally()
        with tempfile.TemporaryDirectory() as folder:
            print(*read_case(options.reader, options.seed, options.case, Path(folder) / "case", tally), sep="\n")
    figures = asdict(tally)
    figures["us_per_byte"] = round(1e6 * figures.pop("cpu_s") / max(tally.bytes, 1), 3)
    figures["worst_us_per_byte"] = round(1e6 * figures.pop("worst"), 2)
    head = {"reader": options.reader, "seed": options.seed, "seconds": round(time.monotonic() - begin)}
    print(json.dumps({**head, **figures}))
    return 1 if tally.failures or tally.superlinear else 0


if __name__ == "__main__":
    sys.exit(main())
