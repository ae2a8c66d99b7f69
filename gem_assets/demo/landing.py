"""Build the demo's landing area: three snapshots in three formats, the last one with damaged files.

One call, :func:`build_demo_landing`. On 2 cores it takes about half a minute and writes some 10 MB, compressed. The
same environment and seed give the same bytes.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gem_assets.corpus.landing import land
from gem_assets.demo import formats
from gem_assets.demo.crawl import SNAPSHOTS, Crawl, Page, three_crawls
from gem_assets.demo.finding import KINDS, TextFile, find_text_files, in_turns
from gem_assets.demo.passages import Passage, cut

DOCUMENTS = 11_000
SMALL_DOCUMENTS = 900
FILES_PER_SNAPSHOT = 4
DAMAGED_FILES = (
    "truncated.jsonl.gz",
    "last-line-cut.jsonl",
    "not-utf8.jsonl",
    "zero-length.jsonl",
    "no-footer.parquet",
)

Writer = Callable[[Path, Sequence[Page], str], None]


class DemoError(RuntimeError):
    """The demo cannot be built here; the message says why and what to do."""


class Progress(Protocol):
    """Told how far a step is: its name, what is done, and what there is to do."""

    def __call__(self, step: str, done: int, total: int, /) -> None: ...


@dataclass(frozen=True)
class DemoSnapshot:
    """What one demo snapshot holds.

    Attributes
    ----------
    file_format
        ``WARC``, ``parquet`` or ``JSONL``.
    new, recrawled, edited, gone
        Pages by what happened to them since the crawl before; ``gone`` ones are not in the snapshot.
    damaged_files
        Names of the files that a reader has to survive.
    """

    name: str
    path: Path
    file_format: str
    documents: int
    new: int
    recrawled: int
    edited: int
    gone: int
    damaged_files: tuple[str, ...]


@dataclass(frozen=True)
class DemoSources:
    """What the demo is made of.

    Attributes
    ----------
    kinds
        Distinct pages per kind of text.
    text_bytes
        UTF-8 bytes of all pages of all snapshots.
    """

    snapshots: tuple[DemoSnapshot, ...]
    kinds: dict[str, int]
    text_bytes: int


def _silent(step: str, done: int, total: int, /) -> None:
    del step, done, total


def build_demo_landing(
    root: Path, *, seed: int = 0, small: bool = False, progress: Progress | None = None
) -> DemoSources:
    """Write and land the three demo snapshots.

    Parameters
    ----------
    root
        Landing folder; ``2026-01``, ``2026-02`` and ``2026-03`` appear in it, each completed by its ``_SUCCESS``.
    small
        Land about 900 distinct documents instead of 11,000, for a first look or a test.

    Raises
    ------
    DemoError
        When the machine has too little text to build from.
    gem_assets.corpus.landing.LandingError
        When a snapshot of that name is already there.
    """
    progress = progress or _silent
    passages = collect_passages(SMALL_DOCUMENTS if small else DOCUMENTS, seed=seed, progress=progress)
    crawls = three_crawls(passages, seed)
    root.mkdir(parents=True, exist_ok=True)
    landed: list[DemoSnapshot] = []
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=root.parent) as staging:
        for number, (crawl, build) in enumerate(zip(crawls, (_warc, _parquet, _jsonl), strict=True)):
            progress("Writing snapshots", number, len(crawls))
            landed.append(build(crawl, Path(staging, crawl.snapshot), root))
        progress("Writing snapshots", len(crawls), len(crawls))
    return DemoSources(
        snapshots=tuple(landed),
        kinds=dict(Counter(passage.kind for passage in passages).most_common()),
        text_bytes=sum(len(page.passage.text.encode()) for crawl in crawls for page in crawl.pages),
    )


def collect_passages(documents: int, *, seed: int = 0, progress: Progress = _silent) -> list[Passage]:
    """Cut up to ``documents`` passages from the machine's text files, each kind up to its share.

    Raises DemoError when less than a tenth of them can be found.
    """
    progress("Looking for text on this machine", 0, 1)
    files = find_text_files()
    progress("Looking for text on this machine", 1, 1)
    passages: list[Passage] = []
    for kind in KINDS:
        before = len(passages)

        def note(found: int, before: int = before) -> None:
            progress("Cutting documents", min(before + found, documents - 1), documents)

        ours = [file for file in files if file.kind == kind.name]
        passages += _of_kind(ours, round(documents * kind.share), seed, note)
    progress("Cutting documents", documents, documents)
    if len(passages) < documents / 10:
        raise DemoError(
            f"Only {len(passages)} passages of text were found in this Python environment, of {documents} wanted. "
            "The demo needs the standard library's source files; install a Python that ships them."
        )
    return passages


def _of_kind(files: Sequence[TextFile], wanted: int, seed: int, note: Callable[[int], None]) -> list[Passage]:
    found: dict[str, Passage] = {}
    for number, file in enumerate(in_turns(files, seed)):
        if number % 20 == 0:
            note(min(len(found), wanted))
        for passage in cut(file, seed):
            found.setdefault(passage.url, passage)
        if len(found) >= wanted:
            break
    return list(found.values())[:wanted]


def _warc(crawl: Crawl, staging: Path, root: Path) -> DemoSnapshot:
    return _write_and_land(crawl, staging, root, "WARC", "crawl-{:05d}.warc.gz", formats.write_warc)


def _parquet(crawl: Crawl, staging: Path, root: Path) -> DemoSnapshot:
    return _write_and_land(crawl, staging, root, "parquet", "part-{:05d}.parquet", formats.write_parquet)


def _jsonl(crawl: Crawl, staging: Path, root: Path) -> DemoSnapshot:
    """Write the third snapshot: its new pages' tail goes into the files that then get damaged."""
    fragile = [page for page in crawl.pages if page.status == "new"][-120:]
    addresses = {page.passage.url for page in fragile}
    whole = Crawl(crawl.snapshot, tuple(page for page in crawl.pages if page.passage.url not in addresses), crawl.gone)
    parts = [fragile[number::4] for number in range(4)]
    damagers: tuple[Writer, ...] = (
        formats.write_truncated_gzip,
        formats.write_cut_line,
        formats.write_invalid_utf8,
        formats.write_broken_parquet,
    )
    staging.mkdir(parents=True)
    names = [name for name in DAMAGED_FILES if name != "zero-length.jsonl"]
    for name, part, write in zip(names, parts, damagers, strict=True):
        write(staging / name, part, crawl.snapshot)
    (staging / "zero-length.jsonl").touch()
    return _write_and_land(
        whole, staging, root, "JSONL", "part-{:05d}.jsonl.gz", formats.write_jsonl_gz, damaged=DAMAGED_FILES
    )


def _write_and_land(
    crawl: Crawl,
    staging: Path,
    root: Path,
    file_format: str,
    name: str,
    write: Writer,
    damaged: tuple[str, ...] = (),
) -> DemoSnapshot:
    staging.mkdir(parents=True, exist_ok=True)
    for number in range(FILES_PER_SNAPSHOT):
        write(staging / name.format(number), crawl.pages[number::FILES_PER_SNAPSHOT], crawl.snapshot)
    land([staging], root, crawl.snapshot, mode="copy")
    shutil.rmtree(staging)
    return DemoSnapshot(
        name=crawl.snapshot,
        path=root / crawl.snapshot,
        file_format=file_format,
        documents=len(crawl.pages),
        new=crawl.count("new"),
        recrawled=crawl.count("recrawled"),
        edited=crawl.count("edited"),
        gone=len(crawl.gone),
        damaged_files=damaged,
    )


__all__ = ["DAMAGED_FILES", "SNAPSHOTS", "DemoError", "DemoSnapshot", "DemoSources", "build_demo_landing"]
