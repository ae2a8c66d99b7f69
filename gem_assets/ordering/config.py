"""Settings of a training order: strategy and parameters, score column, phases of the run."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CODE_VERSION = "2"

Strategy = Literal["random", "curriculum", "folding", "zigzag", "segment", "stair", "saw"]


class CurveConfig(BaseModel):
    """One ordering strategy with every parameter stated.

    The defaults are those of the public reference (microsoft/data-efficacy at 2250d2a); a parameter that the
    strategy does not read is ignored, as it is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = Field(default="saw", description="Ordering of the documents by score.")
    ascending: bool = Field(default=True, description="Lowest score first; ties keep their order either way.")
    seed: int = Field(default=42, ge=0, description="Seed of every shuffle and jitter.")
    window: int = Field(
        default=0,
        ge=0,
        description="Jitter window in documents; blocks of it are shuffled last. 0 or 1: off.",
    )
    temperature: float = Field(default=0.0, ge=0, description="Gumbel rank jitter of `curriculum`, in ranks. 0: off.")
    layers: int = Field(default=3, ge=1, description="Folding layers L of `folding`, `zigzag`, `stair` and `saw`.")
    sections: int = Field(default=3, ge=1, description="Sections K of `stair` and `saw`: K - 1 folded regions.")
    folding_ratio: float = Field(
        default=0.075,
        ge=0,
        le=1,
        description="Radius rho of a folded region as a fraction of the whole data set.",
    )
    front_percent: float = Field(default=10.0, ge=0, le=100, description="`segment`: percent moved to the front.")
    back_percent: float = Field(default=10.0, ge=0, le=100, description="`segment`: percent moved to the back.")
    front_is_high: bool = Field(default=False, description="`segment`: the front takes the highest scores.")
    back_is_high: bool = Field(default=True, description="`segment`: the back takes the highest scores.")


class FinalPhase(BaseModel):
    """End-of-training domain upsampling: the last tokens of the run with some clusters raised.

    Blakeney et al. 2024: the last 10-20 % of the tokens, domain sets weighted up against web text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fraction: float = Field(default=0.15, gt=0, lt=0.5, description="Part of the token budget that the phase takes.")
    boost: dict[int, float] = Field(
        description="Factor on the token share of a cluster during the phase; others keep their share, then "
        "all are normalised."
    )

    @model_validator(mode="after")
    def _factors_are_positive(self) -> Self:
        bad = {c: f for c, f in self.boost.items() if f < 0}
        if bad:
            raise ValueError(f"final_phase.boost must not be negative, got {bad}")
        return self


class MetadataPrefix(BaseModel):
    """MeCo: a metadata line before each document, none in the cooldown at the end.

    Gao et al. 2025: ``URL: <short domain>`` and a blank line for the first 90 % of training, then
    plain text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooldown: float = Field(default=0.1, ge=0, lt=1, description="Last part of the token budget without the prefix.")
    template: str = Field(default="URL: {domain}\n\n", description="Prefix text; {domain} is the URL's host name.")

    @model_validator(mode="after")
    def _template_names_the_domain(self) -> Self:
        if "{domain}" not in self.template:
            raise ValueError(f"metadata_prefix.template must contain {{domain}}, got {self.template!r}")
        return self


class OrderingConfig(BaseModel):
    """How a `training_order` is drawn and sorted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    curve: CurveConfig = Field(default=CurveConfig(), description="Strategy and parameters.")
    score: str = Field(
        default="q_compression_ratio",
        min_length=1,
        description="Column that orders documents: any numeric column.",
    )
    score_files: tuple[str, ...] = Field(
        default=(),
        description="Parquet files below the data root (names or patterns) that hold the score as a column of your "
        "own; empty: it is a column of the label table.",
    )
    score_key: Literal["doc_id", "url", "content_digest"] = Field(
        default="doc_id", description="What the rows of `score_files` are joined on."
    )
    score_key_column: str | None = Field(
        default=None, min_length=1, description="Name of that column in `score_files`; not set: the same name."
    )
    missing_score: Literal["refuse", "lowest"] = Field(
        default="refuse",
        description="What to do about a null or NaN score: stop and name its doc_id, or rank it below all others.",
    )
    interleave: bool = Field(
        default=True,
        description="Follow the curve inside each cluster and merge clusters so that any window holds the "
        "recipe's shares; false: one curve over all documents.",
    )
    repeats: Literal["curve", "passes"] = Field(
        default="curve",
        description="Repeated documents: one curve over all exposures, or one curve per pass over the data.",
    )
    draw_seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the choice of documents and of ties.")
    rehydrate: dict[int, float] | None = Field(
        default=None,
        description="Weight of a document by duplicate count: {threshold: weight}, the largest threshold not "
        "above dup_count applies. FineWeb2's simple rule is {1:1, 2:2, 3:3, 5:5, 100:8, 1000:1}.",
    )
    final_phase: FinalPhase | None = Field(default=None, description="End-of-training upsampling.")
    metadata_prefix: MetadataPrefix | None = Field(default=None, description="MeCo metadata prefix with cooldown.")
    memory_mb: int = Field(default=1024, ge=128, description="Memory limit of the external sort, MiB.")
    threads: int = Field(default=2, ge=1, le=256, description="Threads of the external sort; no effect on the result.")
    row_group: int = Field(default=131_072, ge=1024, description="Rows per row group of the written parquet.")

    @model_validator(mode="after")
    def _rehydration_starts_at_one(self) -> Self:
        if self.rehydrate is None:
            return self
        if 1 not in self.rehydrate:
            raise ValueError("rehydrate needs a weight for dup_count 1, such as {1: 1.0, ...}")
        bad = {t: w for t, w in self.rehydrate.items() if t < 1 or not w > 0}
        if bad:
            raise ValueError(f"rehydrate needs thresholds >= 1 and weights > 0, got {bad}")
        return self
