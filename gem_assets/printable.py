"""Make untrusted text safe to show: nothing in it moves a cursor, colours a terminal or reverses a line.

URLs, file names, licences and cluster names come from crawled pages and other people's tables. Whatever could act on a
terminal or mislead a reader (control characters, ESC, direction overrides, invisible characters) is shown as an escape
instead. Letters of every script stay as they are, and so do the joiners that some scripts need.
"""

import codecs
import re
from typing import Final

#: Controls but tab and line feed, soft hyphen, direction marks and overrides, invisible separators, lone surrogates,
#: interlinear marks and the tag characters that hide text in text.
_ACTING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_BREAKS: Final = re.compile("[\t\n]")
_SHORT: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\x1b": "\\x1b"}

#: What messages of this project use beyond ASCII, as an ASCII terminal can show it.
_PLAIN: Final = {
    "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "·": "-", "→": "->", "←": "<-", "↔": "<->", "±": "+/-",
    "≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "ρ": "rho", "κ": "kappa", "λ": "lambda", "τ": "tau", "Δ": "delta",
    "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "√": "sqrt", "∥": "||", "‖": "||", "\xa0": " ", "\u202f": " ",
    "│": "|", "─": "-", "├": "|", "└": "`", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip

#: Name of the error handler that :func:`writable_streams` gives to the standard streams.
READABLE: Final = "gem-readable"


def printable(text: object, *, lines: bool = False) -> str:
    """Return text in which everything that acts on a terminal or a reader stands as an escape.

    ``lines`` keeps tabs and line feeds; by default the result is one line.
    """
    shown = _ACTING.sub(_escape, str(text))
    return shown if lines else _BREAKS.sub(_escape, shown)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in bad), error.end


codecs.register_error(READABLE, _readable)
