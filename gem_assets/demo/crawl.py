"""Decide what each of the three demo crawls saw, so that they overlap the way real crawls do.

``2026-01`` sees about half of all pages. ``2026-02`` visits those again: most are unchanged, some were edited, some are
gone; it also finds new pages. ``2026-03`` does the same, and parts of it arrive damaged. Kinds of text do not keep
their share from crawl to crawl, as on the web. Every choice is a hash of the page's address and the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gem_assets.demo.finding import fraction
from gem_assets.demo.passages import Passage

SNAPSHOTS = ("2026-01", "2026-02", "2026-03")

Status = Literal["new", "recrawled", "edited"]

_FIRST_SEEN = (0.55, 0.24, 0.21)
_FIRST_SEEN_BY_KIND = {
    "c-headers": (0.40, 0.20, 0.40),
    "manual-pages-translated": (0.40, 0.30, 0.30),
    "guides": (0.45, 0.35, 0.20),
    "licences": (0.65, 0.25, 0.10),
}
_EDITED, _GONE = 0.12, 0.18
"""Shares of the pages of one crawl that the next finds edited, and does not find any more."""
_REVISITED_LAST = 0.30
"""Share of the known pages that the third, smaller crawl visits."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as one crawl saw it."""

    passage: Passage
    status: Status


@dataclass(frozen=True, slots=True)
class Crawl:
    """What one crawl brought home.

    ``gone`` are addresses that the crawl before had and this one did not find.
    """

    snapshot: str
    pages: tuple[Page, ...]
    gone: tuple[str, ...]

    def count(self, status: Status) -> int:
        """Count the pages with that status."""
        return sum(page.status == status for page in self.pages)


def three_crawls(passages: Sequence[Passage], seed: int) -> tuple[Crawl, Crawl, Crawl]:
    """Deal the passages to three crawls."""
    first: list[list[Passage]] = [[], [], []]
    for passage in passages:
        one, two, _ = _FIRST_SEEN_BY_KIND.get(passage.kind, _FIRST_SEEN)
        place = fraction(seed, "first seen", passage.url)
        first[0 if place < one else 1 if place < one + two else 2].append(passage)

    known = [Page(passage, "new") for passage in first[0]]
    crawls = [_crawl(SNAPSHOTS[0], known, (), seed)]
    for index in (1, 2):
        seen: list[Page] = []
        gone: list[str] = []
        for number, page in enumerate(known):
            url = page.passage.url
            if index == 2 and fraction(seed, "visited", url) >= _REVISITED_LAST:
                gone.append(url)
                continue
            place = fraction(seed, "fate", index, url)
            if place < _GONE:
                gone.append(url)
            elif place < _GONE + _EDITED:
                neighbour = known[(number + 1) % len(known)].passage
                seen.append(Page(edited(page.passage, neighbour), "edited"))
            else:
                seen.append(Page(page.passage, "recrawled"))
        known = [*seen, *(Page(passage, "new") for passage in first[index])]
        crawls.append(_crawl(SNAPSHOTS[index], known, tuple(sorted(gone)), seed))
    return crawls[0], crawls[1], crawls[2]


def edited(passage: Passage, neighbour: Passage) -> Passage:
    """Return the page after an edit: some lines struck from its middle, some of its neighbour's added at the end."""
    lines = passage.text.splitlines()
    start = len(lines) // 2
    struck = max(1, len(lines) // 6)
    added = neighbour.text.splitlines()[: max(2, len(lines) // 6)]
    return replace(passage, text="\n".join([*lines[:start], *lines[start + struck :], *added]))


def _crawl(snapshot: str, pages: Sequence[Page], gone: tuple[str, ...], seed: int) -> Crawl:
    order = sorted(pages, key=lambda page: fraction(seed, "order", snapshot, page.passage.url))
    return Crawl(snapshot, tuple(order), gone)
