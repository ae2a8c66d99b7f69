"""Recall, precision and speed of the search for benchmark text.

``python -m benchmarks.decontaminate [--quick]``. Items are 10,000 real texts: news of ``ag_news_test`` and passages of
``web_topics_formats``, and with them items that quote a licence or a famous sentence and ask about it. Some of them are
planted among the documents of ``webmix_dev``, each in one of these ways:

*verbatim*; *rewrapped* at 8 words; *case* changed; *punctuation* of another script; *diluted_1x* and *diluted_4x*, with
other text of the same and of four times the length around it; *between_4x*, with that text between its thirds;
*edited*, with every twentieth word replaced. *Negatives* are documents with licences and quotations.

A flag is right if its item was planted in its document. Flags on documents that nothing was planted in are printed, for
a reader to judge. ``docs_per_s_core`` is over ``webmix_dev`` as it is, in one process, compiled before. The last line
is one JSON object. ``--quick``: 2,000 items, 4,000 documents, and no index of ten million n-grams.
"""

import argparse
import json
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared_data import shared_folder
from gem_assets.decontamination.config import DecontaminationConfig
from gem_assets.decontamination.index import Searchable, build_index
from gem_assets.decontamination.items import Item
from gem_assets.decontamination.search import Found, search_shards

CONFIG = DecontaminationConfig()
PLANTED_EACH = 200
LARGE = 10_000_000
OTHER_SIGNS = str.maketrans({",": "\uff0c", ".": "\u3002", "?": "\uff1f", "!": "\uff01", ":": "\uff1a", ";": "\uff1b",
                             "(": "\uff08", ")": "\uff09", '"': "\u201d", "'": "\u2019", "-": "\u2014"})  # fmt: skip
QUOTATIONS = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife.",
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, "
    "and dedicated to the proposition that all men are created equal.",
    "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer the slings and arrows of "
    "outrageous fortune, or to take arms against a sea of troubles.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator "
    "with certain unalienable Rights.",
    "In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was "
    "upon the face of the deep.",
)
QUESTION = (
    "Which author wrote the passage that is quoted above, in what year did it first appear in print, and which of its "
    "words does a modern reader most often misquote? Name the edition, and give two further sentences of the same "
    "chapter that support your answer."
)


def rewrapped(text: str, words: int = 8) -> str:
    """Break the lines of a text after so many words."""
    parts = text.split()
    return "\n".join(" ".join(parts[at : at + words]) for at in range(0, len(parts), words))


def around(text: str, other: str, times: int) -> str:
    """Put other text of ``times`` the length around a text."""
    filling = _filling(text, other, times)
    half = len(filling) // 2
    return f"{' '.join(filling[:half])}\n{text}\n{' '.join(filling[half:])}"


def between(text: str, other: str, times: int) -> str:
    """Put other text of ``times`` the length between the thirds of a text."""
    own, filling = text.split(), _filling(text, other, times)
    third, half = -(-len(own) // 3), len(filling) // 2
    parts = own[:third], filling[:half], own[third : 2 * third], filling[half:], own[2 * third :]
    return "\n".join(" ".join(part) for part in parts)


def edited(text: str, every: int = 20) -> str:
    """Replace every so many words."""
    return " ".join("altered" if at % every == every // 2 else word for at, word in enumerate(text.split()))


def _filling(text: str, other: str, times: int) -> list[str]:
    wanted, words = times * len(text.split()), other.split()
    return (words * (wanted // max(len(words), 1) + 1))[:wanted]


WAYS: Mapping[str, Callable[[str, str], str]] = {
    "verbatim": lambda text, _: text,
    "rewrapped": lambda text, _: rewrapped(text),
    "case": lambda text, _: text.upper(),
    "punctuation": lambda text, _: text.translate(OTHER_SIGNS),
    "diluted_1x": lambda text, other: around(text, other, 1),
    "diluted_4x": lambda text, other: around(text, other, 4),
    "between_4x": lambda text, other: between(text, other, 4),
    "edited": lambda text, _: edited(text),
}
"""How an item is planted, from its text and some other text."""


def quoting_items(licences: Sequence[str]) -> list[Item]:
    """Return items that quote something that documents quote too, and ask about it."""
    quoted = [*QUOTATIONS, *(" ".join(text.split()[:40]) for text in licences)]
    return [Item("quoting", "test", str(at), f"{text} {at}. {QUESTION}") for at, text in enumerate(quoted)]


def negatives(licences: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return documents that hold what the quoting items quote, by id."""
    found = {f"licence-{at}": text for at, text in enumerate(licences)}
    for at, text in enumerate(QUOTATIONS):
        found[f"quotation-{at}"] = text
        found[f"quotation-in-page-{at}"] = f"{others[2 * at]}\n{text}\n{others[2 * at + 1]}"
    return found


def plant(
    items: Sequence[Item], others: Sequence[str], each: int, seed: int = 0
) -> tuple[dict[str, str], dict[str, Item]]:
    """Return documents with items planted in every way, and the item that each holds; ids begin with the way."""
    chosen = np.random.default_rng(seed).permutation(len(items))
    documents: dict[str, str] = {}
    planted: dict[str, Item] = {}
    for number, (way, make) in enumerate(WAYS.items()):
        for at in range(each):
            place = number * each + at
            item = items[int(chosen[place % len(items)])]
            documents[f"{way}:{at}"] = make(item.text, others[place % len(others)])
            planted[f"{way}:{at}"] = item
    return documents, planted


def score(found: Found, planted: Mapping[str, Item]) -> dict[str, float]:
    """Return recall by way and precision over all flags."""
    flags = [(row["doc_id"], row["benchmark"], row["item"]) for row in found.flags.to_pylist()]
    right = {(name, item.benchmark, item.id) for name, item in planted.items()}
    met = Counter(name.split(":")[0] for name, *rest in right & set(flags) if rest)
    all_of = Counter(name.split(":")[0] for name in planted)
    return {
        **{f"recall_{way}": met[way] / all_of[way] for way in all_of},
        "precision": len(right & set(flags)) / max(len(flags), 1),
    }


def search(documents: Mapping[str, str], searchable: Searchable, folder: Path) -> Found:
    """Search texts that are not in shards yet."""
    ids, texts = list(documents), list(documents.values())
    table = pa.table(
        {"doc_id": ids, "source": pa.array(["made"] * len(ids)), "text": pa.array(texts, pa.large_string())}
    )
    folder.mkdir()
    scratch = folder / "scratch"
    scratch.mkdir()
    pq.write_table(table, folder / "part-00000.parquet")
    return search_shards([folder / "part-00000.parquet"], searchable, CONFIG, scratch)


def _texts(name: str) -> list[str]:
    return pq.read_table(shared_folder() / "corpora" / f"{name}.parquet", columns=["text"])["text"].to_pylist()


def _items(wanted: int) -> list[Item]:
    passages = (" ".join(text.split()[20:80]) for text in _texts("labeled/web_topics_formats"))
    web = [Item("web", "test", str(at), text) for at, text in enumerate(passages) if len(text.split()) == 60]
    news = [Item("news", "test", str(at), text) for at, text in enumerate(_texts("labeled/ag_news_test"))]
    return [*web[: wanted // 4], *news[: wanted - wanted // 4]][:wanted]


def _licences() -> list[str]:
    own = Path(__file__).parents[1] / "LICENSE"
    return [part for part in re.split(r"\n\n\s+(?=\d+\. )", own.read_text(encoding="utf-8")) if len(part.split()) > 60]


def large(folder: Path) -> dict[str, float]:
    """Build and search an index of ten million n-grams of random words."""
    chance, words = np.random.default_rng(0), np.array([f"w{i:x}" for i in range(50_000)])
    length, before = 400, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    per_item = length - CONFIG.ngram + 1
    items = [
        Item("large", "", str(i), " ".join(words[chance.integers(0, len(words), length)]))
        for i in range(LARGE // per_item)
    ]
    began = time.perf_counter()
    searchable = build_index(items, CONFIG.ngram, LARGE)
    built = time.perf_counter() - began
    found = search({f"verbatim:{i}": items[i].text for i in range(100)}, searchable, folder / "large")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "large_ngrams": len(searchable.index.known),
        "large_index_mib": round(searchable.index.n_bytes / 2**20, 1),
        "large_peak_mib": round(after / 2**10, 1),
        "large_peak_before_mib": round(before / 2**10, 1),
        "large_build_s": round(built, 2),
        "large_found": found.flags.num_rows / 100,
    }


def main(quick: bool) -> dict[str, Any]:
    """Measure everything and return the figures."""
    licences, webmix = _licences(), _texts("multidomain/webmix_dev")
    items = _items(2_000 if quick else 10_000)
    webmix = webmix[:4_000] if quick else webmix
    searchable = build_index([*items, *quoting_items(licences)], CONFIG.ngram, CONFIG.max_ngrams)
    searched = [item for item in searchable.items if item.benchmark != "quoting"]
    clean = {f"clean:{at}": text for at, text in enumerate(webmix)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        documents, planted = plant(searched, webmix, PLANTED_EACH)
        found = search({**clean, **negatives(licences, webmix), **documents}, searchable, folder / "planted")
        figures = score(found, planted)
        owner = {name: (item.benchmark, item.id) for name, item in planted.items()}
        rows = found.flags.to_pylist()
        wrong = [row for row in rows if owner.get(row["doc_id"]) != (row["benchmark"], row["item"])]
        for row in wrong[:20]:
            print("not planted:", row)
        speeds: list[float] = []
        for again in range(3):
            began = time.perf_counter()
            search(clean, searchable, folder / f"clean-{again}")
            speeds.append(len(clean) / (time.perf_counter() - began))
        print("way, recall")
        for name, value in figures.items():
            print(f"  {name.removeprefix('recall_'):<12} {value:.3f}")
        return {
            **{name: round(value, 4) for name, value in figures.items()},
            "docs_per_s_core": round(max(speeds)),
            "documents": len(clean),
            "items": len(searchable.items),
            "ngrams": len(searchable.index.known),
            "not_searched": searchable.not_searched.num_rows,
            "not_planted": len(wrong),
            "negatives_flagged": sum(row["doc_id"].startswith(("licence", "quotation")) for row in wrong),
            **({} if quick else large(folder)),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 items, 4,000 documents")
    print(json.dumps(main(parser.parse_args().quick)))
