"""Names of the file types that we do not read: archives, rare compressions, encryption."""

import re
from pathlib import PurePosixPath
from typing import Final

from gem_assets.corpus.readers.streams import is_binary

_ARCHIVE: Final = "unpack it and land the files in it"
_COMPRESSION: Final = "decompress it, or compress it with gzip, zstd, xz, bz2 or lz4"
_ENCRYPTED: Final = "decrypt it before landing"
_BY_MAGIC: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"PK\x03\x04", "a zip archive", _ARCHIVE),
    (b"PK\x05\x06", "an empty zip archive", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE),
    (b"Rar!\x1a\x07", "a rar archive", _ARCHIVE),
    (b"\x1f\x9d", "compressed by compress (.Z)", _COMPRESSION),
    (b"LZIP", "compressed by lzip", _COMPRESSION),
    (b"\x89LZO\x00\r\n\x1a\n", "compressed by lzop", _COMPRESSION),
    (b"LRZI", "compressed by lrzip", _COMPRESSION),
    *((bytes([0x1E + n, 0xB5, 0x2F, 0xFD]), "compressed by zstd before 0.8", _COMPRESSION) for n in range(10)),
    (b"Salted__", "encrypted by openssl", _ENCRYPTED),
    (b"PARE", "an encrypted parquet file", _ENCRYPTED),
)
_ARMOURED: Final = re.compile(rb"-----BEGIN (?:PGP MESSAGE|AGE ENCRYPTED FILE)-----|age-encryption\.org/")
_LZMA: Final = re.compile(rb"\x5d\x00\x00[\x00-\xff]{2}(?:\xff{8}|[\x00-\xff]{5}\x00{3})", re.S)
_BY_SUFFIX: Final = {
    ".br": ("compressed by brotli", _COMPRESSION),
    **dict.fromkeys((".snappy", ".sz"), ("snappy without its frame format", _COMPRESSION)),
    ".lzma": ("compressed by lzma", _COMPRESSION),
    ".lzo": ("compressed by lzo", _COMPRESSION),
    ".z": ("compressed by compress (.Z)", _COMPRESSION),
    ".zz": ("compressed by zlib", _COMPRESSION),
    ".zlib": ("compressed by zlib", _COMPRESSION),
    ".deflate": ("compressed by zlib", _COMPRESSION),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar"), ("a damaged archive", _ARCHIVE)),
    **dict.fromkeys((".gpg", ".pgp", ".enc", ".aes", ".crypt", ".age"), ("encrypted", _ENCRYPTED)),
    **dict.fromkeys((".gz", ".zst", ".bz2", ".xz", ".lz4"), ("without one sound frame", "copy it again")),
}


def unsupported(head: bytes, name: str, *, inside: str = "") -> str | None:
    """Return what a file is and the way out, or None where it may be read.

    Parameters
    ----------
    head
        Its first bytes, 512 or more where it has them.
    name
        Its name, '' where it does not count; it never does where the bytes are text.
    inside
        The compression that was taken off before, if there was one.
    """
    where = f", inside {inside}" if inside else ""
    if _ARMOURED.match(head):
        return f"encrypted{where}: {_ENCRYPTED}"
    if head[257:262] == b"ustar":
        return f"a tar archive{where}: {_ARCHIVE}"
    if not is_binary(head[:512]):
        return None
    for magic, what, way_out in _BY_MAGIC:
        if head.startswith(magic):
            return f"{what}{where}: {way_out}"
    if _LZMA.match(head):
        return f"compressed by lzma{where}: {_COMPRESSION}"
    what, way_out = _BY_SUFFIX.get(PurePosixPath(name).suffix.lower(), ("", ""))
    return f"{what}: {way_out}" if what else None
