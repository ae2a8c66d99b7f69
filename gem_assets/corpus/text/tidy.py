"""Clean texts in one compiled pass: a text that is clean is copied, one that needs little is rewritten on the way.

Odd line ends, invisible characters, blanks at line ends and many empty lines are dealt with here. Texts that are not in
NFC, or hold controls of Latin-1, are left to :func:`gem_assets.corpus.text.cleaning.clean_text`: half a per cent of web
pages. The result is the same either way.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import DROPPED, FOREIGN, GAP, MARK, NEWLINE, PLAIN, TABLE, Normal, normal
from gem_assets.corpus.text.cleaning import clean_text
from gem_assets.corpus.text.described import buffers_of
from gem_assets.corpus.text.features import TextBuffers, decode, jit

_MOST_NEWLINES = 3


def clean_texts(raw: TextBuffers) -> tuple[TextBuffers, NDArray[np.int64]]:
    """Return the texts in the form in which they are stored, and the characters of each.

    ``raw`` is valid UTF-8.
    """
    data = np.empty(max(int(raw.offsets[-1] - raw.offsets[0]), 1), np.uint8)
    offsets, chars = np.zeros(len(raw) + 1, np.int64), np.zeros(len(raw), np.int64)
    _tidy(raw.data, raw.offsets, normal(), data, offsets, chars)
    others = np.flatnonzero(chars < 0)
    if not len(others):
        return TextBuffers(data, offsets), chars
    parts = [data[start:end].data for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    for row in others.tolist():
        text = clean_text(raw.data[raw.offsets[row] : raw.offsets[row + 1]].tobytes().decode())
        parts[row] = memoryview(text.encode())
        chars[row] = len(text)
    return buffers_of(parts), chars


@jit
def _becomes_one(first: int, second: int, tables: Normal) -> bool:
    """Return whether a character may change with the one that it stands behind."""
    if 0x1161 <= second < 0x1176:
        return 0x1100 <= first < 0x1113
    if 0x11A8 <= second < 0x11C3:
        return 0xAC00 <= first < 0xD7A4 and (first - 0xAC00) % 28 == 0
    if first < TABLE and tables.composed[first]:
        return True
    pair = np.uint64(first) << np.uint64(32) | np.uint64(second)
    at = np.searchsorted(tables.pairs, pair)
    return at < tables.pairs.shape[0] and tables.pairs[at] == pair


@jit
def _tidy(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    tables: Normal,
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
    chars: NDArray[np.int64],
) -> None:
    """Write the clean texts and count their characters; -1, and no bytes, for one that has to go the slow way."""
    actions, combining = tables.actions, tables.combining
    o = 0
    for d in range(offsets.shape[0] - 1):
        base = o
        # all up to here stays: the last character that is not a blank, or the line end behind it
        kept, kept_chars, n = base, 0, 0
        newlines = 0
        starter, last_class = 0, 0
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            cp, size = int(data[i]), 1
            if cp >= 0x80:
                cp, size = decode(data, i, end)
            action = int(actions[cp]) if cp < TABLE else PLAIN
            if action in (PLAIN, GAP, MARK):
                if action == MARK:
                    order = int(combining[cp])
                    if (order and order < last_class) or (tables.joins[cp] and _becomes_one(starter, cp, tables)):
                        n = -1
                        break
                    last_class = order
                    starter = starter if order else cp
                else:
                    starter, last_class = cp, 0
                for k in range(size):
                    out[o + k] = data[i + k]
                o += size
                n += 1
                if action != GAP:
                    kept, kept_chars, newlines = o, n, 0
            elif action == NEWLINE:
                if cp == 0x0D and i + 1 < end and data[i + 1] == 0x0A:
                    size = 2
                starter, last_class = 0x0A, 0
                o, n = kept, kept_chars
                # none at the start, and no more than two empty lines
                if kept > base and newlines < _MOST_NEWLINES:
                    out[o] = 0x0A
                    o, n = o + 1, n + 1
                    kept, kept_chars, newlines = o, n, newlines + 1
            elif action == FOREIGN:
                n = -1
                break
            else:
                assert action == DROPPED
            i += size
        if n < 0:
            o, kept_chars = base, -1
        else:
            # line ends at the end were kept as far as another line could follow
            o, kept_chars = kept - newlines, kept_chars - newlines
        chars[d] = kept_chars
        out_offsets[d + 1] = o
