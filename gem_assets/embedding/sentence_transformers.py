"""A pretrained sentence encoder as the embedder (extra ``sentence-transformers``).

Texts are sorted by length over large windows, so that a batch holds documents of like length and little is spent on
padding. Wants a GPU: about a hundred documents per second on one CPU core.
"""

import json
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from gem_assets.corpus.text.features import Texts, as_large_strings
from gem_assets.embedding.base import DESCRIPTION_FILE, Progress
from gem_assets.embedding.config import CODE_VERSION, EmbeddingConfig

_WINDOW: Final = 8192


class SentenceEmbedder:
    """A sentence-transformers model behind the embedder's interface.

    Attributes
    ----------
    config : EmbeddingConfig
        Model name or folder, batch size, precision and device.
    model_digest : str or None
        Commit of the model on its hub, where it has one.
    """

    def __init__(self, config: EmbeddingConfig, model: Any) -> None:
        self.config = config
        self._model = model
        card = getattr(model, "model_card_data", None)
        self.model_digest: str | None = getattr(card, "base_model_revision", None)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(_embedding_dimension(self._model))

    @classmethod
    def fit(cls, texts: Texts, config: EmbeddingConfig, progress: Progress | None = None) -> Self:  # noqa: ARG003
        """Open the encoder that ``config.model`` names, which is trained and reads no texts; a folder needs no network.

        Raises ImportError if sentence-transformers is not installed.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                "embedding method 'sentence-transformers' needs an extra: pip install gem-assets[sentence-transformers]"
            ) from error
        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        half = config.dtype == "bfloat16" or (config.dtype == "auto" and device.startswith("cuda"))
        model = SentenceTransformer(
            config.model, device=device, model_kwargs={"torch_dtype": torch.bfloat16 if half else torch.float32}
        )
        return cls(config, model)

    def transform(self, texts: Texts) -> NDArray[np.float32]:
        """Unit rows, shape (n, dimension); nulls read as empty.

        The row is NaN where the encoder gives a component that is not finite, and zero where it gives zeros.
        """
        chunked = as_large_strings(texts)
        out = np.empty((len(chunked), self.dimension), np.float32)
        for lo in range(0, len(chunked), _WINDOW):
            window = cast("list[str]", chunked.slice(lo, _WINDOW).to_pylist())
            if self.config.max_chars:
                window = [text[: self.config.max_chars] for text in window]
            order = sorted(range(len(window)), key=lambda i: (-len(window[i]), i))
            for first in range(0, len(order), self.config.batch_size):
                batch = order[first : first + self.config.batch_size]
                with torch.inference_mode():
                    vectors = self._model.encode(
                        [window[i] for i in batch],
                        batch_size=len(batch),
                        convert_to_tensor=True,
                        show_progress_bar=False,
                    )
                out[lo + np.array(batch)] = vectors.float().cpu().numpy()
        # in double precision: the square of a large component is not finite in single
        norms = np.sqrt(np.einsum("ij,ij->i", out, out, dtype=np.float64))
        failed = ~np.isfinite(norms)
        out /= np.where(failed | (norms == 0), 1, norms)[:, None].astype(np.float32)
        out[failed] = np.nan
        return out

    def save(self, directory: Path) -> None:
        """Write ``embedder.json`` and a copy of the encoder, so that the artifact needs no hub."""
        self._model.save_pretrained(str(directory / "model"))
        description = {
            "method": "sentence-transformers",
            "code_version": CODE_VERSION,
            "model_digest": self.model_digest,
            "config": self.config.model_dump(mode="json"),
        }
        (directory / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open the encoder from the copy beside ``embedder.json``."""
        description = json.loads((directory / DESCRIPTION_FILE).read_text())
        config = EmbeddingConfig.model_validate(description["config"])
        opened = cls.fit([], config.model_copy(update={"model": str(directory / "model")}))
        opened.config = config
        opened.model_digest = description["model_digest"]
        return opened


EMBEDDER = SentenceEmbedder


def _embedding_dimension(model: Any) -> int:
    """The method was renamed between major versions."""
    current = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    return current()
