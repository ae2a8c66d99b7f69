"""An HTTP response as archives store it: status, media type, charset, decoded body.

Archives disagree with their own headers: bodies are often stored already de-chunked or decompressed with the old
headers left in place, and servers write whatever they like. A coding is therefore undone only where the bytes look
coded. Every step is bounded, so a response that explodes is refused without holding it. A body that breaks off gives
what was decoded until then, and says so.
"""

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import brotli
from resiliparse.parse.encoding import map_encoding_to_html5

from gem_assets.corpus.readers.codecs import Codec, Gzip, find_codec
from gem_assets.corpus.readers.raw import BLOCK, Raw
from gem_assets.corpus.readers.records import Damaged
from gem_assets.corpus.readers.streams import is_binary

_STATUS = re.compile(rb"\s{0,16}HTTP(?:/\d(?:\.\d)?)?[ \t]+(\d{3})([^\r\n]{0,64})", re.I)
_GAP = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?(\r?\n)")
_LARGEST_CHUNK: Final = 1 << 32
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.I)
_QUOTED_OR_COMMA = re.compile(r'"[^"]*"|,')
_TYPE_END = re.compile(r"[;,\s]")
_MOST_CODINGS: Final = 8
_LONGEST_LENGTH: Final = 18
_PLAIN_CODINGS: Final = frozenset(
    {"", "identity", "none", "null", "binary", "7bit", "8bit", "text", "plain", "html", "chunked", "utf_8", "default"}
)
_CODING_HEADERS: Final = ("content-encoding", "x-crawler-content-encoding", "x-archive-orig-content-encoding")
# zstd bodies may need 8 MiB (RFC 9659); somewhat more is harmless
_BODY_WINDOW: Final = 128 << 20


@dataclass(frozen=True, slots=True)
class Response:
    """``media_type`` is lower case without parameters, '' where the server gave none; ``cut``: the body breaks off."""

    status: int
    media_type: str
    charset: str | None
    body: bytes
    cut: bool = False


def media_type(content_type: str) -> tuple[str, str | None]:
    """Split a Content-Type value into media type and charset.

    Several values, as of repeated headers, are joined by commas; the last one that names a type counts, and a charset
    given before stays as long as the type does.
    """
    essence, charset = "", None
    for value in _at_commas(content_type):
        kind = _TYPE_END.split(value.strip(" \t\r\n\"'"), maxsplit=1)[0].strip("\"'/: ").lower()
        match = _CHARSET.search(value)
        if kind and kind != "*/*" and not kind.startswith("charset="):
            charset = charset if kind == essence else None
            essence = kind
        charset = match.group(1) if match else charset
    return essence, charset


def _at_commas(value: str) -> Iterator[str]:
    start = 0
    for match in _QUOTED_OR_COMMA.finditer(value):
        if match.group() == ",":
            yield value[start : match.start()]
            start = match.end()
    yield value[start:]


def is_response(block: bytes) -> bool:
    """Tell whether a status line begins here."""
    return _STATUS.match(block) is not None


def parse_response(block: bytes, limit: int) -> Response:
    """Parse one stored response; interim ones (100, 103, a proxy's "connection established") before it are left out.

    Raises Damaged ``damaged_http`` where there is no response or its body cannot be decoded, ``too_large`` where the
    decoded body is above ``limit`` bytes.
    """
    start = 0
    while True:
        match = _STATUS.match(block, start)
        if match is None:
            raise Damaged("damaged_http", "no HTTP status line")
        gap = _GAP.search(block, match.end())
        if gap is None and not block.endswith(b"\n"):
            raise Damaged("damaged_http", "the HTTP header has no end")
        # some responses without a body lack the empty line too
        head_end, body_start = gap.span() if gap is not None else (len(block), len(block))
        status = int(match.group(1))
        interim = (100 <= status < 200 and status != 101) or b"onnection established" in match.group(2)
        if not (interim and _STATUS.match(block, body_start)):
            break
        start = body_start
    headers = _headers(block[match.end() : head_end])
    body = block[body_start:]
    declared = headers.get("content-length", "").partition(",")[0]
    cut = declared.isascii() and declared.isdigit() and len(declared) <= _LONGEST_LENGTH and len(body) < int(declared)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        # a length beside chunks does not count
        body, cut = _unchunk(body)
    body, broken = _decode(body, headers, limit)
    if len(body) > limit:
        raise Damaged("too_large", f"body above max_record_bytes ({limit})")
    kind, charset = media_type(headers.get("content-type", ""))
    return Response(status, kind, charset, body, cut or broken)


def _headers(head: bytes) -> dict[str, str]:
    """Return the fields by lower-case name; repeated ones joined by commas, folded lines by a blank."""
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for line in head.split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t") and values:
            values.append(" " + line.strip().decode("latin-1"))
            continue
        name, colon, value = line.partition(b":")
        if colon:
            values = fields.setdefault(name.strip().lower().decode("latin-1"), [])
            values += ["," if values else "", value.strip().decode("latin-1")]
    return {name: "".join(values) for name, values in fields.items()}


def _unchunk(body: bytes) -> tuple[bytes, bool]:
    """Undo chunking where the body is chunked; tell whether it ends before its last chunk."""
    parts: list[bytes] = []
    position = 0
    while match := _CHUNK.match(body, position):
        size = int(match.group(1), 16)
        if size == 0:
            return b"".join(parts), False
        if size >= _LARGEST_CHUNK:
            raise Damaged("damaged_http", f"a chunk of {size} bytes")
        start, end = match.end(), match.end() + size
        if not parts and end > len(body) and match.group(2) == b"\n":
            # no writer of chunks ends lines so: a text that begins with a number
            return body, False
        parts.append(body[start:end])
        position = end + (2 if body.startswith(b"\r\n", end) else body.startswith(b"\n", end))
    return (b"".join(parts), True) if parts else (body, False)


def _decode(body: bytes, headers: dict[str, str], limit: int) -> tuple[bytes, bool]:
    named = next((headers[name] for name in _CODING_HEADERS if headers.get(name)), "")
    codings = [coding.partition(";")[0].strip(" \t\"'").lower() for coding in named.split(",")]
    if len(codings) > _MOST_CODINGS:
        raise Damaged("damaged_http", f"{len(codings)} content codings")
    cut = False
    for coding in reversed(codings):
        if not body:
            break
        body, broken = _undo(body, coding, limit)
        cut = cut or broken
    if body.startswith(b"\x1f\x8b\x08") and "gzip" not in headers.get("content-type", ""):
        # the header was lost, or the server packed twice
        body, broken = _collect(_frames(body, Gzip()), limit)
        cut = cut or broken
    return body, cut


def _undo(body: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """Undo one coding; tell whether the body breaks off."""
    codec = find_codec(Raw(io.BytesIO(body)), _BODY_WINDOW)
    if codec is not None and coding not in _PLAIN_CODINGS:
        # what the bytes are counts more than what they are called
        return _collect(_frames(body, codec), limit)
    if coding in _PLAIN_CODINGS or map_encoding_to_html5(coding, fallback_utf8=False):
        return body, False
    textual = not is_binary(body[:512])
    if coding in ("br", "brotli", "deflate", "x-deflate", "zlib"):
        pieces = _unbrotli(body) if coding.startswith("br") else _inflate(body)
        try:
            out, cut = _collect(pieces, limit)
        except Damaged as damage:
            if textual and damage.reason != "too_large":
                return body, False
            raise
        # a text that happens to decode for a while was not coded
        return (body, False) if cut and textual else (out, cut)
    if textual:
        return body, False
    if coding in ("gzip", "x-gzip", "zstd"):
        raise Damaged("damaged_http", f"content coding: the body is not {coding}")
    raise Damaged("damaged_http", f"content coding {coding[:40]!r} is not known")


def _frames(body: bytes, codec: Codec) -> Iterator[bytes]:
    """Yield what all frames of a body hold; bytes after the last whole one that are not a frame are left out."""
    raw = Raw(io.BytesIO(body))
    whole = 0
    while raw.peek(1):
        size = 0
        try:
            for piece in codec.frame(raw):
                size += len(piece)
                yield piece
        except Damaged:
            if whole and not size:
                return
            raise
        whole += 1


def _inflate(body: bytes) -> Iterator[bytes]:
    """Yield a zlib stream, or the raw deflate data that some servers send in its place."""
    wrapped = body[0] & 0x0F == 8 and len(body) > 1 and (body[0] * 256 + body[1]) % 31 == 0
    inflater = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    data = body
    while not inflater.eof:
        try:
            out = inflater.decompress(data, BLOCK) if data else inflater.flush()
        except zlib.error as error:
            raise Damaged("damaged_http", f"content coding: {error}") from error
        if out:
            yield out
        if not data and not inflater.eof:
            raise Damaged("truncated_http", "content coding: the body ends early")
        data = inflater.unconsumed_tail


def _unbrotli(body: bytes) -> Iterator[bytes]:
    engine = brotli.Decompressor()
    data = body
    try:
        while not engine.is_finished():
            out = engine.process(data, output_buffer_limit=BLOCK)
            if out:
                yield out
            elif engine.can_accept_more_data() and not engine.is_finished():
                raise Damaged("truncated_http", "content coding: the body ends early")
            data = b""
    except brotli.error as error:
        raise Damaged("damaged_http", "content coding: not brotli") from error


def _collect(pieces: Iterator[bytes], limit: int) -> tuple[bytes, bool]:
    """Join the pieces of a body; tell whether it ends before its end."""
    out = io.BytesIO()
    try:
        for piece in pieces:
            if out.write(piece) and out.tell() > limit:
                raise Damaged("too_large", f"body above max_record_bytes ({limit}) once decoded")
    except Damaged as damage:
        if damage.reason == "too_large":
            raise
        if out.tell() and damage.reason.startswith("truncated"):
            return out.getvalue(), True
        detail = damage.detail if damage.reason.endswith("_http") else f"content coding: {damage.detail}"
        raise Damaged("damaged_http", detail) from damage
    return out.getvalue(), False
