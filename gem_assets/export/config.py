"""Settings of an export."""

from typing import Literal, get_args

from pydantic import Field

from gem_assets.frozen import Frozen

CODE_VERSION = "1"

Trainer = Literal["megatron", "olmo-core", "mosaicml", "hf-datasets", "levanter", "nanotron", "torchtitan", "nanochat"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)


class ExportConfig(Frozen):
    """What the files must agree on with the training run."""

    sequence_length: int = Field(default=2048, ge=2, le=2**24, description="Tokens of one training sequence.")
    batch_sequences: int = Field(
        default=1, ge=1, description="Sequences of one optimiser step; phases start at whole steps."
    )
    phase: int | None = Field(
        default=None, ge=0, description="Export this phase alone, for a trainer that has one mixture per run."
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="Order of documents and the trainer's own seed.")
    eos_token: str | None = Field(
        default=None, description="Token after each document; null: the tokenizer's own, by the usual names."
    )
    tokenizer_name: str | None = Field(
        default=None, description="Name under which the trainer loads the tokenizer; null: the file that was given."
    )
    root: str = Field(
        default="", description="Put before every data path in the trainer's configuration; empty: relative paths."
    )
    shard_bytes: int = Field(default=2**28, ge=2**16, description="Size at which a new data file starts, where legal.")
    validation_share: float = Field(
        default=0.005,
        gt=0,
        lt=0.5,
        description="Part of each cluster held out, for a trainer that reads a validation file.",
    )
    memory_mb: int = Field(default=1024, ge=128, description="Memory limit of the external sort, MiB.")
    threads: int = Field(default=2, ge=1, le=256, description="Threads of the external sort; no effect on the result.")
