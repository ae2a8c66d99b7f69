"""Settings of the embedding space."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from gem_assets.frozen import Frozen

CODE_VERSION = "1"
Method = Literal["cca", "lsa", "cca+lsa", "sentence-transformers"]
METHODS: tuple[Method, ...] = get_args(Method)
LEFT_OUT_NAME = "left_out.parquet"
"""Documents of a snapshot that have no vector, in the artifact of their embeddings."""


class EmbeddingConfig(Frozen):
    """How documents become unit vectors."""

    method: Method = Field(
        default="cca",
        description=(
            "cca: TF-IDF, truncated SVD, then the directions on which the two halves of a document agree; fitted on "
            "the landed corpus, no download, one core is enough. lsa: the same without that last step. cca+lsa: both "
            "side by side, for corpora whose clusters should follow the form of a page as well as its topic. "
            "sentence-transformers: a pretrained encoder (extra of that name; wants a GPU). Spherical k-means NMI of "
            "textbook TF-IDF + SVD-100 against MiniLM on ten labelled corpora: level or ahead on six, .03 behind on "
            "one, clearly behind on short news (.48 / .59) and on real web pages (.30 / .40), at a hundredth of the "
            "cost; cca reaches .59 and .43 on those two and loses on labels of format only."
        ),
    )
    dimension: int = Field(default=256, ge=8, le=4096, description="Dimensions of the vectors. An encoder has its own.")
    bigrams: bool = Field(default=False, description="For cca and lsa: pairs of neighbouring words are features too.")
    char_ngrams: tuple[int, int] | None = Field(
        default=None,
        description="For cca and lsa: shortest and longest character n-gram within words; not set: none are features.",
    )
    hash_bits: int = Field(
        default=20, ge=12, le=24, description="For cca and lsa: features are hashed into 2^bits buckets."
    )
    max_features: int = Field(
        default=100_000,
        ge=100,
        description="For cca and lsa: buckets kept, the most frequent first (by document frequency).",
    )
    min_documents: int = Field(
        default=2, ge=1, description="For cca and lsa: a feature that occurs in fewer documents is dropped."
    )
    max_document_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="For cca and lsa: a feature that occurs in a larger share of the documents is dropped.",
    )
    idf_power: float = Field(
        default=2.0,
        ge=0,
        le=4,
        description="For cca and lsa: exponent of the inverse document frequency in the weights.",
    )
    base_dimension: int = Field(
        default=400, ge=8, le=4096, description="For cca: rank of the SVD before the halves are compared"
    )
    ridge: float = Field(
        default=0.2,
        gt=0,
        description="For cca: added to the halves' covariance, in units of its mean eigenvalue. More favours strong "
        "axes",
    )
    correlation_power: float = Field(
        default=3.0, ge=0, le=10, description="For cca: exponent of a direction's correlation in its weight"
    )
    lsa_dimension: int = Field(default=100, ge=8, le=4096, description="For cca+lsa: dimensions of the part from lsa")
    lsa_weight: float = Field(
        default=0.7,
        gt=0,
        le=10,
        description="For cca+lsa: length of the part from lsa, where that from cca has length 1",
    )
    remove_common_component: bool = Field(
        default=False,
        description="For lsa: subtract the mean vector of the fitted documents before the last normalisation",
    )
    svd_iterations: int = Field(
        default=2, ge=0, le=20, description="For cca and lsa: power iterations of the randomised SVD"
    )
    fit_documents: int = Field(
        default=50_000, ge=10, description="documents that the space is fitted on, drawn evenly from the landed corpus"
    )
    max_chars: int = Field(
        default=20_000, ge=0, description="characters read from the start of each document; 0 reads it whole"
    )
    model: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        description="For sentence-transformers: name or folder of the encoder",
    )
    batch_size: int = Field(default=64, ge=1, description="For sentence-transformers: documents per batch")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="For sentence-transformers: precision; auto is bfloat16 on a GPU, float32 elsewhere"
    )
    device: str | None = Field(
        default=None, description="For sentence-transformers: torch device; not set: a GPU if there is one"
    )
    most_without_vector: float = Field(
        default=0.02,
        ge=0,
        le=1,
        exclude=True,
        description="For sentence-transformers: largest share of a snapshot's documents that are left out because the "
        "encoder gives vectors that are not finite for them; beyond it the snapshot fails",
    )
    seed: int = Field(default=0, ge=0, description="seed of the randomised SVD and of the fit sample")

    @property
    def fewest_documents(self) -> int:
        """Documents below which the dimension cannot be fitted; an encoder that comes fitted needs one."""
        if self.method == "sentence-transformers":
            return 1
        return max(self.dimension, self.lsa_dimension) if self.method == "cca+lsa" else self.dimension

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.char_ngrams is not None and not 1 <= self.char_ngrams[0] <= self.char_ngrams[1] <= 8:
            raise ValueError(f"char_ngrams is {self.char_ngrams}, expected 1 <= shortest <= longest <= 8, or not set")
        if self.max_features < self.dimension:
            raise ValueError(f"max_features is {self.max_features}, less than dimension {self.dimension}")
        if self.method.startswith("cca") and self.base_dimension < self.dimension:
            raise ValueError(f"base_dimension is {self.base_dimension}, less than dimension {self.dimension}")
        return self
