"""The protocol of an embedder, and how one is saved and loaded.

An embedder is a directory: ``embedder.json`` says which class wrote it, the rest is the class's own (safetensors,
JSON; never a pickle).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from gem_assets.corpus.text.features import TOKENISER_DIGEST, Texts
from gem_assets.embedding.config import CODE_VERSION, EmbeddingConfig

DESCRIPTION_FILE: Final = "embedder.json"
Progress = Callable[[int, int], None]


@runtime_checkable
class Embedder(Protocol):
    """Text to unit vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def transform(self, texts: Texts) -> NDArray[np.float32]:
        """Unit rows, shape (n, dimension), in the order of the texts; nulls read as empty.

        A trained encoder may fail on a text: its row is NaN or zero then; see :func:`has_direction`.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the embedder into an empty directory."""
        ...


@dataclass(frozen=True)
class Embedded:
    """Vectors of a batch and the documents that gave no feature.

    Attributes
    ----------
    vectors : float32 array, shape (n, d)
        Unit rows.
    unknown : bool array, shape (n,)
        True where no feature of the document was known; the row is the fallback direction.
    """

    vectors: NDArray[np.float32]
    unknown: NDArray[np.bool_]


def has_direction(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which rows (n, d) of :meth:`Embedder.transform` are unit vectors, and neither NaN nor zero; shape (n,)."""
    return np.logical_and(np.isfinite(vectors).all(axis=1), vectors.any(axis=1))


def save_fitted(directory: Path, file: str, config: EmbeddingConfig, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the arrays of a fitted embedder and its description."""
    save_file(arrays, directory / file)
    describe(directory, config)


def describe(directory: Path, config: EmbeddingConfig) -> None:
    """Write ``embedder.json``, by which :func:`load_embedder` finds the class."""
    description = {
        "method": config.method,
        "code_version": CODE_VERSION,
        "tokeniser": TOKENISER_DIGEST,
        "config": config.model_dump(mode="json"),
    }
    (directory / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")


def load_fitted(directory: Path, file: str) -> tuple[EmbeddingConfig, dict[str, NDArray[Any]]]:
    """Read what :func:`save_fitted` wrote.

    Raises ValueError if it was fitted with another tokeniser than this library's.
    """
    description = json.loads((directory / DESCRIPTION_FILE).read_text())
    if description["tokeniser"] != TOKENISER_DIGEST:
        raise ValueError(
            f"{directory}: fitted with tokeniser {description['tokeniser']}, this library has {TOKENISER_DIGEST}; "
            "fit the embedding space again, or open it with the version that wrote it"
        )
    return EmbeddingConfig.model_validate(description["config"]), load_file(directory / file)
