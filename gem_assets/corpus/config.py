"""Settings of the corpus stage: everything that can change which documents are kept and how they look."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gem_assets.corpus.text.language_codes import language_code
from gem_assets.frozen import Frozen

CODE_VERSION = "4"

MIB = 1 << 20


class ColumnNames(Frozen):
    """Names under which a field is looked for in parquet columns and JSON keys; the first present one wins.

    One name may be given as a plain string. Only ``text`` has to exist.
    """

    text: tuple[str, ...] = Field(
        default=("text", "content", "raw_content", "body"), min_length=1, description="The document itself."
    )
    url: tuple[str, ...] = Field(default=("url", "uri"), description="Address at which the document was found.")
    id: tuple[str, ...] = Field(
        default=("id", "doc_id"),
        description="The record's own id where it has no address. It is never taken for an address.",
    )
    source: tuple[str, ...] = Field(
        default=("source", "source_domain", "domain"), description="Collection or site that the document is from."
    )
    date: tuple[str, ...] = Field(
        default=("date", "timestamp", "warc_date", "created"), description="When it was written or fetched."
    )
    lang: tuple[str, ...] = Field(
        default=("lang", "language", "language_code"), description="Language code; replaces our own detection."
    )
    label: tuple[str, ...] = Field(
        default=("label", "category", "topic"), description="The user's own taxonomy, carried along."
    )
    license: tuple[str, ...] = Field(default=("license", "licence"), description="Licence, carried along.")

    @field_validator("*", mode="before")
    @classmethod
    def _one_name(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class QualityFilters(Frozen):
    """Bounds on the quality signals; a bound that is not set is off.

    The signals are written for every document, so a filter can also be applied later, on the table.
    """

    max_mean_word_length: float | None = Field(default=None, gt=0, description="Mean characters per word.")
    max_symbol_ratio: float | None = Field(
        default=None, ge=0, le=1, description="Share of characters that are symbols."
    )
    max_digit_ratio: float | None = Field(default=None, ge=0, le=1, description="Share of characters that are digits.")
    max_dup_line_share: float | None = Field(
        default=None, ge=0, le=1, description="Share of characters in repeated lines."
    )
    max_dup_ngram_share: float | None = Field(
        default=None, ge=0, le=1, description="Share of word n-grams that are repeats."
    )
    min_stopword_share: float | None = Field(
        default=None, ge=0, le=1, description="Share of words that are stop words; only for languages that have a list."
    )
    max_compression_ratio: float | None = Field(default=None, gt=0, description="Bytes of text per compressed byte.")
    min_lang_confidence: float | None = Field(
        default=None, ge=0, le=1, description="Confidence of the language detection."
    )
    max_replacement_share: float | None = Field(
        default=0.1, ge=0, le=1, description="Share of characters that are U+FFFD: text that was decoded wrongly."
    )


class NearDuplicates(Frozen):
    """Near duplicates inside a snapshot: MinHash over word n-grams, LSH bands, then a check of each candidate."""

    enabled: bool = Field(default=True, description="If false, only exact duplicates are dropped.")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="Estimated Jaccard similarity from which a document is dropped."
    )
    ngram: int = Field(default=5, ge=1, le=32, description="Words per n-gram.")
    num_perm: int = Field(default=128, ge=16, le=1024, description="Permutations per signature.")
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seed of the permutations.")
    max_bucket: int = Field(
        default=256, ge=1, description="Kept documents of one band bucket that a new document is compared with."
    )


class CorpusConfig(Frozen):
    """What an ingest keeps and how it reads it; equal settings and equal files give equal bytes."""

    columns: ColumnNames = ColumnNames()
    min_text_chars: int = Field(default=20, ge=0, description="Cleaned text that is shorter is filtered (too_short).")
    max_text_chars: int = Field(
        default=5_000_000, ge=1, description="Cleaned text that is longer is treated as `overlong` says."
    )
    overlong: Literal["filter", "truncate"] = Field(
        default="filter",
        description="What happens to text above max_text_chars: it is filtered (too_long), or cut there at a blank.",
    )
    max_record_bytes: int = Field(
        default=32 * MIB,
        ge=1024,
        description="A raw record above this size is never held in memory; it is quarantined as too_large.",
    )
    max_decompression_ratio: float = Field(
        default=200.0,
        gt=1,
        description="Bytes out per byte in above which a compressed file counts as a decompression bomb.",
    )
    bomb_floor_bytes: int = Field(
        default=256 * MIB, ge=1024, description="A file may always expand to this size, whatever its ratio."
    )
    max_decompressed_bytes: int = Field(
        default=256 * 1024 * MIB, ge=1024, description="No file may expand beyond this size."
    )
    max_window_bytes: int = Field(
        default=2048 * MIB,
        ge=1 << 20,
        description="A zstd or xz file that needs a larger window is not read (`zstd --long=31` needs 2 GiB).",
    )
    languages: tuple[str, ...] | None = Field(
        default=None,
        description="Languages to keep, as codes or names; others are filtered (language). Not set: all are kept.",
    )
    filters: QualityFilters = QualityFilters()
    near: NearDuplicates = NearDuplicates()
    duplicates_across_snapshots: bool = Field(
        default=True,
        description=(
            "Drop a text that another snapshot already keeps. When off, the same place with the same text has the "
            "same doc_id in both snapshots."
        ),
    )
    tokenizer: str = Field(
        default="estimate",
        min_length=1,
        description="How tokens are counted: 'estimate', or the path of a `tokenizers` JSON file.",
    )
    shard_rows: int = Field(default=50_000, ge=1, description="Most documents per shard.")
    shard_bytes: int = Field(default=128 * MIB, ge=1024, description="Most bytes of text per shard, roughly.")

    @field_validator("languages", mode="after")
    @classmethod
    def _lower(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(sorted({language_code(code) or code.lower() for code in value}))

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.min_text_chars > self.max_text_chars:
            raise ValueError(
                f"min_text_chars {self.min_text_chars} is above max_text_chars {self.max_text_chars}: "
                "no document could pass"
            )
        return self
