"""Settings of the proxies: the count model of stage 0 and the tiny transformer of stage 1.

The defaults are for a laptop: 0.3M non-embedding parameters, 262,144 tokens, about ten CPU-seconds per proxy. At that
size the ranking of mixtures is limited by their number and by the law fitted to them, not by the noise between seeds,
so many short proxies beat few long ones.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gem_assets.frozen import Frozen

CODE_VERSION = "1"
# of the prepared tokens alone: they say since 2 of which documents they are
TOKENS_CODE_VERSION = "2"

Precision = Literal["auto", "bf16", "fp32"]
Centring = Literal["auto", "on", "off"]
Sampler = Literal["regmix", "hierarchical", "low_discrepancy", "d_optimal"]
Grouping = Literal["source", "parent"]
Matching = Literal["matched", "off"]


class TokenizerConfig(Frozen):
    """A byte-level BPE of its own: a small vocabulary keeps a proxy cheap."""

    vocab: Annotated[
        int, Field(ge=260, le=65_536, description="Entries, the 256 bytes and the end-of-document mark included.")
    ] = 2048
    sample_bytes: Annotated[
        int, Field(ge=1024, description="UTF-8 bytes of text, spread evenly over the domains, that it is trained on.")
    ] = 8_000_000
    document_bytes: Annotated[
        int, Field(ge=64, description="Bytes of one document that count, so that no single one shapes the vocabulary.")
    ] = 8192


class PoolConfig(Frozen):
    """Which tokens proxies are trained and evaluated on."""

    domain_tokens: Annotated[
        int,
        Field(ge=1024, description="Most training tokens kept per cluster, chosen by document id."),
    ] = 2_000_000
    windows: Annotated[int, Field(ge=1, description="Evaluation windows per target; each is one model context.")] = 8
    held_out: Annotated[
        float,
        Field(gt=0, lt=0.5, description="Largest share of a cluster's documents that may be held out for its windows."),
    ] = 0.2


class CountConfig(Frozen):
    """Stage 0: interpolated n-gram mixtures, a lexical proxy."""

    order: Annotated[int, Field(ge=1, le=3, description="Longest n-gram; 2 ranks tiny transformers best.")] = 2
    tau: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Pseudo token budget: how far the model trusts its history. Not set: 1 % of the "
            "proxy's tokens, within 1e3 and 2e4.",
        ),
    ] = None
    beta: Annotated[
        tuple[float, float, float],
        Field(description="Weight, in pseudo tokens, of the next lower order below unigram, bigram and trigram."),
    ] = (50.0, 3.0, 4.0)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if min(self.beta) <= 0:
            raise ValueError(f"beta must be positive, got {self.beta}: at 0 an unseen n-gram has probability 0")
        return self

    def pseudo_tokens(self, proxy_tokens: int) -> float:
        """Return tau: the one set, or 1 % of the proxy's tokens within [1e3, 2e4]."""
        return self.tau if self.tau is not None else min(max(0.01 * proxy_tokens, 1e3), 2e4)


class ModelConfig(Frozen):
    """Shape of the decoder: RMSNorm, rotary positions, SwiGLU, causal attention."""

    width: Annotated[int, Field(ge=8, le=1024, description="Width of the residual stream.")] = 96
    layers: Annotated[int, Field(ge=1, le=48, description="Blocks.")] = 3
    heads: Annotated[int, Field(ge=1, le=64, description="Attention heads.")] = 3
    hidden: Annotated[
        int | None,
        Field(ge=8, description="Width inside SwiGLU; not set: 8/3 of the width, rounded up to a multiple of 32."),
    ] = None
    context: Annotated[int, Field(ge=8, le=4096, description="Tokens per sequence.")] = 256
    tied: Annotated[
        bool,
        Field(description="Share one matrix between input embedding and head; untied learns faster at this size."),
    ] = False
    rope_base: Annotated[float, Field(gt=1, description="Base of the rotary frequencies.")] = 10_000.0

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} is not a multiple of twice the {self.heads} heads; rotary positions need an even "
                f"head width: try {2 * self.heads * max(1, round(self.width / (2 * self.heads)))}"
            )
        return self

    @property
    def ffn(self) -> int:
        """Width inside SwiGLU."""
        return self.hidden if self.hidden is not None else -(-8 * self.width // (3 * 32)) * 32

    @property
    def non_embedding(self) -> int:
        """Parameters outside the embedding and head matrices."""
        block = 4 * self.width**2 + 3 * self.width * self.ffn + 2 * self.width
        return self.layers * block + self.width


class HeadConfig(Frozen):
    """What is done to output embedding and logits (see ``gem_assets.proxy.centring``)."""

    mu_centring: Annotated[
        Centring,
        Field(description="Subtract the mean output embedding after each step; 'auto' is on for untied heads."),
    ] = "auto"
    mu_loss: Annotated[float, Field(ge=0, description="Weight of the squared norm of the mean output embedding.")] = 0.0
    z_loss: Annotated[float, Field(ge=0, description="Weight of the mean squared log-partition.")] = 0.0
    soft_cap: Annotated[
        float | None,
        Field(gt=0, description="Bound c of c * tanh(logit / c); not set: none. Centre drifted heads first."),
    ] = None


class TrainingConfig(Frozen):
    """How a proxy is trained."""

    tokens: Annotated[int, Field(ge=1, description="Training tokens per proxy.")] = 262_144
    batch: Annotated[int, Field(ge=1, description="Sequences per step.")] = 2
    lr: Annotated[float, Field(gt=0, description="Learning rate of the matrices.")] = 4e-3
    embedding_lr: Annotated[float, Field(gt=0, description="Factor on it for embedding and head.")] = 4.0
    weight_decay: Annotated[float, Field(ge=0, description="Decoupled decay of the matrices; none elsewhere.")] = 0.1
    betas: Annotated[tuple[float, float], Field(description="Decay of AdamW's moments.")] = (0.9, 0.95)
    warm_up: Annotated[float, Field(ge=0, le=1, description="Part of the steps over which the rate rises.")] = 0.05
    cool_down: Annotated[float, Field(ge=0, le=1, description="Part of the steps over which it falls to 0.")] = 0.0
    clip: Annotated[float, Field(gt=0, description="Largest gradient norm.")] = 1.0
    ema: Annotated[
        float, Field(ge=0, lt=1, description="Horizon of the averaged weights as a part of the steps; 0: none.")
    ] = 0.12
    evaluate_at: Annotated[tuple[float, ...], Field(description="Parts of the run after which losses are taken.")] = (
        0.5,
        1.0,
    )
    precision: Annotated[
        Precision, Field(description="Format of matrix products; 'auto' is bf16 where the processor multiplies it.")
    ] = "auto"
    chunk: Annotated[int, Field(ge=1, exclude=True, description="Rows of logits held at once.")] = 512

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        at = self.evaluate_at
        if not at or at[0] <= 0 or at[-1] != 1.0 or list(at) != sorted(set(at)):
            raise ValueError(f"evaluate_at must rise from above 0 and end at 1.0, got {at}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {self.betas}")
        if self.warm_up + self.cool_down > 1:
            raise ValueError(f"warm_up {self.warm_up} and cool_down {self.cool_down} take more than the whole run")
        return self


class ConfirmationConfig(Frozen):
    """The models at which a mixture has to hold: three times the proxies' size and tokens by default."""

    model: ModelConfig = ModelConfig(width=128, layers=5, heads=4)
    training: TrainingConfig = TrainingConfig(tokens=786_432, batch=4, lr=3e-3, cool_down=0.2, evaluate_at=(1.0,))
    seeds: Annotated[int, Field(ge=1, le=64, description="Seeds, paired over the arms.")] = 3


class ProxyConfig(Frozen):
    """Everything that decides what a proxy measures."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    pool: PoolConfig = PoolConfig()
    counts: CountConfig = CountConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    head: HeadConfig = HeadConfig()
    mixtures: Annotated[
        int, Field(ge=4, description="Mixtures of the first swarm; max(32, 4 K) or more serves K clusters well.")
    ] = 48
    repeats: Annotated[
        int, Field(ge=0, description="Further seeds on uniform and proportional, to measure seed noise.")
    ] = 2
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of initialisation and stream, the same for all.")] = 0
    sampler: Annotated[Sampler, Field(description="Draws the mixtures beside the fixed ones.")] = "regmix"
    groups: Annotated[
        Grouping,
        Field(
            # absent unless changed, so that swarms keep the identities that they had without it
            exclude_if=lambda value: value == "source",
            description="Groups of the sampler 'hierarchical': clusters with the same main source or the same parent.",
        ),
    ] = "source"
    repetition: Annotated[
        Matching,
        Field(
            # absent unless changed, as above: what a swarm matches is part of the swarm's own identity
            exclude_if=lambda value: value == "matched",
            description="'matched': proxies repeat each cluster as often as a run of mixing.token_budget would; "
            "'off': they read all that is kept of it.",
        ),
    ] = "matched"
    targets: Annotated[
        str | None,
        Field(
            description="Parquet or JSONL file of validation texts (`text`, and `target` for several) that mixtures "
            "are made for; not set: the clusters' own held-out text."
        ),
    ] = None
    device: Annotated[
        str,
        Field(
            pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
            description="Where proxies train; 'auto' takes a GPU if there is one.",
        ),
    ] = "auto"
    together: Annotated[int, Field(ge=1, le=1024, description="Proxies trained side by side on a GPU.")] = 16
    confirmation: ConfirmationConfig = ConfirmationConfig()

    def of_the_swarm(self) -> dict[str, Any]:
        """Return the settings that name what a proxy of the swarm measures."""
        return self.model_dump(mode="json", exclude={"confirmation", "targets", "together"})

    def at_next_size(self) -> "ProxyConfig":
        """Return the configuration of the confirmation's models."""
        c = self.confirmation
        return self.model_copy(update={"model": c.model, "training": c.training})

    @property
    def steps(self) -> int:
        """Optimiser steps of a proxy."""
        return max(1, round(self.training.tokens / (self.training.batch * self.model.context)))

    @property
    def centred(self) -> bool:
        """Whether the output embedding is centred after each step."""
        return self.head.mu_centring == "on" or (self.head.mu_centring == "auto" and not self.model.tied)

    @property
    def tau(self) -> float:
        """Pseudo token budget of the count model beside these proxies."""
        return self.counts.pseudo_tokens(self.training.tokens)
