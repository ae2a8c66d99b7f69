"""Turn the source of a manual page (roff with the ``man`` macros) into plain text.

Only what carries text is kept: headings, paragraphs, tagged lists, font changes dropped. Pages written with the BSD
``mdoc`` macros and pages that only point to another page give no text. It reads; it does not typeset.
"""

import re
import shlex
import unicodedata

_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", ":": "\u0308", ",": "\u0327", "v": "\u030c"}


def _accented(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", match["letter"] + _ACCENTS[match["accent"]])


_ESCAPES = (
    (re.compile(r"\\(?:\(|\[)(?P<accent>['`^~:,v])(?P<letter>[A-Za-z])\]?"), _accented),
    (re.compile(r"\\\(ss|\\\[ss\]"), "ß"),
    (re.compile(r"\\f(\[[^\]]*\]|\(..|.)"), ""),
    (re.compile(r"\\s[-+]?\d+|\\s\[[^\]]*\]"), ""),
    (re.compile(r"\\[&|^/,:%]|\\\)|\\c$"), ""),
    (re.compile(r"\\\[u([0-9A-F]{4,6})\]"), lambda m: chr(int(m[1], 16))),
    (re.compile(r"\\\(aq|\\\[aq\]"), "'"),
    (re.compile(r"\\\((?:em|en)|\\\[(?:em|en)\]"), "–"),
    (re.compile(r"\\\(bu|\\\[bu\]"), "•"),
    (re.compile(r"\\\(co|\\\[co\]"), "©"),
    (re.compile(r"\\\((?:lq|dq)|\\\*\(lq|\\\*\[lq\]"), '"'),
    (re.compile(r"\\\((?:rq)|\\\*\(rq|\\\*\[rq\]"), '"'),
    (re.compile(r"\\\*(\[[^\]]*\]|\(..|.)"), ""),
    (re.compile(r"\\[-]"), "-"),
    (re.compile(r"\\[ ~0]"), " "),
    (re.compile(r"\\e|\\\(rs"), "\\\\"),
    (re.compile(r"\\[\"#].*$"), ""),
    (re.compile(r"\\'"), "'"),
    (re.compile(r"\\`"), "`"),
    (re.compile(r"\\(?:\(..|\[[^\]]*\]|[hvwlLDXZ]'[^']*')"), ""),
)
_FONTS = frozenset({"B", "I", "R", "SM", "SB"})
_ALTERNATING = frozenset({"BR", "RB", "BI", "IB", "IR", "RI"})
_PARAGRAPH = frozenset({"P", "PP", "LP", "sp", "HP", "RS", "RE", "br"})


def manual_text(source: str) -> str:
    """Return the readable text of a manual page, or an empty string where there is none."""
    lines = source.splitlines()
    if any(line.startswith((".Dd", ".Sh")) for line in lines):
        return ""
    out: list[str] = []
    definition = False
    for line in lines:
        if definition:
            definition = not line.startswith("..")
            continue
        if line.startswith((".de", ".ig")):
            definition = True
            continue
        if line[:1] in {".", "'"}:
            _macro(line, out)
        else:
            out.append(_plain(line))
    text = "\n".join(out)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _macro(line: str, out: list[str]) -> None:
    name, _, rest = line[1:].strip().partition(" ")
    arguments = _arguments(rest)
    if name in {"SH", "SS"}:
        out.extend(["", " ".join(arguments)])
    elif name in _PARAGRAPH or name == "TP":
        out.append("")
    elif name == "IP":
        out.extend(["", *arguments[:1]])
    elif name in _FONTS:
        out.append(" ".join(arguments))
    elif name in _ALTERNATING:
        out.append("".join(arguments))


def _arguments(rest: str) -> list[str]:
    """Split a macro's arguments; double quotes group words."""
    rest = _plain(rest)
    splitter = shlex.shlex(rest, posix=True, punctuation_chars=False)
    splitter.whitespace_split, splitter.quotes, splitter.escape, splitter.commenters = True, '"', "", ""
    try:
        return list(splitter)
    except ValueError:  # an odd number of quotes
        return rest.replace('"', "").split()


def _plain(text: str) -> str:
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return text
