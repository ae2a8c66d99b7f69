"""Encodings of seven bits: ISO-2022 (Japanese, Korean, Chinese), HZ and UTF-7.

Their bytes are all ASCII; escapes say which are not meant so. Browsers refuse most of them, and Python's codecs know
parts: here one pass over the escapes decodes each stretch in the set that is designated for it.
"""

import re
from typing import Final

_ESCAPES: Final = re.compile(rb"\x1b(?:\$[@AB]|\$\([A-GOQ]|\$[)*][A-M]|\([BHIJ])")
WIDE_ESCAPE: Final = re.compile(rb"\x1b\$(?:[@AB]|\([A-GOQ]|[)*][A-M])|\x1b\(I")
_SHIFTS: Final = re.compile(rb"[\x0e\x0f]")
_BELOW_BLANK: Final = re.compile(rb"[\x00-\x20]+")
# designation: codec that knows the set with its high bits on, and the bytes before each pair
_SETS: Final = {
    b"$@": ("euc_jis_2004", b""),
    b"$B": ("euc_jis_2004", b""),
    b"$(O": ("euc_jis_2004", b""),
    b"$(Q": ("euc_jis_2004", b""),
    b"$(D": ("euc_jp", b"\x8f"),
    b"$A": ("gb2312", b""),
    b"$(A": ("gb2312", b""),
    b"$)A": ("gb2312", b""),
    b"$(C": ("cp949", b""),
    b"$)C": ("cp949", b""),
    b"(I": ("cp932", b""),
}
_HZ: Final = re.compile(rb"~\{((?:[\x21-\x77][\x21-\x7e])++)~\}")
_UTF7: Final = re.compile(rb"\+[A-Za-z0-9+/]*+-?")


def decode_iso2022(data: bytes) -> str:
    """Decode any of the ISO-2022 encodings by their escapes; sets that no codec knows become U+FFFD."""
    parts: list[str] = []
    direct, shifted, shift = b"(B", b"", False
    position = 0
    for match in _ESCAPES.finditer(data):
        shift = _decode_shifts(data[position : match.start()], direct, shifted, parts, shift=shift)
        position = match.end()
        name = match.group()[1:]
        if name.startswith((b"$)", b"$*")):
            shifted = name
        else:
            direct = name
    _decode_shifts(data[position:], direct, shifted, parts, shift=shift)
    return "".join(parts)


def _decode_shifts(data: bytes, direct: bytes, shifted: bytes, parts: list[str], *, shift: bool) -> bool:
    start = 0
    for match in _SHIFTS.finditer(data):
        parts.append(_decode_set(data[start : match.start()], shifted if shift else direct))
        shift, start = match.group() == b"\x0e", match.end()
    parts.append(_decode_set(data[start:], shifted if shift else direct))
    return shift


def _decode_set(data: bytes, name: bytes) -> str:
    if name in (b"(B", b"(J", b"(H", b""):
        return data.decode("ascii", "replace")
    codec, prefix = _SETS.get(name, ("", b""))
    parts: list[str] = []
    start = 0
    for match in (*_BELOW_BLANK.finditer(data), None):
        end = len(data) if match is None else match.start()
        high = _high(data[start:end])
        if prefix:
            high = b"".join(prefix + high[i : i + 2] for i in range(0, len(high), 2))
        if codec == "euc_jis_2004" and "\ufffd" not in (narrow := high.decode("euc_jp", "replace")):
            parts.append(narrow)
        else:
            parts.append(high.decode(codec, "replace") if codec else "\ufffd" * (len(high) // 2))
        if match is not None:
            parts.append(match.group().decode("ascii"))
            start = match.end()
    return "".join(parts)


def hz_pairs(data: bytes) -> str:
    """Return what the escapes of HZ hold, were the bytes HZ."""
    return _high(b"".join(match.group(1) for match in _HZ.finditer(data))).decode("gb2312", "replace")


def decode_hz(data: bytes) -> str:
    """Decode HZ."""

    def pairs(match: re.Match[bytes]) -> bytes:
        return _high(match.group(1)).decode("gb2312", "replace").encode("gb18030", "replace")

    return _HZ.sub(pairs, data).replace(b"~~", b"~").replace(b"~\n", b"").decode("gb18030", "replace")


def decode_utf7(data: bytes) -> str:
    """Decode UTF-7; a plus sign that starts no escape stays one."""

    def run(match: re.Match[bytes]) -> bytes:
        try:
            return match.group().decode("utf-7").encode("utf-8", "replace")
        except UnicodeDecodeError:
            # a plus sign that someone forgot to escape
            return match.group()

    return _UTF7.sub(run, data).decode("utf-8", "replace")


def _high(data: bytes) -> bytes:
    return bytes(byte | 0x80 for byte in data)
