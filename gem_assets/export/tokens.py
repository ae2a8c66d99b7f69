"""Tokens of documents, by any `tokenizers` JSON file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from gem_assets.export.report import ExportError

_USUAL_EOS = (
    "<|endoftext|>",
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|eos|>",
    "<|endofdocument|>",
    "[EOS]",
    "<end_of_text>",
    "[SEP]",
)


class TextTokenizer:
    """A tokenizer and the token that it puts after each document.

    Parameters
    ----------
    path
        `tokenizers` JSON file.
    eos_token
        Token after a document; None takes the first of the usual names that the vocabulary holds.

    Attributes
    ----------
    eos_id
        Its id.
    vocab_size
        Size of the vocabulary, added tokens included.

    Raises
    ------
    ExportError
        If the file is no tokenizer or has no such token.
    """

    def __init__(self, path: Path, eos_token: str | None = None) -> None:
        self.path = path
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise ExportError(f"{path} is not a `tokenizers` JSON file: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        names = (eos_token,) if eos_token is not None else _USUAL_EOS
        ids = [i for i in (self._tokenizer.token_to_id(name) for name in names) if i is not None]
        if not ids:
            raise ExportError(
                f"{path} has none of the tokens {', '.join(names)}; name its end-of-document token with eos_token"
            )
        self.eos_id = int(ids[0])

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Encode documents, one after the other.

        Returns
        -------
        Token ids of all documents in a row, each followed by the end-of-document token, and the (n,) lengths with it.
        """
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        lengths = np.array([len(e.ids) + 1 for e in encoded], dtype=np.int64)
        ids = np.full(int(lengths.sum()), self.eos_id, dtype=np.uint32)
        start = 0
        for e, length in zip(encoded, lengths.tolist(), strict=True):
            ids[start : start + length - 1] = e.ids
            start += length
        return ids, lengths
