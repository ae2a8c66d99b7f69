"""Which embedder the settings name: fitting one, and opening one that was saved."""

import json
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from gem_assets.corpus.text.features import Texts
from gem_assets.embedding.base import DESCRIPTION_FILE, Embedder, Progress
from gem_assets.embedding.config import METHODS, EmbeddingConfig


class EmbedderClass(Protocol):
    """What the module of an embedder defines as ``EMBEDDER``."""

    def fit(self, texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Embedder:
        """Fit on the texts, or open an encoder that is already trained."""
        ...

    def load(self, directory: Path) -> Embedder:
        """Open what :meth:`Embedder.save` wrote."""
        ...


def fit_embedder(texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Embedder:
    """Fit (cca, lsa, cca+lsa) or open (sentence-transformers) the embedder that the settings name.

    Parameters
    ----------
    texts : Array, ChunkedArray or sequence of str
        The fit sample; at most ``config.fit_documents`` of them are read, evenly spaced. Not read at all by an
        encoder that is already trained.
    progress : callable or None
        Receives (documents read, documents to read) while the fit sample is read.

    Raises
    ------
    ValueError
        If the sample has fewer usable documents or features than the settings need.
    ImportError
        If sentence-transformers is asked for and not installed.
    """
    return _embedder(config.method).fit(texts, config, progress)


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
    if method not in METHODS:
        raise ValueError(f"{path}: method is {method!r}, expected one of {', '.join(METHODS)}")
    return _embedder(method).load(Path(directory))


def _embedder(method: str) -> EmbedderClass:
    """The class of a method; its module is named after it and imported when asked for."""
    name = method.replace("+", "_").replace("-", "_")
    return cast(EmbedderClass, import_module(f"gem_assets.embedding.{name}").EMBEDDER)
