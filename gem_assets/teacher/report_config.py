"""Settings of the cluster report."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

CODE_VERSION = "1"


class ClusterReportConfig(BaseModel):
    """How much the cluster report looks at; none of it changes the clusters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: Annotated[
        int, Field(ge=100, description="Seed documents, drawn evenly, on which clusterings are compared and refitted.")
    ] = 3_000
    reseeds: Annotated[int, Field(ge=2, le=20, description="Fits that differ in their seed, for stability.")] = 2
    starts: Annotated[
        int, Field(ge=1, le=64, description="Short fits from which each of those continues the best.")
    ] = 2
    vocabulary: Annotated[
        int, Field(ge=300, le=65_536, description="Token ids of the bigram model that measures the drop in loss.")
    ] = 1024
    text_chars: Annotated[int, Field(ge=100, description="Characters read from the start of a text.")] = 1_500
    most_sources: Annotated[
        int, Field(ge=2, description="The source column is compared as a taxonomy unless it has more values.")
    ] = 200
    seed: Annotated[int, Field(ge=0, description="Seed of the draw, of the held-out part and of the refits.")] = 0
