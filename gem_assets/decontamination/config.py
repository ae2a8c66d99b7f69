"""Settings of the search for benchmark text."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CODE_VERSION = "1"
Policy = Literal["report", "exclude", "exclude_span"]


class Benchmark(BaseModel):
    """One benchmark, or one split of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="Its name in reports.")
    path: str = Field(min_length=1, description="Parquet or JSONL file (also .gz), or a folder of them.")
    split: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Split: of a folder the files that carry its name, of a file with a column `split` the rows of it.",
    )
    fields: tuple[str, ...] = Field(
        default=("text",), min_length=1, description="Columns whose texts make up an item, in this order."
    )
    id: str = Field(default="id", description="Column that names an item; the row's number where it is missing.")


class DecontaminationConfig(BaseModel):
    """Which benchmarks are searched for in the corpus, and what becomes of documents that hold their text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmarks: tuple[Benchmark, ...] = Field(
        default=(), description="Benchmarks to search for, one table each; without any, nothing is searched."
    )
    policy: Policy = Field(
        default="report",
        description="`report` lists documents. `exclude` also leaves them out of mixtures. `exclude_span` leaves them "
        "out of proxies only, and exports write them without the text of the item.",
    )
    ngram: int = Field(default=8, ge=3, le=32, description="Words of an n-gram; an item with fewer is not searched.")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="Part of an item, by weight, that a document must hold to be flagged."
    )
    boilerplate: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Share of a snapshot's documents beyond which an n-gram is boilerplate and weighs nothing.",
    )
    max_ngrams: int = Field(
        default=10_000_000,
        ge=1,
        le=200_000_000,
        exclude=True,
        description="Most n-grams of all items together; the index takes about 30 bytes for each.",
    )

    @property
    def on(self) -> bool:
        """Whether there is anything to search for."""
        return bool(self.benchmarks)

    def searched(self) -> dict[str, object]:
        """Return what decides on the flags, whatever becomes of the documents."""
        return self.model_dump(mode="json", include={"ngram", "threshold", "boilerplate"})
