"""Which embedder the settings name: fitting one, and opening one that was saved."""

import json
from pathlib import Path

from gem_assets.corpus.text.features import Texts
from gem_assets.embedding.base import DESCRIPTION_FILE, Embedder, Progress
from gem_assets.embedding.config import EmbeddingConfig


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
