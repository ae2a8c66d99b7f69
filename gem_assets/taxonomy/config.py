"""Settings of the taxonomy."""

from typing import Literal

from pydantic import Field

from gem_assets.frozen import Frozen

CODE_VERSION = "3"

NAMER_KEY_VARIABLE = "GEM_NAMER_API_KEY"


class NamerConfig(Frozen):
    """An OpenAI-compatible endpoint that writes cluster names.

    The API key is read from the environment variable ``GEM_NAMER_API_KEY`` when a request is made; it is
    never part of a configuration, an artifact or a log.
    """

    base_url: str = Field(
        pattern=r"^https?://[^\s@]+$",
        description="Address up to and including the version, as in http://127.0.0.1:8000/v1.",
    )
    model: str = Field(min_length=1, description="Model name, as the endpoint knows it.")
    timeout_s: float = Field(
        default=30.0, gt=0, le=600, exclude=True, description="Longest wait for one name, in seconds."
    )
    snippet_chars: int = Field(
        default=400, ge=40, le=4000, description="Characters of each exemplar that the model is shown."
    )


class TaxonomyConfig(Frozen):
    """How clusters are ranked, described and named."""

    gis: Literal["zscore", "literal"] = Field(
        default="zscore",
        description="Geometric Influence Score with its three terms standardised per cluster, or as printed (Eq. 21).",
    )
    beta: float = Field(
        default=0.5, ge=0, le=1e6, allow_inf_nan=False, description="Weight of the local density in the score."
    )
    density_neighbours: int = Field(
        default=10, ge=1, le=1000, description="M: nearest neighbours of the local density."
    )
    density_reference: int = Field(
        default=5_000,
        ge=100,
        description="Most documents of a cluster among which neighbours are sought; a larger cluster is sampled.",
    )
    exemplars: int = Field(default=5, ge=1, le=100, description="Exemplary documents per cluster.")
    duplicate_cosine: float = Field(
        default=0.95, gt=0, le=1, description="Two exemplars are never closer to each other than this."
    )
    duplicate_words: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Two exemplars never share more of their words than this (Jaccard, first 2,000 characters).",
    )
    keywords: int = Field(default=12, ge=3, le=100, description="Keywords per cluster.")
    keyword_documents: int = Field(
        default=2000, ge=10, description="Most documents of a cluster that are read for keywords."
    )
    keyword_chars: int = Field(
        default=2000, ge=100, description="Characters at the start of a document that are read for keywords."
    )
    name_words: int = Field(default=3, ge=1, le=6, description="Keywords in a plain name.")
    neighbours: int = Field(default=3, ge=0, le=50, description="Nearest other clusters listed per cluster.")
    parents: int | None = Field(
        default=None,
        ge=0,
        description="Groups of clusters in the level above them; 0 for none; not set: about the square root of 2K.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the samples drawn above.")
    namer: NamerConfig | None = Field(default=None, description="Endpoint that writes cluster names.")
