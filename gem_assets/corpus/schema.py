"""Columns of the files that the corpus stage writes, and the codes used in them.

``part-*.parquet`` (documents), ``quarantine.parquet``, ``duplicates.parquet``, ``filtered.parquet``. None of the last
three holds text: they say where a record was, so that it can be looked at where it lies.
"""

from typing import Final

import pyarrow as pa

QUALITY_COLUMNS: Final = (
    "q_chars",
    "q_mean_word_length",
    "q_symbol_ratio",
    "q_digit_ratio",
    "q_dup_line_share",
    "q_dup_ngram_share",
    "q_stopword_share",
    "q_compression_ratio",
    "q_lang_confidence",
)


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


DOCUMENT_SCHEMA: Final = pa.schema(
    [
        _required("doc_id", pa.string()),
        _required("snapshot", pa.string()),
        _required("source", pa.string()),
        pa.field("url", pa.string()),
        pa.field("date", pa.string()),
        _required("lang", pa.string()),
        _required("text", pa.large_string()),
        _required("n_bytes", pa.int64()),
        _required("n_tokens", pa.int64()),
        _required("content_digest", pa.string()),
        _required("dup_count", pa.int32()),
        _required("file", pa.string()),
        _required("offset", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("license", pa.string()),
        *[_required(name, pa.float32()) for name in QUALITY_COLUMNS],
    ]
)
"""One row per kept document. ``dup_count``: places inside the snapshot with this very text, at least 1."""

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        _required("snapshot", pa.string()),
        _required("file", pa.string()),
        _required("offset", pa.int64()),
        _required("reason", pa.string()),
        _required("detail", pa.string()),
        pa.field("url", pa.string()),
        _required("n_bytes", pa.int64()),
    ]
)
"""One record, or one damaged stretch of a file, that could not be read. ``n_bytes``: bytes concerned, 0 if unknown."""

DUPLICATE_SCHEMA: Final = pa.schema(
    [
        _required("snapshot", pa.string()),
        _required("kind", pa.string()),
        _required("doc_id", pa.string()),
        _required("content_digest", pa.string()),
        _required("kept_doc_id", pa.string()),
        _required("kept_snapshot", pa.string()),
        pa.field("source", pa.string()),
        pa.field("url", pa.string()),
        _required("file", pa.string()),
        _required("offset", pa.int64()),
        _required("n_bytes", pa.int64()),
    ]
)
"""One dropped place a row, with the document kept in its stead (in ``kept_snapshot``, maybe another one)."""

FILTERED_SCHEMA: Final = pa.schema(
    [
        _required("doc_id", pa.string()),
        pa.field("url", pa.string()),
        _required("file", pa.string()),
        _required("offset", pa.int64()),
        _required("reason", pa.string()),
        _required("n_bytes", pa.int64()),
    ]
)
"""One readable document that a setting refuses."""

DUPLICATE_KINDS: Final = ("exact_within", "near_within", "exact_across")

QUARANTINE_REASONS: Final[dict[str, str]] = {
    "empty_file": "the file has no bytes",
    "unknown_format": "neither its first bytes nor its name say what the file is",
    "outside_landing": "a link that leads out of the landing folder, or is broken",
    "unreadable_file": "not a file that can be read: a pipe, a device, a path too long; never a failing storage",
    "reader_error": "the reader failed in a way we did not foresee; detail names the exception class",
    "decompression_bomb": "expands beyond the ratio or size limit; reading stopped there",
    "hung": "reading took longer than shard_timeout_s, again and again; nothing of the file was taken",
    "reader_died": "the reader ended twice, for lack of memory or in native code; nothing of the file was taken. "
    "A larger worker_memory_mb has it read again",
    "damaged_gzip": "the compressed stream is broken",
    "truncated_gzip": "the compressed stream ends too early",
    "damaged_zstd": "the compressed stream is broken",
    "truncated_zstd": "the compressed stream ends too early",
    "damaged_bz2": "the compressed stream is broken",
    "truncated_bz2": "the compressed stream ends too early",
    "damaged_xz": "the compressed stream is broken",
    "truncated_xz": "the compressed stream ends too early",
    "damaged_lz4": "the compressed stream is broken",
    "truncated_lz4": "the compressed stream ends too early",
    "damaged_snappy": "the compressed stream is broken",
    "truncated_snappy": "the compressed stream ends too early",
    "unsupported_compression": "compressed, archived or encrypted in a way we do not read; detail names the way out",
    "window_too_large": "decompression needs more memory than max_window_bytes",
    "damaged_warc": "no valid WARC record header where one has to be",
    "truncated_record": "the record ends before its declared length",
    "damaged_arc": "no valid ARC record header where one has to be",
    "unknown_record_type": "a WARC record of a type that the standard does not know",
    "damaged_http": "the HTTP response inside the record cannot be parsed or decoded",
    "too_large": "the record is above max_record_bytes",
    "costly_page": "the page needs more time or memory than any sound page, or crashes the parser",
    "invalid_utf8": "bytes that are not UTF-8",
    "invalid_unicode": "lone surrogates: text that cannot be written as UTF-8",
    "damaged_json": "the line is not valid JSON",
    "truncated_json": "the last line is not valid JSON and has no line end: cut off",
    "json_shape": "JSON, but no rows: neither lines, objects nor an array of objects; or no JSON at all",
    "not_an_object": "the JSON line is not an object",
    "missing_text": "no text field in the record",
    "null_text": "the text field is null",
    "text_not_string": "the text field is not a string",
    "missing_text_column": "no text column in the file",
    "damaged_parquet": "the footer or a row group cannot be read",
}

FILTER_REASONS: Final[dict[str, str]] = {
    "too_short": "clean text below min_text_chars",
    "too_long": "clean text above max_text_chars",
    "language": "language not among `languages`",
    "garbled": "too many replacement characters",
    "mean_word_length": "above max_mean_word_length",
    "symbol_ratio": "above max_symbol_ratio",
    "digit_ratio": "above max_digit_ratio",
    "dup_line_share": "above max_dup_line_share",
    "dup_ngram_share": "above max_dup_ngram_share",
    "stopword_share": "below min_stopword_share",
    "compression_ratio": "above max_compression_ratio",
    "lang_confidence": "below min_lang_confidence",
    "blocked": "on the takedown list",
}
