"""The protocol of an embedder, and how one is fitted, saved and loaded.

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

from gem_assets.embedding.config import CODE_VERSION, EmbeddingConfig
from gem_assets.embedding.features import TOKENISER_DIGEST, Texts

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


def fit_embedder(texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Embedder:
    """Fit (cca, lsa, cca+lsa) or open (sentence-transformers) the embedder that the settings name.

    Parameters
    ----------
    texts : Array, ChunkedArray or sequence of str
        The fit sample; at most ``config.fit_documents`` of them are read, evenly spaced. Not read at all by an
        encoder that is already trained.
    config : EmbeddingConfig
        Which embedder.
    progress : callable or None
        Receives (documents read, documents to read) while the fit sample is read.

    Raises
    ------
    ValueError
        If the sample has fewer usable documents or features than the settings need.
    ImportError
        If sentence-transformers is asked for and not installed.
    """
    if config.method == "cca":
        from gem_assets.embedding.cca import CcaEmbedder

        return CcaEmbedder.fit(texts, config, progress)
    if config.method == "lsa":
        from gem_assets.embedding.lsa import LsaEmbedder

        return LsaEmbedder.fit(texts, config, progress)
    if config.method == "cca+lsa":
        from gem_assets.embedding.combined import CombinedEmbedder

        return CombinedEmbedder.fit(texts, config, progress)
    from gem_assets.embedding.sentence import SentenceEmbedder

    return SentenceEmbedder.open(config)


def load_embedder(directory: Path) -> Embedder:
    """Open a saved embedder.

    Raises
    ------
    FileNotFoundError
        If the directory holds none.
    ValueError
        If its description names an unknown method.
    """
    path = Path(directory) / DESCRIPTION_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no embedder here; it is written by Embedder.save()")
    method = json.loads(path.read_text())["method"]
    if method == "cca":
        from gem_assets.embedding.cca import CcaEmbedder

        return CcaEmbedder.load(Path(directory))
    if method == "lsa":
        from gem_assets.embedding.lsa import LsaEmbedder

        return LsaEmbedder.load(Path(directory))
    if method == "cca+lsa":
        from gem_assets.embedding.combined import CombinedEmbedder

        return CombinedEmbedder.load(Path(directory))
    if method == "sentence-transformers":
        from gem_assets.embedding.sentence import SentenceEmbedder

        return SentenceEmbedder.load(Path(directory))
    raise ValueError(f"{path}: method is {method!r}, expected 'cca', 'lsa', 'cca+lsa' or 'sentence-transformers'")


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

    Raises
    ------
    ValueError
        If it was fitted with another tokeniser than this library's.
    """
    description = json.loads((directory / DESCRIPTION_FILE).read_text())
    if description["tokeniser"] != TOKENISER_DIGEST:
        raise ValueError(
            f"{directory}: fitted with tokeniser {description['tokeniser']}, this library has {TOKENISER_DIGEST}; "
            "fit the embedding space again, or open it with the version that wrote it"
        )
    return EmbeddingConfig.model_validate(description["config"]), load_file(directory / file)
