"""Settings of the mixture recipes."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from gem_assets.frozen import Frozen

CODE_VERSION = "1"
#: Of the recipes that are learned, from counts or from proxies.
#: Since 2 the evidence holds the interval of the gain, and its verdict says what was found and not what to use.
LEARNED_CODE_VERSION = "2"
#: Of those from counts alone.
COUNTED_CODE_VERSIONS = {"lexical": LEARNED_CODE_VERSION, "entropy": "3"}


class ScoreConfig(Frozen):
    """Quality scores of documents, and what the methods that choose documents by them do."""

    file: Annotated[
        str | None,
        Field(
            description="parquet or JSONL with doc_id and one numeric column per rater, higher is better; not set: "
            "five simple ones, computed from the prepared text"
        ),
    ] = None
    on_fault: Annotated[
        Literal["refuse", "leave_out"],
        Field(description="what happens to documents without a score and to raters that say nothing"),
    ] = "refuse"
    kept: Annotated[float, Field(gt=0, lt=1, description="part of the tokens that QuRating and Meta-rater choose")] = (
        0.3
    )
    temperature: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, description="QuRating's tau: small takes the best, large takes all alike"),
    ] = 2.0
    proxies: Annotated[int, Field(ge=16, description="proxies that QuaDMix and Meta-rater train, each")] = 32
    tied: Annotated[
        bool,
        Field(description="QuaDMix's clusters differ in the kept part alone; false needs hundreds of proxies"),
    ] = True


class SearchConfig(Frozen):
    """How far the Bayesian searches go beyond the swarm."""

    proxies: Annotated[int, Field(ge=1, le=1000, description="further proxies of `bayes`, one after the other")] = 8
    larger_models: Annotated[
        int,
        Field(
            ge=3,
            le=1000,
            description="budget of `multi_fidelity`, in models of the confirmation's size; two are spent on "
            "proportional and uniform, and a proxy counts as the part that it costs of one",
        ),
    ] = 8
    candidates: Annotated[
        int, Field(ge=8, le=5000, description="mixtures to choose from, half of them around the swarm's best")
    ] = 256
    surrogate: Annotated[
        Literal["gaussian", "botorch"],
        Field(description="process of `multi_fidelity`: scikit-learn's, or botorch's (the extra of that name)"),
    ] = "gaussian"


class ContinualConfig(Frozen):
    """Continual pre-training: what the domain is, and the runs that continue from a trained proxy."""

    clusters: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="clusters that are the domain of `critical_ratio`; the others are general text"),
    ] = ()
    ratios: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...],
        Field(min_length=3, description="parts of domain text that are tried"),
    ] = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)
    allowed_rise: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="nats that the general loss may end above its start")
    ] = 0.0
    part: Annotated[
        float, Field(gt=0, le=10, description="length of a continued run, as a multiple of the proxy's own run")
    ] = 0.5
    checks: Annotated[int, Field(ge=1, le=64, description="times in a further run at which losses are taken")] = 4
    trajectories: Annotated[
        int, Field(ge=8, le=10_000, description="further runs on random mixtures that `data_mixing_agent` learns from")
    ] = 32

    @field_validator("clusters", "ratios")
    @classmethod
    def _distinct(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise ValueError(f"{list(values)} names one twice")
        return tuple(sorted(values))


class MixingConfig(Frozen):
    """Settings that all mixture strategies share.

    Attributes
    ----------
    token_budget
        Tokens to train on. ``None`` means every token of the inventory once.
    repetition_cap
        The most often a cluster's text may be seen, in epochs. Four epochs of the same text are worth nearly
        as much as fresh text (Muennighoff et al. 2023); past that the value drops fast.
    temperature
        Exponent on the token counts of the ``temperature`` strategy: 1 is proportional, 0 is uniform.
    unimax_epochs
        Epoch cap inside UniMax. At ``repetition_cap`` or above, UniMax is the capped ``uniform``.
    seed
        Seed of the strategies that draw; recorded in every recipe.
    scores
        Of the methods that choose documents; those alone name it, so that it makes no other recipe stale.
    search
        Of ``bayes`` and ``multi_fidelity`` alone, so it names no other result.
    continual
        Of ``critical_ratio`` and ``data_mixing_agent`` alone, likewise.
    """

    token_budget: Annotated[
        int | None, Field(gt=0, description="tokens to train on; not set: each available token once")
    ] = None
    repetition_cap: Annotated[
        float, Field(gt=0, le=1000, allow_inf_nan=False, description="most epochs over a cluster's text")
    ] = 4.0
    temperature: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="exponent on token counts of the strategy 'temperature'",
        ),
    ] = 0.5
    unimax_epochs: Annotated[
        float, Field(gt=0, le=1000, allow_inf_nan=False, description="epoch cap of the strategy 'unimax'")
    ] = 2.0
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of every draw")] = 0
    scores: Annotated[ScoreConfig, Field(exclude=True)] = ScoreConfig()
    search: Annotated[SearchConfig, Field(exclude=True)] = SearchConfig()
    continual: Annotated[ContinualConfig, Field(exclude=True)] = ContinualConfig()
