"""Tokenise documents with any `tokenizers` JSON file.

Text stays text. A document that quotes `<|endoftext|>` must not end there, whatever kind the tokenizer is: added tokens
are cut out before the model sees the text, and word-level, WordPiece and Unigram vocabularies also match a control
token that stands in the vocabulary itself. So the tokenizer that encodes is loaded with every control token under a
name that no text can hold; its ids stay what they were.
"""

import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

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
_USUAL_CONTROLS = frozenset(
    (*_USUAL_EOS, "<s>", "<bos>", "<pad>", "<unk>", "<mask>", "<sep>", "<cls>", "<start_of_turn>", "<end_of_turn>")
)
# <|im_start|>, DeepSeek's <｜User｜>, [INST], [/INST], [TOOL_CALLS], <<SYS>>, <</SYS>>; not markup such as <table>
_CONTROL = re.compile(r"<[|｜].*[|｜]>|\[/?[A-Z][A-Z0-9_ ]*\]|<</?[A-Z]+>>")


class TextTokenizer:
    """A tokenizer and the token that it puts after each document.

    Raises ExportError if the file is not a tokenizer or has no such token.

    Parameters
    ----------
    path
        `tokenizers` JSON file.
    eos_token
        Token after a document; None takes the first of the usual names that the vocabulary holds.

    ``vocab_size`` is one more than the largest id, added tokens included. Ids may have gaps, so it can be more than the
    number of tokens; the width of a binary follows from it.
    """

    def __init__(self, path: Path, eos_token: str | None = None) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            named = Tokenizer.from_str(text)
            vocabulary: dict[str, int] = named.get_vocab(with_added_tokens=True)
        except Exception as error:  # the library raises plain Exception on a bad file
            raise ExportError(f"{path} is not a `tokenizers` JSON file: {error}") from error
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        names = (eos_token,) if eos_token is not None else _USUAL_EOS
        ids = [i for i in (named.token_to_id(name) for name in names) if i is not None]
        if not ids:
            raise ExportError(
                f"{path} has none of the tokens {', '.join(names)}; name its end-of-document token with eos_token"
            )
        self.eos_id = int(ids[0])
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(_without_controls(json.loads(text), eos_token)))
        except Exception as error:
            raise ExportError(
                f"{path}: its control tokens cannot be kept apart from text that looks like them: {error}"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Encode documents, one after the other; text that looks like a control token is encoded as text.

        Returns the token ids of all documents in a row, each followed by the end-of-document token, and the (n,)
        lengths with it.
        """
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        lengths = np.array([len(e.ids) + 1 for e in encoded], dtype=np.int64)
        ids = np.full(int(lengths.sum()), self.eos_id, dtype=np.uint32)
        start = 0
        for e, length in zip(encoded, lengths.tolist(), strict=True):
            ids[start : start + length - 1] = e.ids
            start += length
        return ids, lengths


def _without_controls(spec: dict[str, Any], eos_token: str | None) -> dict[str, Any]:
    """Return the JSON of a tokenizer with its control tokens renamed to what no text can hold; ids stay."""
    added = cast("list[dict[str, Any]]", spec.get("added_tokens") or [])
    model = cast("dict[str, Any]", spec["model"])
    vocabulary = cast("dict[str, int] | list[tuple[str, float]]", model["vocab"])
    controls = {str(one["content"]) for one in added if one["special"] or _is_control(str(one["content"]))}
    if "merges" not in model:
        # all other kinds match a piece of the vocabulary as a whole; a BPE reaches it by merges alone
        pieces = vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary)
        controls |= {piece for piece in pieces if _is_control(piece)}
    if eos_token is not None and (_is_control(eos_token) or any(one["content"] == eos_token for one in added)):
        controls.add(eos_token)
    # a name is never seen in a result, only its id: drawing it again each time changes nothing
    salt = secrets.token_hex(16)
    names = {name: f"{salt}-{number}" for number, name in enumerate(sorted(controls))}
    for one in added:
        one["content"] = names.get(one["content"], one["content"])
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): i for piece, i in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not names.keys() & _parts(merge)]
    return spec


def _parts(merge: str | list[str]) -> set[str]:
    """Return both sides of a BPE merge and what it makes."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return {left, right, left + right}


def _is_control(token: str) -> bool:
    return token in _USUAL_CONTROLS or _CONTROL.fullmatch(token) is not None
