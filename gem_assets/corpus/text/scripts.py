"""Writing systems of a text, and the languages that are written in each.

Ranges are those of Unicode's blocks, for letters and the marks that belong to them.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_RANGES: Final[dict[str, list[tuple[int, int]]]] = {
    "Latin": [(0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2AF),
              (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA722, 0xA7FF), (0xFB00, 0xFB06), (0xFF21, 0xFF3A),
              (0xFF41, 0xFF5A)],
    "Greek": [(0x370, 0x3E1), (0x3F0, 0x3FF), (0x1F00, 0x1FFF)],
    "Coptic": [(0x3E2, 0x3EF), (0x2C80, 0x2CFF)],
    "Cyrillic": [(0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)],
    "Armenian": [(0x530, 0x58F), (0xFB13, 0xFB17)],
    "Hebrew": [(0x590, 0x5FF), (0xFB1D, 0xFB4F)],
    "Arabic": [(0x610, 0x61A), (0x620, 0x65F), (0x66E, 0x6EF), (0x6FA, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF),
               (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)],
    "Syriac": [(0x700, 0x74F), (0x860, 0x86F)],
    "Thaana": [(0x780, 0x7BF)],
    "Nko": [(0x7C0, 0x7FF)],
    "Devanagari": [(0x900, 0x963), (0x971, 0x97F), (0xA8E0, 0xA8FF)],
    "Bengali": [(0x980, 0x9E5), (0x9F0, 0x9FF)],
    "Gurmukhi": [(0xA00, 0xA65), (0xA70, 0xA7F)],
    "Gujarati": [(0xA80, 0xAE5), (0xAF0, 0xAFF)],
    "Oriya": [(0xB00, 0xB65), (0xB70, 0xB7F)],
    "Tamil": [(0xB80, 0xBE5), (0xBF0, 0xBFF)],
    "Telugu": [(0xC00, 0xC65), (0xC70, 0xC7F)],
    "Kannada": [(0xC80, 0xCE5), (0xCF0, 0xCFF)],
    "Malayalam": [(0xD00, 0xD65), (0xD70, 0xD7F)],
    "Sinhala": [(0xD80, 0xDE5), (0xDF0, 0xDFF)],
    "Thai": [(0xE00, 0xE3E), (0xE40, 0xE4E)],
    "Lao": [(0xE80, 0xECE), (0xEDC, 0xEDF)],
    "Tibetan": [(0xF00, 0xF1F), (0xF35, 0xFFF)],
    "Myanmar": [(0x1000, 0x103F), (0x104C, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)],
    "Georgian": [(0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F)],
    "Hangul": [(0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)],
    "Ethiopic": [(0x1200, 0x1360), (0x1380, 0x139F), (0x2D80, 0x2DDF), (0xAB00, 0xAB2F)],
    "Cherokee": [(0x13A0, 0x13FF), (0xAB70, 0xABBF)],
    "Syllabics": [(0x1400, 0x167F), (0x18B0, 0x18FF)],
    "Khmer": [(0x1780, 0x17DD), (0x19E0, 0x19FF)],
    "Mongolian": [(0x1820, 0x18AF)],
    "Olchiki": [(0x1C5A, 0x1C7F)],
    "Tifinagh": [(0x2D30, 0x2D7F)],
    "Kana": [(0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)],
    "Bopomofo": [(0x3100, 0x312F), (0x31A0, 0x31BF)],
    "Han": [(0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)],
    "Yi": [(0xA000, 0xA4CF)],
    "Vai": [(0xA500, 0xA63F)],
    "Meetei": [(0xAAE0, 0xAAFF), (0xABC0, 0xABFF)],
    "Javanese": [(0xA980, 0xA9DF)],
    "Adlam": [(0x1E900, 0x1E95F)],
}  # fmt: skip

SCRIPT_LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "Latin": (
        *("af", "az", "br", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu", "fi", "fo", "fr", "fy"),
        *("ga", "gd", "gl", "ha", "hr", "hu", "id", "is", "it", "jv", "ku", "la", "lb", "lt", "lv", "mg", "mt"),
        *("nl", "no", "pl", "pt", "ro", "sk", "sl", "so", "sq", "sv", "sw", "tk", "tl", "tr", "uz", "vi"),
    ),
    "Greek": ("el",),
    "Coptic": ("cop",),
    "Cyrillic": ("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "tg", "tt", "ba", "cv", "ce", "mn"),
    "Armenian": ("hy",),
    "Hebrew": ("he", "yi"),
    "Arabic": ("ar", "fa", "ur", "ps", "sd", "ug", "ckb"),
    "Syriac": ("syr",),
    "Thaana": ("dv",),
    "Nko": ("nqo",),
    "Devanagari": ("hi", "mr", "ne", "sa", "mai", "bho", "gom"),
    "Bengali": ("bn", "as"),
    "Gurmukhi": ("pa",),
    "Gujarati": ("gu",),
    "Oriya": ("or",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Kannada": ("kn",),
    "Malayalam": ("ml",),
    "Sinhala": ("si",),
    "Thai": ("th",),
    "Lao": ("lo",),
    "Tibetan": ("bo",),
    "Myanmar": ("my",),
    "Georgian": ("ka",),
    "Hangul": ("ko",),
    "Ethiopic": ("am", "ti"),
    "Cherokee": ("chr",),
    "Syllabics": ("iu",),
    "Khmer": ("km",),
    "Mongolian": ("mn",),
    "Olchiki": ("sat",),
    "Tifinagh": ("zgh",),
    "Kana": ("ja",),
    "Bopomofo": ("zh",),
    "Han": ("zh",),
    "Yi": ("ii",),
    "Vai": ("vai",),
    "Meetei": ("mni",),
    "Javanese": ("jv",),
    "Adlam": ("ff",),
}
"""Languages of each script that can be told apart, codes as ISO 639-1 or, where there is none, ISO 639-3."""

SCRIPT_NAMES: Final = sorted(_RANGES)


def script_table(size: int) -> NDArray[np.uint8]:
    """Return the place of each code point's script in ``SCRIPT_NAMES``, one above, uint8 (size,).

    Signs, digits and blanks are of no script: 0.
    """
    table = np.zeros(size, np.uint8)
    for place, name in enumerate(SCRIPT_NAMES, 1):
        for first, last in _RANGES[name]:
            table[first : last + 1] = place
    return table
