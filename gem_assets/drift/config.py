"""Settings of the drift check."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gem_assets.frozen import Frozen

CODE_VERSION = "2"


class Threshold(Frozen):
    """From where a figure warns, and from where it asks for a refit."""

    warn: float = Field(ge=0, allow_inf_nan=False, description="Value from which the check warns.")
    refit: float = Field(ge=0, allow_inf_nan=False, description="Value from which a refit is asked for.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn > self.refit:
            raise ValueError(f"warn {self.warn} has to be at most refit {self.refit}")
        return self


class DriftConfig(Frozen):
    """What is measured for each snapshot, and how much drift is too much.

    The reference is the snapshots that the teacher was fitted on.
    """

    margin: float = Field(
        default=0.2, gt=0, lt=1, description="Probability lead of the first cluster below which a label is unsure."
    )
    sample: int = Field(
        default=20_000, ge=100, description="Documents of a snapshot whose likelihood under the teacher is measured."
    )
    least_documents: int = Field(
        default=200, ge=1, description="Smaller snapshots and languages are shown but never judged."
    )
    errors: float = Field(
        default=3.0,
        ge=0,
        description="Standard errors of sampling that are subtracted from a figure before it is judged.",
    )
    divergence: Threshold = Field(
        default=Threshold(warn=0.02, refit=0.15),
        description="Jensen–Shannon divergence of label shares from the reference, in bits.",
    )
    likelihood_drop: Threshold = Field(
        default=Threshold(warn=0.05, refit=0.5),
        description="Fall of the mean log-likelihood below the reference, in its standard deviations.",
    )
    unsure_rise: Threshold = Field(
        default=Threshold(warn=0.05, refit=0.15), description="Rise of the share of unsure labels above the reference."
    )
    refit: Literal["by_hand", "automatic"] = Field(
        default="by_hand", exclude=True, description="Whether the drift sensor asks for a refit run by itself."
    )
