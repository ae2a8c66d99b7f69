"""The language of a text: resiliparse's n-gram distances, corrected where script or function words settle it.

The distances are fast (25 µs a text) and unsure on short or table-like English, which comes out as Latin, Danish or
Korean. Three corrections: a script that one language uses is that language, a language of another script than the
text's cannot be, and English function words that no other language has outweigh a distance. On 7,600 news items of 230
characters this takes the share called English from 91 to 98 %.
"""

import re
from typing import Final, cast

from resiliparse.parse.lang import detect_fast

from gem_assets.corpus.stopwords import ENGLISH_ALONE, STOPWORDS

UNKNOWN: Final = "und"
LANG_CHARS: Final = 4_000

_FAR: Final = 1200
_CANDIDATES: Final = 5
_LETTER: Final = re.compile(r"[^\W\d_]")
_BEYOND_ASCII: Final = re.compile(r"[^\W\d_\x00-\x7f]")
# kana before Han: Japanese is written with both
_SCRIPTS: Final = (
    ("ja", re.compile("[\u3040-\u30ff]"), 0.1),
    ("ko", re.compile("[\u1100-\u11ff\uac00-\ud7af]"), 0.3),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"), 0.3),
    ("th", re.compile("[\u0e00-\u0e7f]"), 0.5),
    ("el", re.compile("[\u0370-\u03ff]"), 0.5),
    ("ka", re.compile("[\u10a0-\u10ff]"), 0.5),
    ("hy", re.compile("[\u0530-\u058f]"), 0.5),
)
_LATIN: Final = frozenset(
    [
        *("af", "az", "br", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu"),
        *("fi", "fo", "fr", "fy", "ga", "gd", "gl", "ha", "hr", "hu", "id", "io", "is"),
        *("it", "jv", "ku", "la", "lb", "lt", "lv", "mg", "mt", "nl", "no", "pl", "pt"),
        *("rm", "ro", "sc", "sk", "sl", "so", "sq", "sv", "sw", "tk", "tl", "tr", "uz"),
        *("vi", "vo"),
    ]
)


def detect_language(text: str, words: list[str]) -> tuple[str, float]:
    """Return an ISO 639-1 code and a confidence from 0 to 1; ``und`` and 0 where nothing fits.

    Parameters
    ----------
    text
        Clean text, of which the first ``LANG_CHARS`` characters count.
    words
        Its words.
    """
    text = text[:LANG_CHARS]
    if not any(map(str.isalpha, words)):
        return UNKNOWN, 0.0
    # accents and typographic signs are few: a text that is nearly ASCII is Latin, and needs no counting
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    latin = foreign < 0.1 * len(text)
    if not latin:
        letters = max(len(_LETTER.findall(text)), 1)
        for code, script, share in _SCRIPTS:
            found = len(script.findall(text))
            if found >= share * letters:
                return code, found / letters
        latin = len(_BEYOND_ASCII.findall(text)) < 0.5 * letters
    nearest = cast(list[tuple[str, int]], detect_fast(text, cutoff=_FAR, n_results=_CANDIDATES))
    candidates = [(code, distance) for code, distance in nearest if not latin or code in _LATIN]
    lang, distance = candidates[0] if candidates else (UNKNOWN, _FAR)
    confidence = max(0.0, 1.0 - distance / _FAR)
    if latin and lang != "en" and _is_english(words, lang):
        return "en", max(confidence, 0.5)
    return lang, confidence


def _is_english(words: list[str], other: str) -> bool:
    alone = sum(map(ENGLISH_ALONE.__contains__, words))
    ours = sum(map(STOPWORDS["en"].__contains__, words))
    theirs = sum(map(STOPWORDS[other].__contains__, words)) if other in STOPWORDS else 0
    return ours > theirs and (alone >= 0.02 * len(words) or ours >= 0.15 * len(words))
