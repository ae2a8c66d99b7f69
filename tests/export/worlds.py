"""A small corpus with clusters of very different document lengths, and a tokenizer for it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.ordering.worlds import SmallRecipe, recipe

WORDS = [f"w{i}" for i in range(300)]
EOS = "<|endoftext|>"
# cluster: (documents, words of a document)
SIZES = {0: (900, 12), 2: (60, 400), 5: (220, 60), 9: (12, 150)}
SHARES = {0: 0.3, 2: 0.4, 5: 0.2, 9: 0.1}
LENGTH = 32


def word_tokenizer(path: Path) -> Path:
    """A word-level tokenizer file: fast, and one token a word."""
    vocabulary = {word: i for i, word in enumerate([EOS, "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return path


@dataclass(frozen=True)
class World:
    documents: pa.Table
    tokenizer: Path
    mixture: SmallRecipe

    def batches(self, rows: int = 97) -> Iterator[pa.RecordBatch]:
        yield from self.documents.to_batches(max_chunksize=rows)

    def texts(self, cluster: int) -> Counter[str]:
        chosen = self.documents.filter(pa.array(self.documents.column("cluster").to_numpy() == cluster))
        return Counter(chosen.column("text").to_pylist())

    def decode(self, ids: np.ndarray) -> str:
        return " ".join(WORDS[i - 2] for i in ids.tolist())


def build(folder: Path, *, shares: dict[int, float] | None = None, budget: int = 40_000, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    rows = []
    for cluster, (count, words) in SIZES.items():
        for _ in range(count):
            n = int(rng.integers(max(1, words // 2), words * 3 // 2 + 1))
            text = " ".join(WORDS[j] for j in rng.integers(0, len(WORDS), n))
            rows.append((cluster, text, n))
    rng.shuffle(rows)
    table = pa.table(
        {
            "doc_id": pa.array([f"{i:032x}" for i in range(len(rows))]),
            "cluster": pa.array([r[0] for r in rows], pa.int16()),
            "text": pa.array([r[1] for r in rows], pa.large_string()),
            "n_tokens": pa.array([r[2] for r in rows], pa.int64()),
            "url": pa.array([f"https://www.site{r[0]}.org/{i}" for i, r in enumerate(rows)]),
            "q": pa.array(rng.random(len(rows)), pa.float32()),
        }
    )
    return World(table, word_tokenizer(folder / "tokenizer.json"), recipe(shares or SHARES, budget))


def documents_of(ids: np.ndarray, eos: int = 0) -> list[np.ndarray]:
    """Split a row of tokens after each end-of-document token, which is left out."""
    ends = np.flatnonzero(ids == eos)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return [ids[a:b] for a, b in zip(starts, ends, strict=True)]
