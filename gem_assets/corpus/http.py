"""An HTTP response as archives store it: status, media type, charset, decoded body.

Archives disagree with their own headers: bodies are often stored already de-chunked or decompressed with the old
headers left in place. A coding is therefore undone only where the bytes look coded. Every step is bounded, so a
response that explodes is refused without holding it.
"""

import io
import re
import zlib
from dataclasses import dataclass

from fastwarc.stream_io import BrotliReader

from gem_assets.corpus.records import Damaged

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.I)
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Response:
    """``media_type`` is lower case without parameters, '' where the server gave none."""

    status: int
    media_type: str
    charset: str | None
    body: bytes


def media_type(content_type: str) -> tuple[str, str | None]:
    """Split a Content-Type value into media type and charset."""
    match = _CHARSET.search(content_type)
    return content_type.split(";", 1)[0].strip().lower(), match.group(1) if match else None


def parse_response(block: bytes, limit: int) -> Response:
    """Parse one stored response.

    Raises
    ------
    Damaged
        ``damaged_http`` where there is no response or its body cannot be decoded, ``too_large`` where the decoded
        body is above ``limit`` bytes.
    """
    match = _STATUS.match(block)
    if match is None:
        raise Damaged("damaged_http", "no HTTP status line")
    head, gap, body = _split_head(block)
    if not gap:
        raise Damaged("damaged_http", "the HTTP header has no end")
    headers: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    if "chunked" in headers.get("transfer-encoding", "").lower() and _CHUNK.match(body):
        body = _unchunk(body)
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _decode(body, coding.strip(), limit)
    if len(body) > limit:
        raise Damaged("too_large", f"body above max_record_bytes ({limit})")
    kind, charset = media_type(headers.get("content-type", ""))
    return Response(int(match.group(1)), kind, charset, body)


def _split_head(block: bytes) -> tuple[bytes, bytes, bytes]:
    for gap in (b"\r\n\r\n", b"\n\n"):
        head, found, body = block.partition(gap)
        if found:
            return head, found, body
    return block, b"", b""


def _unchunk(body: bytes) -> bytes:
    parts: list[bytes] = []
    position = 0
    while match := _CHUNK.match(body, position):
        size = int(match.group(0).split(b";")[0], 16)
        if size == 0:
            break
        start = match.end()
        parts.append(body[start : start + size])
        position = start + size
        position += 2 if body.startswith(b"\r\n", position) else body.startswith(b"\n", position)
    return b"".join(parts)


def _decode(body: bytes, coding: str, limit: int) -> bytes:
    if coding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        return _inflate(body, zlib.MAX_WBITS | 16, limit)
    if coding in ("deflate", "br") and body and not _is_text(body):
        if coding == "br":
            return _unbrotli(body, limit)
        wrapped = body[0] & 0x0F == 8 and len(body) > 1 and (body[0] * 256 + body[1]) % 31 == 0
        return _inflate(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, limit)
    return body


def _is_text(body: bytes) -> bool:
    # neither coding has a magic number; coded bytes hold control characters early on
    return not any(byte < 9 or 13 < byte < 32 for byte in body[:512])


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits)
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Damaged("damaged_http", f"content coding: {error}") from error
    if len(data) > limit:
        raise Damaged("too_large", f"body above max_record_bytes ({limit}) once decoded")
    return data


def _unbrotli(body: bytes, limit: int) -> bytes:
    out = io.BytesIO()
    try:
        reader = BrotliReader(io.BytesIO(body))
        while data := reader.read(_BLOCK):
            out.write(data)
            if out.tell() > limit:
                break
    except (OSError, ValueError) as error:
        raise Damaged("damaged_http", f"content coding: {type(error).__name__}") from error
    if out.tell() > limit:
        raise Damaged("too_large", f"body above max_record_bytes ({limit}) once decoded")
    return out.getvalue()
