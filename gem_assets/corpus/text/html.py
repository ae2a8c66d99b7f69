"""Turn a web page into text.

Formulas and ruby become plain text (:mod:`gem_assets.corpus.text.formulas`), then the main content is taken
(:mod:`gem_assets.corpus.text.main_content`).

A page of a few kilobytes can be made to take hours or gigabytes: parsing is quadratic in the attributes of a tag,
main-content extraction in nesting depth, and list items are indented by theirs. So absurd tags lose their attributes,
and pages nested beyond ``DEEP`` or ``DEEP_LISTS`` get their text without layout. What costs too much even so is
stopped by :mod:`gem_assets.corpus.text.contained`.
"""

import re
from collections import Counter
from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from gem_assets.corpus.text.formulas import numbered, plain_formulas
from gem_assets.corpus.text.main_content import main_text

DEEP: Final = 500
DEEP_LISTS: Final = 32
LONG_TAG: Final = 4096
MOST_ATTRIBUTES: Final = 500

_LISTS: Final = frozenset({"ul", "ol", "menu", "dir"})
_FORMATTING: Final = frozenset(
    {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
)
_CLOSE_BY: Final = 16
_QUOTED = re.compile("\"[^\"]*\"|'[^']*'")
_START_TAG = re.compile(
    r"""([a-zA-Z][^\s/>]*+)(?:[\s/]++|=|[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+)*+"""
)
_FIGURE = re.compile(r"<(/?)fig(?:ure|caption)\b", re.I)
_FLAT: Final = frozenset(
    {
        *(
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "param",
            "source",
            "track",
            "wbr",
        ),
        *("p", "li", "dt", "dd", "option", "tr", "td", "th", "thead", "tbody", "tfoot", "html", "head", "body"),
    }
)
"""Elements that need no closing tag, so that open ones say nothing about depth."""
# the tags of other elements; the last group tells that the next tag of any kind closes this one
_TAG: Final = re.compile(
    rf"<(/)?(?!(?:{'|'.join(sorted(_FLAT))})(?![a-z0-9]))([a-z][a-z0-9]*)(?(1)|(?:[^<]*<(/)\2(?![a-z0-9]))?)"
)


def _without_absurd_tags(html: str) -> str:
    parts = html.split("<")
    if max(map(len, parts)) <= LONG_TAG:
        return html
    for index, part in enumerate(parts):
        if len(part) <= LONG_TAG or not (match := _START_TAG.match(part)):
            continue
        # quoted values may be long; it is the number of attributes that costs
        if len(_QUOTED.sub(" ", match.group()).replace("/", " ").split()) > MOST_ATTRIBUTES:
            parts[index] = match.group(1)[:32] + part[match.end() :]
    return "<".join(parts)


def nesting_depth(html: str) -> tuple[int, int]:
    """Return how deep elements nest at most, and how deep lists do, by the tags alone.

    As in a browser, an end tag closes what is open inside its element, does nothing where no such element is open, and
    one of ``b``, ``font`` and their like closes no block.
    """
    stack: list[str] = []
    opened: Counter[str] = Counter()
    deepest = lists = most_lists = 0
    for closing, name, closed in _TAG.findall(html.lower()):
        if closed:
            deepest = max(deepest, len(stack) + 1)
            most_lists = max(most_lists, lists + (name in _LISTS))
        elif not closing:
            stack.append(name)
            opened[name] += 1
            if len(stack) > deepest:
                deepest = len(stack)
            if name in _LISTS:
                lists += 1
                most_lists = max(most_lists, lists)
        elif opened[name] and (name not in _FORMATTING or name in stack[-_CLOSE_BY:]):
            keep: list[str] = []
            while (last := stack.pop()) != name:
                if name in _FORMATTING and last not in _FORMATTING:
                    keep.append(last)
                else:
                    opened[last] -= 1
                    lists -= last in _LISTS
            opened[name] -= 1
            lists -= name in _LISTS
            stack.extend(reversed(keep))
    return deepest, most_lists


def html_to_text(html: str) -> str:
    """Return the readable text of a page."""
    html = _without_absurd_tags(html)
    if html.count("<") > DEEP_LISTS:
        depth, lists = nesting_depth(html)
        if depth > DEEP or lists > DEEP_LISTS:
            tree = HTMLTree.parse(html)
            return extract_plain_text(tree, preserve_formatting=False, main_content=False, alt_texts=False)
    # the extractor drops figures whole, with their captions, code and tables
    html = plain_formulas(_FIGURE.sub(r"<\1div", html))
    return numbered(main_text(html, HTMLTree.parse(html)))
