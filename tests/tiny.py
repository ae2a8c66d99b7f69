"""A tiny real corpus for tests of the whole graph: paragraphs of Python's own help topics, in three formats."""

import gzip
import json
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq

SETTINGS = """
engine = "inline"
[corpus]
min_text_chars = 80
[embedding]
dimension = 32
fit_documents = 2000
[teacher]
k = 6
seed_documents = 2000
n_init = 2
init_rows = 512
anneal_iter = 10
[student]
hash_bits = 14
epochs = 4
[labels]
escalate_margin = 0.2
[taxonomy]
exemplars = 2
[proxy]
mixtures = 14
repeats = 1
device = "cpu"
tokenizer = { vocab = 400, sample_bytes = 100000 }
pool = { domain_tokens = 20000, windows = 2 }
model = { width = 16, layers = 1, heads = 2, context = 32 }
training = { tokens = 1024, evaluate_at = [1.0] }
[proxy.confirmation]
seeds = 2
model = { width = 16, layers = 1, heads = 2, context = 32 }
training = { tokens = 2048, evaluate_at = [1.0] }
"""


def passages() -> list[dict[str, str]]:
    """Paragraph groups of the help topics: url, text, source."""
    found = []
    for name, text in sorted(topics.items()):
        blocks = [b.strip() for b in text.split("\n\n") if b.strip()]
        for start in range(0, len(blocks), 3):
            body = "\n\n".join(blocks[start : start + 3])
            if len(body) > 120:
                found.append({"url": f"https://help.invalid/{name}#{start}", "text": body, "source": name[:1]})
    return found


def write_settings(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "gem.toml").write_text(SETTINGS, encoding="utf-8")


def land_parquet(root: Path, snapshot: str, rows: list[dict[str, str]]) -> Path:
    folder = root / "landing" / snapshot
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "pages.parquet")
    (folder / "_SUCCESS").touch()
    return folder


def land_jsonl(root: Path, snapshot: str, rows: list[dict[str, str]], *, damaged: bool = False) -> Path:
    folder = root / "landing" / snapshot
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    if damaged:
        lines[3] = lines[3][: len(lines[3]) // 2]
        (folder / "empty.jsonl").touch()
        (folder / "broken.parquet").write_bytes(b"PAR1 this is not a parquet file")
    data = gzip.compress("\n".join(lines).encode(), mtime=0)
    (folder / "pages.jsonl.gz").write_bytes(data)
    (folder / "_SUCCESS").touch()
    return folder
