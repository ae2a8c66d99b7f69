"""Which clusters a tokenizer was trained on: the merges of a ``tokenizer.json`` held against the clusters' own text.

:mod:`~gem_assets.mixing.tokenizer.bpe` infers shares from merges; here are the two sides of it that are ours. Merges
are read from the file, and text is cut into words by that tokenizer's own rules, since a merge never crosses them. Text
of the clusters comes from the prepared tokens, up to so many bytes per cluster.

The answer is in bytes, as trainers count pairs in them, and it is the mixture of *these* texts that explains the merges
best. A tokenizer that was trained on something else has such a mixture, too; then the two halves of the text
disagree, and merges stay unexplained. Only byte-level BPE can be read: others start from characters or pieces.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gem_assets.mixing.tokenizer.bpe import Pair, infer_mixture
from gem_assets.proxy.contents import DOCUMENTS
from gem_assets.proxy.pool import TokenPool
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer
from gem_assets.types import Floats

Split = Callable[[str], Counter[bytes]]

MERGES = 400
SAMPLE_BYTES = 1_000_000


class TokenizerFileError(ValueError):
    """A tokenizer whose merges cannot be read; the message names the file and what it holds."""


@dataclass(frozen=True)
class TokenizerMixture:
    """What a tokenizer was trained on, as far as these clusters can tell.

    Attributes
    ----------
    clusters : int64 array, shape (A,)
        Clusters with text.
    shares : float64 array, shape (A,)
        Share of each in the bytes of the training text.
    halves : float64 array, shape (2, A)
        The same from one half of the documents each.
    violation
        Pair counts per byte by which a step stays unexplained, mean over the steps.
    sample_bytes : int64 array, shape (A,)
        Text that was looked at.
    """

    clusters: NDArray[np.int64]
    shares: Floats
    halves: Floats
    violation: float
    steps: int
    sample_bytes: NDArray[np.int64]


def read_merges(path: Path, most: int = MERGES) -> tuple[list[Pair], Split]:
    """Return the first merges of a byte-level BPE, and how that tokenizer counts the words of a text.

    Raises TokenizerFileError when the file is no ``tokenizer.json``, or of another kind of model.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        model: dict[str, Any] = content["model"]
        merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model.get("merges") or ()]
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # tokenizers raises plain exceptions
        raise TokenizerFileError(f"{path} is not a tokenizer.json: {error}") from error
    if model.get("type", "BPE") != "BPE" or "ByteLevel" not in _kinds(content.get("pre_tokenizer")):
        kinds = ", ".join(_kinds(content.get("pre_tokenizer"))) or "no pre-tokenizer"
        raise TokenizerFileError(
            f"{path} is a {model.get('type')} tokenizer with {kinds}; only merges of byte-level BPE can be read"
        )
    if not merges:
        raise TokenizerFileError(f"{path} has no merges; there is nothing to infer from")
    byte_of = {ord(char): byte for char, byte in byte_alphabet().items()}

    def as_bytes(piece: str) -> bytes:
        return bytes(byte_of[ord(char)] for char in piece)

    def count_words(text: str) -> Counter[bytes]:
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        pieces = Counter(piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
        return Counter({as_bytes(piece): number for piece, number in pieces.items()})

    try:
        return [(as_bytes(left), as_bytes(right)) for left, right in merges[:most]], count_words
    except (KeyError, ValueError) as error:
        raise TokenizerFileError(
            f"{path} has a merge outside the byte alphabet or not of two parts: {error}"
        ) from error


def byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level BPE: itself where it shows, else the next one from 256."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def infer_tokenizer_mixture(
    prepared: Path, tokenizer: Path, *, merges: int = MERGES, sample_bytes: int = SAMPLE_BYTES
) -> TokenizerMixture:
    """Infer which clusters a tokenizer was trained on.

    Parameters
    ----------
    tokenizer
        ``tokenizer.json`` of a byte-level BPE.
    merges
        The first merges, which are the most certain.
    sample_bytes
        Text looked at, a cluster.

    Raises
    ------
    TokenizerFileError
        See :func:`read_merges`.
    ValueError
        When fewer than two clusters hold two documents.
    """
    learned, count_words = read_merges(tokenizer, merges)
    halves = _sample(prepared, count_words, sample_bytes)
    clusters = np.array([k for k, (one, other) in enumerate(halves) if one and other], np.int64)
    if len(clusters) < 2:
        raise ValueError(f"{len(clusters)} clusters hold two documents or more; there is nothing to tell apart")
    used = [halves[int(k)] for k in clusters]
    whole = infer_mixture([one + other for one, other in used], learned)
    apart = [infer_mixture([half[i] for half in used], learned).shares for i in (0, 1)]
    read = [sum(len(word) * number for word, number in (one + other).items()) for one, other in used]
    return TokenizerMixture(
        clusters, whole.shares, np.array(apart), whole.violation, whole.steps, np.array(read, np.int64)
    )


def _sample(prepared: Path, count_words: Split, sample_bytes: int) -> list[Sequence[Counter[bytes]]]:
    """Word counts of every cluster, its documents dealt to two halves in turn."""
    pool, own = TokenPool.load(prepared), ProxyTokenizer.load(prepared)
    table = pq.read_table(prepared / DOCUMENTS, columns=["cluster", "tokens"])
    cluster, lengths = table.column("cluster").to_numpy(), table.column("tokens").to_numpy()
    documents = EncodedDocuments(np.asarray(pool.tokens), np.concatenate([[0], np.cumsum(lengths)]))
    found: list[Sequence[Counter[bytes]]] = []
    for k in range(pool.domains):
        halves, room = (Counter[bytes](), Counter[bytes]()), sample_bytes
        for number, row in enumerate(np.flatnonzero(cluster == k)):
            if room <= 0:
                break
            text = own.decode(documents.document(int(row)))
            room -= len(text.encode())
            halves[number % 2].update(count_words(text))
        found.append(halves)
    return found


def _kinds(node: Any) -> list[str]:
    """Types in a pre-tokenizer, sequences taken apart."""
    if not isinstance(node, dict):
        return []
    inner: list[Any] = node.get("pretokenizers") or []  # type: ignore[assignment]
    return [str(node.get("type")), *(kind for part in inner for kind in _kinds(part))]  # type: ignore[arg-type]
