"""Extract the main content of a page, and complete it with the parts that extraction drops.

Resiliparse tells main content from navigation by the names and places of elements, and drops what it does not know:
lists on flat pages, titles that are links, whole pages that are lists. So its result is laid beside all visible text.
A page without running text is a list, and is kept whole except for its menus. On other pages, lines that were dropped
between lines of main content come back, and so does running text from anywhere, but no menus. Where little would come
back the main content stays as it is.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

SHORT_PAGE: Final = 200
"""Characters of main content below which a page is taken whole if that is twice as much."""
RUNNING_TEXT: Final = 100
"""Characters from which a line that is not a link is taken for running text."""
LITTLE_TEXT: Final = 300
"""Characters of running text below which a page is a list."""
LIST_SHARE: Final = 0.2
GAIN: Final = 0.05
LINKED: Final = 0.7
MENU_LINES: Final = 3
MENU_LINE: Final = 30

# marks around the text of links, of a kind that cleaning takes out of any text
_OPEN, _CLOSE = "\ufff9", "\ufffb"
_MARKS: Final = re.compile(f"([{_OPEN}{_CLOSE}])")
_LINK_START: Final = re.compile(r"<a\s[^<>]*+>", re.I)
_LINK_END: Final = re.compile(r"</a\s*>", re.I)
_NO_WORD: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(r"[^\W_]")
_ITEM: Final = re.compile("\\s*(?:\N{BULLET}|[0-9]+[.]) |[^\t]*\\S\t+\\S")
_SEPARATORS: Final = "|\N{BULLET}\N{MIDDLE DOT}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"
_NOTICES: Final = ("cookie", "consent", "gdpr")
_MENUS: Final = [
    *(
        "nav",
        "footer",
        "[role=navigation]",
        "[role=contentinfo]",
        "[role=search]",
        "[role=dialog]",
        "[role=alertdialog]",
    ),
    *(f"{tag}[{name}*={word} i]" for tag in ("div", "section") for name in ("class", "id") for word in _NOTICES),
]


@dataclass(slots=True)
class _Line:
    text: str
    linked: float
    main: bool = False
    kept: bool = False

    @property
    def running(self) -> bool:
        return len(self.text) >= RUNNING_TEXT and self.linked < 0.5 and "\N{COPYRIGHT SIGN}" not in self.text

    @property
    def item(self) -> bool:
        return self.linked < LINKED and _ITEM.match(self.text) is not None

    @property
    def menu(self) -> bool:
        return self.linked >= LINKED and sum(map(self.text.count, _SEPARATORS)) >= MENU_LINES - 1


def main_text(html: str, tree: HTMLTree) -> str:
    """Return the main content of a page, completed; ``tree`` is the page parsed."""
    main = extract_plain_text(tree, main_content=True, alt_texts=False)
    full = extract_plain_text(tree, main_content=False, alt_texts=False, skip_elements=_MENUS)
    if len(full) < (1 + GAIN) * len(main):
        return main
    if len(main) < SHORT_PAGE:
        # a short page is short either way; main content is the better part of it
        return main if len(main) * 2 > len(full) else full
    lines = _all_lines(html, main)
    written = [line for line in lines if line.text]
    mine = sum(len(line.text) for line in written if line.main)
    whole = sum(len(line.text) for line in written)
    running = sum(len(line.text) for line in written if line.main and line.running)
    if running < LITTLE_TEXT and mine < LIST_SHARE * whole:
        return "\n".join(line.text for line in lines)
    _complete(written)
    lost = [line for line in written if not line.kept]
    if mine < LIST_SHARE * whole and sum(len(line.text) for line in lost) >= MENU_LINE * len(lost):
        # most of the page would be lost, and its lines are too long for a menu
        for line in lost:
            line.kept = not line.menu
    gained = sum(len(line.text) for line in written if line.kept and not line.main)
    if gained < max(GAIN * mine, RUNNING_TEXT):
        return main
    return "\n".join(line.text for line in lines if line.kept or not line.text)


def _all_lines(html: str, main: str) -> list[_Line]:
    """Return the lines of all visible text outside of menus, each with its share of link text."""
    marked = _LINK_END.sub(f"{_CLOSE}</a>", _LINK_START.sub(_mark, html))
    left = Counter(line.strip() for line in main.split("\n"))
    lines: list[_Line] = []
    inside = False
    for written in extract_plain_text(
        HTMLTree.parse(marked), main_content=False, alt_texts=False, skip_elements=_MENUS
    ).split("\n"):
        if _OPEN in written or _CLOSE in written:
            share, inside = _link_share(written, inside=inside)
            text = written.replace(f" {_OPEN} ", " ").replace(_OPEN, "").replace(_CLOSE, "").rstrip()
        else:
            share, text = float(inside and _WORD.search(written) is not None), written.rstrip()
        line = _Line(text, share)
        bare = text.strip()
        if bare and left[bare]:
            left[bare] -= 1
            line.main = True
        lines.append(line)
    return lines


def _link_share(written: str, *, inside: bool) -> tuple[float, bool]:
    """Return the share of link text among the letters of a line, and whether it ends inside a link."""
    linked = plain = 0
    for part in _MARKS.split(written):
        if part in (_OPEN, _CLOSE):
            inside = part == _OPEN
            continue
        count = len(_NO_WORD.sub("", part))
        plain += count
        linked += count * inside
    return linked / max(plain, 1), inside


def _mark(tag: re.Match[str]) -> str:
    return tag.group() + _OPEN if "href" in tag.group().lower() else tag.group()


def _complete(lines: list[_Line]) -> None:
    """Mark the lines to keep: main content, what lies between, and running text."""
    first = next((i for i, line in enumerate(lines) if line.main), 0)
    last = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].main), -1)
    while 0 < first <= last and lines[first - 1].item:
        first -= 1
    # a heading may stand between the text and its list
    while 0 <= last < len(lines) - 1 and (
        lines[last + 1].item or (last + 2 < len(lines) and _heads(lines[last + 1 : last + 3]))
    ):
        last += 1
    for i, line in enumerate(lines):
        line.kept = line.main or line.running or (first - 1 <= i <= last and not line.menu)
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and not lines[end].main and lines[end].linked >= LINKED:
            end += 1
        run = lines[start:end]
        if len(run) >= MENU_LINES and sum(len(line.text) for line in run) < MENU_LINE * len(run):
            for line in run:
                line.kept = False
        start = max(end, start + 1)


def _heads(lines: list[_Line]) -> bool:
    return lines[0].linked < LINKED and not lines[0].menu and lines[1].item
