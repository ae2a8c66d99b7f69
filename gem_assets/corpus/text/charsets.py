"""Decode the bytes of a page: evidence in the bytes outweighs what is declared.

In this order: a byte order mark; UTF-16 and UTF-32 by their zero bytes, and ISO-2022, HZ and UTF-7 by their escapes,
none of which is text in any other encoding; UTF-8 that is not ASCII (bytes that pass are UTF-8 in practice, whatever a
header says); then what is declared, the HTTP header before the page's ``meta`` or XML declaration, as in the WHATWG
standard, and detection. Of these the first counts whose text is plausible: servers declare their default for pages of
any encoding.
"""

import codecs
import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from gem_assets.corpus.text.seven_bit import WIDE_ESCAPE, decode_hz, decode_iso2022, decode_utf7, hz_pairs

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# what browsers decode under a name is more than Python's codec of that name knows
_WIDER: Final = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
    "iso8859-9": "cp1254",
    "uhc": "cp949",
}
# names that the WHATWG standard lacks, or does not decode
_MORE_LABELS: Final = {
    "hz": "hz",
    "hz-gb-2312": "hz",
    "iso-2022-kr": "iso-2022-kr",
    "iso-2022-cn": "iso-2022-cn",
    "iso-2022-cn-ext": "iso-2022-cn",
    "x-mac-cyrillic": "mac-cyrillic",
    "iso-8859-8-i": "iso8859-8",
    "viscii": "",
}
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}
)
_WINDOWS: Final = re.compile(r"(?:win|windows|cp|x-cp|x-windows)[-_ ]*(\d{3,4})")
_LAST: Final = (
    *("windows-1252", "windows-1251", "koi8-u", "windows-1256", "windows-1253", "windows-1255"),
    *("shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "windows-874"),
)
_PAIRS: Final = frozenset({"gb18030", "big5hkscs", "cp932", "euc_jp", "cp949"})
_SCANNED: Final = 4096
_SAMPLE: Final = 1 << 16
_GLANCE: Final = 256
_CONTROLS: Final = bytes(range(0x20))
_COMMENT: Final = re.compile(rb"<!--.*?(?:-->|\Z)", re.S)
_META: Final = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.I)
_XML: Final = re.compile(rb"\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']+)", re.I)
_TAGS: Final = re.compile(rb"<[a-zA-Z/!][^<>]*+>")

_C1: Final = "gem-c1"

_MOST_BAD: Final = 0.02
_IMPLAUSIBLE: Final = 0.25
_FEW: Final = 8
_LATIN_SIGNS: Final = re.compile("[\u00a1-\u024f]")
_LATIN_RUNS: Final = re.compile("[\u00a1-\u024f]{2,}")
_BOX_INSIDE: Final = re.compile("[^\\W\\d_][\u2500-\u259f]")
_SIGN_INSIDE: Final = re.compile("[a-z][\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7][a-z]")
_HALF_KANA: Final = re.compile("[\uff61-\uff9f]")
_KANA: Final = re.compile("[\u3041-\u30ff]")
_TWO_SCRIPTS: Final = re.compile("[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]")
_USUAL_HAN: Final = re.compile(
    "[的一是不了在人有我他这個个們们中來来上大為为和國国地到以說说時时要就出會会可也你對对生能這过子得]"
)
# a script, letters that every long text in it is full of, and their least share
_USUAL: Final = (
    (re.compile("[\u0400-\u04ff]"), re.compile("[оеаинтсрОЕАИНТСР]"), 0.35),
    (re.compile("[\u0621-\u064a]"), re.compile("[اليمنو]"), 0.35),
    (re.compile("[\u0621-\u064a]"), re.compile("ا"), 0.06),
    (re.compile("[\uac00-\ud7a3]"), re.compile("[이다는의에하고을를가지기사도로한인어서]"), 0.12),
    (re.compile("[\u0391-\u03ce]"), re.compile("[αοιετσνΑΟΙΕΤΣΝ]"), 0.35),
)
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_COMMON_WIDE: Final = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff00-\uff5e]")
_CAPITAL_INSIDE: Final = re.compile("[\u03ac-\u03ce\u0430-\u044f][\u0386-\u03ab\u0410-\u042f]")
_TWICE: Final = re.compile("[\u00c2-\u00f4\u0412-\u0413\u0420-\u0421]")


def decode_bytes(data: bytes, charset: str | None, *, is_html: bool) -> str:
    """Return the bytes as text; what no encoding explains becomes U+FFFD.

    ``charset`` is the label of the HTTP header, if there is one.
    """
    if data.isascii() and (b"~{" in data or b"+" in data):
        declared = next(_codecs(_labels(data, charset, is_html=is_html)), "ascii")
        if declared in ("hz", "utf-7"):
            return _decode(data, declared)
    text = decode_unmistakable(data)
    return text if text is not None else _decode_declared(data, charset, is_html=is_html)


def decode_unmistakable(data: bytes) -> str | None:
    """Return the text of bytes that say themselves what they are, or None.

    They start with a byte order mark, are UTF-16, UTF-32, ISO-2022 or HZ, or UTF-8 with at most a few bad bytes.
    """
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, "replace")
    if (b"\0" in data or len(data[:_GLANCE].translate(None, _CONTROLS)) < 0.8 * len(data[:_GLANCE])) and (
        codec := _wide_codec(data)
    ):
        return data.decode(codec, "replace")
    if b"\x1b$" in data and WIDE_ESCAPE.search(data) and _nearly_ascii(data):
        return decode_iso2022(data)
    if data.isascii():
        pairs = hz_pairs(data)
        sure = len(pairs) >= _FEW and "\ufffd" not in pairs and _common_han("".join(_HAN.findall(pairs)), usual=True)
        return decode_hz(data) if sure else data.decode("ascii")
    try:
        return _once(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        # a page cut in the middle of a character is still UTF-8
        if error.start >= len(data) - 3 and not data[: error.start].isascii():
            return data.decode("utf-8", "replace")
    for codec in ("utf-16-le", "utf-16-be"):
        if _is_common_wide(data, codec):
            return data.decode(codec, "replace")
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    # other encodings give sequences that UTF-8 allows by chance, one here and there
    return text if len(text) - len(text.encode("ascii", "ignore")) >= 2 * bad + _FEW else None


def wide_codec(data: bytes) -> str | None:
    """Return UTF-16 or UTF-32 where a byte order mark or the places of the zero bytes say so."""
    marked = next((codec for mark, codec in _BOMS if data.startswith(mark)), None)
    if marked is not None:
        return None if marked == "utf-8-sig" else marked
    return _wide_codec(data) if b"\0" in data[:_GLANCE] else None


def _decode_declared(data: bytes, charset: str | None, *, is_html: bool) -> str:
    best, fewest = None, 1.0
    for labels in (_labels(data, charset, is_html=is_html), _LAST):
        for codec in _codecs(labels):
            text = _decode(data, codec)
            bad = _badness(text)
            # valid sequences of UTF-8 are not chance, so a page that says so may hold as many bad bytes
            if bad <= (0.7 if codec == "utf-8" else _MOST_BAD):
                return text
            # nor are bytes that are pairs throughout, however strange the words of a table or a list
            if codec in _PAIRS and "\ufffd" not in text:
                bad = _MOST_BAD
            if bad < fewest:
                best, fewest = text, bad
        if best is not None and fewest <= _MOST_BAD:
            return best
    return best if best is not None else data.decode("cp1252", "replace")


def _codecs(labels: Iterable[str]) -> Iterator[str]:
    """Yield the codecs of the labels, once each."""
    seen: set[str] = set()
    for label in labels:
        codec = _codec(label)
        if codec is not None and codec.startswith(("utf-16", "utf-32")):
            # the bytes would have shown it
            codec = "utf-8"
        if codec is not None and codec not in seen:
            seen.add(codec)
            yield codec


def _labels(data: bytes, charset: str | None, *, is_html: bool) -> Iterator[str]:
    if charset:
        yield charset
    if is_html:
        head = _COMMENT.sub(b"", data[:_SCANNED])
        for pattern in (_META, _XML):
            if match := pattern.search(head):
                yield match.group(1).decode("latin-1")
    if data.isascii():
        yield "ascii"
        return
    bare = _TAGS.sub(b" ", data[: 4 * _SAMPLE]) if is_html else data
    yield detect_encoding(bare, html5_compatible=False) or "windows-1252"


def _codec(label: str) -> str | None:
    """Return the name of the codec for a label as servers and pages write it, or None."""
    label = label.strip(" \t\r\n\f\"';,").lower().replace("_", "-")
    for spelling in (label, label.replace("-", "_"), _WINDOWS.sub(r"windows-\1", label)):
        if codec := map_encoding_to_html5(spelling, fallback_utf8=False):
            return _WIDER.get(codec.lower(), codec)
    if label in _MORE_LABELS:
        return _MORE_LABELS[label] or None
    try:
        info = codecs.lookup(label)
    except (LookupError, ValueError):
        return None
    sound = getattr(info, "_is_text_encoding", False) and info.name.replace("_", "-") not in _NO_CHARSETS
    return _WIDER.get(info.name, info.name) if sound else None


def _decode(data: bytes, codec: str) -> str:
    if codec.startswith(("iso-2022", "iso2022")):
        return decode_iso2022(data)
    if codec == "hz":
        return decode_hz(data)
    if codec == "utf-7":
        return decode_utf7(data)
    if codec == "euc_jp":
        # the extensions of NEC, which pages use and the plain codec lacks
        narrow = data.decode(codec, "replace")
        return narrow if "\ufffd" not in narrow else data.decode("euc_jis_2004", "replace")
    if codec == "koi8-r" and _BOX_INSIDE.search(text := data.decode(codec)):
        # Ukrainian letters stand where the Russian set has lines of boxes
        return data.decode("koi8-u") if len(_BOX_INSIDE.findall(text)) >= _FEW // 2 else text
    return data.decode(codec, "replace")


def _badness(text: str) -> float:
    """Return which share of the characters beyond ASCII speaks against an encoding; 0 where little is to be judged."""
    text = text[: 4 * _SAMPLE]
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    if beyond == 0:
        return 0.0
    bad = text.count("\ufffd") / beyond
    return max(bad, _IMPLAUSIBLE) if beyond >= _FEW and not _plausible(text, beyond) else bad


def _plausible(text: str, beyond: int) -> bool:
    """Return whether a text looks like a language, by what its letters are and stand beside."""

    def found(pattern: re.Pattern[str]) -> int:
        return sum(map(len, pattern.findall(text)))

    runs = _LATIN_RUNS.findall(text)
    # letters with accents stand between letters without
    if (
        len(set("".join(runs))) >= _FEW
        and beyond >= 3 * _FEW
        and sum(map(len, runs)) > 0.6 * max(found(_LATIN_SIGNS), 0.5 * beyond)
    ):
        return False
    # another alphabet was read as Greek or Cyrillic: capitals inside words, letters of two scripts in one word
    if len(_CAPITAL_INSIDE.findall(text)) > 0.1 * beyond or len(_TWO_SCRIPTS.findall(text)) > 0.4 * beyond:
        return False
    # Central European text was read as Western: signs inside words
    if len(_SIGN_INSIDE.findall(text)) > 0.1 * beyond:
        return False
    if found(_HALF_KANA) > 0.5 * beyond or len(_BOX_INSIDE.findall(text)) > 0.1 * beyond:
        return False
    if any(
        (letters := found(script)) > 0.5 * beyond and found(usual) < least * letters for script, usual, least in _USUAL
    ):
        return False
    han = "".join(_HAN.findall(text))
    return len(han) < max(0.2 * beyond, _FEW) or _common_han(han, usual=not found(_KANA))


def _common_han(han: str, *, usual: bool) -> bool:
    """Return whether the characters are among the common ones of a national set, and the most ``usual`` with them."""
    levels = ((codec, last) for codec, last in (("gb2312", 0xD7), ("big5", 0xC6), ("euc_jp", 0xCF)))
    if max(sum(byte <= last for byte in han.encode(codec, "ignore")[::2]) for codec, last in levels) < 0.8 * len(han):
        return False
    return not usual or len(han) < 4 * _FEW or len(_USUAL_HAN.findall(han)) >= 0.03 * len(han)


def _nearly_ascii(data: bytes) -> bool:
    return data.isascii() or len(data.decode("ascii", "ignore")) >= 0.98 * len(data)


def _wide_codec(data: bytes) -> str | None:
    """Return UTF-16 or UTF-32 with its byte order where the places of the zero bytes say so."""
    sample = data[: min(_SAMPLE, len(data) // 4 * 4)]
    units = len(sample) // 4
    if units and not any(sample[3::4]) and sample[2::4].count(0) >= 0.5 * units:
        return "utf-32-le"
    if units and not any(sample[0::4]) and sample[1::4].count(0) >= 0.5 * units:
        return "utf-32-be"
    sample = data[: min(_SAMPLE, len(data) // 2 * 2)]
    units = len(sample) // 2
    for codec, high, low in (("utf-16-le", sample[1::2], sample[0::2]), ("utf-16-be", sample[0::2], sample[1::2])):
        zeros = high.count(0)
        if low.count(0) * 20 > zeros:
            continue
        if units and zeros >= 0.5 * units:
            return codec
        # an alphabet and blanks: nearly all high bytes are two values, and neither is a letter of ASCII
        for value, most in Counter(high.replace(b"\0", b"")).most_common(1):
            if value < 0x20 and units >= _FEW and most + zeros >= 0.8 * units:
                return codec
        if zeros and _is_common_wide(data, codec):
            return codec
    return None


def _is_common_wide(data: bytes, codec: str) -> bool:
    sample = data[:_SAMPLE]
    if len(sample.decode("ascii", "ignore")) > 0.95 * len(sample):
        return False
    text = sample.decode(codec, "replace")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return len(_COMMON_WIDE.findall(text)) >= 0.9 * beyond and beyond >= _FEW and _plausible(text, beyond)


def _once(text: str) -> str:
    """Return the text of UTF-8 that was read as Windows-1252 or -1251 and written as UTF-8 again."""
    if not _TWICE.search(text):
        return text
    for codec in ("cp1252", "cp1251"):
        with contextlib.suppress(UnicodeError):
            return text.encode(codec, _C1).decode("utf-8")
    return text


def _keep_c1(error: UnicodeError) -> tuple[bytes, int]:
    # bytes that the code page leaves open were read as controls
    if isinstance(error, UnicodeEncodeError) and "\x80" <= error.object[error.start] <= "\x9f":
        return error.object[error.start].encode("latin-1"), error.start + 1
    raise error


codecs.register_error(_C1, _keep_c1)
