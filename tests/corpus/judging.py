"""Sixty pages of the shared crawl files, with the lines that a person would copy.

Each page was read once, by eye, as the list of its visible lines that :func:`visible_lines` makes, and the ranges of
lines that belong to it were written down: headings, texts, lists and tables that the page is about; not menus, search
fields, lists of links to other places of the site, imprints and notices. No text of a page is stored here.
"""

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from fastwarc.warc import ArchiveIterator

from gem_assets.corpus.readers.http import parse_response
from gem_assets.corpus.text.charsets import decode_bytes
from tests.corpus.text.oracle import find_words

_BLOCKS = frozenset(
    [
        *(
            "p",
            "div",
            "ul",
            "ol",
            "li",
            "dl",
            "dt",
            "dd",
            "table",
            "tr",
            "td",
            "th",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
        ),
        *("br", "hr", "pre", "blockquote", "form", "section", "article", "header", "footer", "nav", "aside", "main"),
        *("figure", "figcaption", "address", "center", "body", "html", "title", "option", "select", "details"),
        *("summary", "fieldset", "legend", "tbody", "thead", "tfoot", "caption", "menu", "dir"),
    ]
)
_HIDDEN = frozenset({"script", "style", "template", "title", "noscript", "textarea", "option"})

# file: offset of the record: first and last line of each range, from 0
JUDGED: dict[str, dict[int, str]] = {
    "aut-IAH-blackbook.warc.gz": {
        3380: "5-9 11-122",
        26164: "8-8 15-15 17-18 20-27",
        43002: "17-30",
        152400: "18-25 27-68",
        166054: "8-16 19-28",
        350525: "6-12",
        423620: "16-16 18-110 112-122",
        729929: "6-139",
        800416: "0-7",
        803024: "0-4",
        805360: "0-6",
        917953: "2-29",
        973834: "19-19 21-274",
        1047102: "0-23",
        1063941: "6-3862",
        1160477: "19-19 21-31 33-36",
        1255771: "6-85",
        1263694: "7-16",
        1275261: "8-24",
        1293011: "8-19",
        1373428: "6-113",
        1401330: "6-96",
        1406395: "6-326",
        1499608: "6-57",
        1549915: "17-27",
        1593381: "17-27",
        1742047: "6-2951",
        1884966: "6-312",
        1891371: "29-207",
        1976999: "6-9",
        2051257: "0-1",
    },
    "dolma-sample-0000.warc.gz": {
        865: "14-178",
        15904: "30-37 44-46",
        24881: "0-0 2-26",
        30509: "0-0 2-12",
        34307: "2-90",
        39047: "5-22",
        44678: "5-36",
        50525: "0-178",
        63800: "7-73",
        72194: "7-92",
        82240: "7-18",
        86237: "7-85",
        96317: "7-35",
        100317: "7-97",
        107996: "4-35",
        117477: "0-203",
        128109: "5-6 12-14",
        132475: "12-21",
        137111: "5-76",
        143550: "5-73",
        148743: "0-0 2-19 22-33",
        153760: "2-302",
    },
    "fastwarc-warcfile.warc.gz": {
        12685: "261-261 268-276",
        38503: "5-5 12-21",
        87298: "28-46",
        125552: "11-23",
    },
    "cc-text-extraction-test.warc": {258: "1-24"},
    "iipc-IAH-urls-wget.warc.gz": {5046: "15-129"},
    "nodewarc-parseMe.warc.gz": {1956: "0-0 85-432"},
    "warcio-example.warc.gz": {784: "0-2"},
    "whirlwind.warc.gz": {1023: "102-167"},
}


class _Lines(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]
        self._hidden: str | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if self._hidden is None and tag in _HIDDEN:
            self._hidden = tag
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = None
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden is None:
            self.lines[-1] += data

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS and self.lines[-1].strip():
            self.lines.append("")


def visible_lines(html: str) -> list[str]:
    """Return the text between block elements, blanks collapsed, by nothing but the standard library."""
    parser = _Lines()
    parser.feed(html)
    parser.close()
    return [" ".join(line.split()) for line in parser.lines if line.strip()]


class JudgedPage(NamedTuple):
    """A page and the text that a person would copy from it."""

    name: str
    html: str
    text: str


def judged_pages(crawl: Path) -> Iterator[JudgedPage]:
    """Yield the sixty pages; ``crawl`` is the folder of the shared crawl files."""
    for file, pages in JUDGED.items():
        with (crawl / file).open("rb") as source:
            for record in ArchiveIterator(source, parse_http=False):
                if record.stream_pos in pages:
                    response = parse_response(record.reader.read(), 1 << 25)
                    html = decode_bytes(response.body, response.charset, is_html=True)
                    lines = visible_lines(html)
                    ranges = [tuple(map(int, part.split("-"))) for part in pages[record.stream_pos].split()]
                    judged = [line for first, last in ranges for line in lines[first : last + 1]]
                    yield JudgedPage(f"{file}#{record.stream_pos}", html, "\n".join(judged))


def precision_recall(found: str, judged: str) -> tuple[float, float]:
    """Return which share of the words found is right, and which share of the right words is found."""
    ours, theirs = Counter(find_words(found)), Counter(find_words(judged))
    common = (ours & theirs).total()
    return common / max(ours.total(), 1), common / max(theirs.total(), 1)
