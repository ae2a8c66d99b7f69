"""Settings of the student."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CODE_VERSION = "2"


class StudentConfig(BaseModel):
    """How the student reads a document and how it is distilled from the teacher."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash_bits: int = Field(
        default=18, ge=10, le=24, description="words are hashed into 2^bits rows of the weight table"
    )
    bigrams: bool = Field(
        default=False, description="read pairs of neighbouring words too; half the speed, no gain seen"
    )
    max_chars: int = Field(
        default=6000,
        ge=0,
        description="characters read from the start of each document; 0 reads it whole. 2,000 cost two points of "
        "agreement on web pages and are twice as fast on long documents",
    )
    term_frequency: Literal["count", "log"] = Field(
        default="log",
        description="what a word that occurs c times adds: 1 + ln c times its row (c up to 255), or c times",
    )
    soft_temperature: float = Field(
        default=5.0,
        ge=0,
        description="temperature on the teacher's responsibilities where they are given; 0 trains on hard labels",
    )
    feature_dropout: float = Field(
        default=0.3, ge=0, lt=1, description="share of a document's words hidden in each step"
    )
    epochs: int = Field(default=8, ge=1, le=200, description="passes over the training documents")
    batch_size: int = Field(default=128, ge=1, description="most documents per step")
    min_steps: int = Field(
        default=2500,
        ge=1,
        description="steps to take in all; a small sample gets smaller batches for it, of 16 documents at least",
    )
    learning_rate: float = Field(default=0.02, gt=0, description="peak step size of AdamW; decays linearly to zero")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of AdamW")
    calibration_share: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="share of the documents that the weights never see: temperature and bias are set on them",
    )
    match_shares: bool = Field(
        default=True, description="shift the bias until the student's cluster shares are the teacher's"
    )
    weight_bits: Literal[8, 16, 32] = Field(
        default=16,
        description="bits of a weight, in memory and on disk: 8 and 16 are integers and one unit for the whole table; "
        "16 agrees with the teacher as 32 does, at twice the speed",
    )
    held_out_share: float = Field(
        default=0.15, gt=0, lt=0.9, description="share of every cluster kept from training, for the agreement report"
    )
    gis_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the training documents taken by Geometric Influence Score, the same number per cluster; "
        "the rest is drawn at random within clusters. 1 is the published recipe; at random was measured better",
    )
    seed: int = Field(default=0, ge=0, description="seed of the split, the order of documents and the dropout")


class LabelConfig(BaseModel):
    """How the documents of a snapshot are labelled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    escalate_margin: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="documents that the student labels with a margin below this are embedded and labelled by the "
        "teacher itself; 0 sends none. The page of student_model shows what each margin buys",
    )
    escalate_at_most: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="largest share of a batch that is sent to the teacher, lowest margins first: embedding a document "
        "costs some ten times as much as labelling it",
    )

    @property
    def escalates(self) -> bool:
        """Whether any document may be sent to the teacher."""
        return self.escalate_margin > 0
