"""What the search finds: planted items of the standard library's help texts, and what must not be flagged."""

import argparse
import asyncio
import collections
import datetime
import email.message
import inspect
import logging
import pathlib
import re
import subprocess
import unittest
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.decontaminate import WAYS, negatives, plant, quoting_items, rewrapped, score, search
from gem_assets.decontamination.config import DecontaminationConfig
from gem_assets.decontamination.index import SHARED_BY, build_index
from gem_assets.decontamination.items import BenchmarkError, Item
from gem_assets.decontamination.search import FLAG_SCHEMA, search_shards, word_weights

CONFIG = DecontaminationConfig()
EACH = 40


def paragraphs() -> list[str]:
    """Paragraphs of the help topics that differ from each other."""
    found = {" ".join(part.split()): part for text in topics.values() for part in text.split("\n\n")}
    return [part for _, part in sorted(found.items()) if 25 <= len(part.split()) <= 80]


def licences() -> list[str]:
    own = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    return [part for part in re.split(r"\n\n\s+(?=\d+\. )", own) if len(part.split()) > 60]


def others() -> list[str]:
    """Docstrings, which are none of the help topics."""
    modules = (argparse, asyncio, collections, datetime, email.message, logging, pathlib, subprocess, unittest)
    found = {inspect.getdoc(one) for module in modules for _, one in inspect.getmembers(module)}
    return sorted(text for text in found if text and len(text.split()) > 20)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    items = [Item("help", "test", str(at), text) for at, text in enumerate(paragraphs())]
    searchable = build_index([*items, *quoting_items(licences())], CONFIG.ngram, CONFIG.max_ngrams)
    chosen = [item for item in searchable.items if item.benchmark == "help"]
    clean = others()
    documents, planted = plant(chosen, clean, EACH)
    everything = {**{f"clean:{at}": text for at, text in enumerate(clean)}, **negatives(licences(), clean), **documents}
    return score(search(everything, searchable, tmp_path_factory.mktemp("found") / "shards"), planted)


#: Parts of a short item that stand apart, or between changed words, may be shorter than an n-gram.
LESS = {"between_4x": 0.85, "edited": 0.85}


@pytest.mark.parametrize("way", [*WAYS])
def test_planted_items_are_found(figures: dict[str, float], way: str):
    assert figures[f"recall_{way}"] >= LESS.get(way, 0.96)


def test_licences_quotations_and_other_texts_are_not_flagged(figures: dict[str, float]):
    assert figures["precision"] >= 0.95


ITEM = "Which river rises in the northern hills and turns east before the old mill, as the map of the county shows?"
WORDS = len(ITEM.split())


def found_in(folder: Path, documents: dict[str, str], items: list[str], **given: object) -> list[dict[str, object]]:
    config = DecontaminationConfig.model_validate(given)
    searchable = build_index([Item("quiz", "", str(i), t) for i, t in enumerate(items)], config.ngram, 10**6)
    table = pa.table({"doc_id": list(documents), "source": ["s"] * len(documents), "text": list(documents.values())})
    half = table.num_rows // 2
    (folder / "scratch").mkdir()
    files = [folder / "part-0.parquet", folder / "part-1.parquet"]
    for part, path in zip((table.slice(0, half), table.slice(half)), files, strict=True):
        pq.write_table(part.set_column(2, "text", part.column("text").cast(pa.large_string())), path)
    found = search_shards(files, searchable, config, folder / "scratch")
    assert found.flags.schema.equals(FLAG_SCHEMA)
    assert found.documents == len(documents)
    assert found.sources == ({"s": len(documents)} if documents else {})
    return found.flags.to_pylist()


def test_the_span_is_the_item_whatever_stands_before_it(tmp_path: Path):
    text = f"Ärger, 北京 and 🙂 come first. {rewrapped(ITEM)} Then the rest."
    (row,) = found_in(tmp_path, {"a": text, "b": "nothing of it at all"}, [ITEM])
    assert (row["doc_id"], row["benchmark"], row["item"], row["score"]) == ("a", "quiz", "0", 1.0)
    assert text[int(str(row["start"])) : int(str(row["end"]))] == rewrapped(ITEM).rstrip("?")


def test_scripts_without_blanks_are_searched_by_character(tmp_path: Path):
    item = "下面哪一条河流发源于北方的山丘并在旧磨坊前向东转弯"
    (row,) = found_in(tmp_path, {"a": f"前言。{item[:12]}\n{item[12:]}。后记"}, [item])
    assert row["score"] == 1.0


def test_the_score_is_the_part_of_the_item_that_is_there(tmp_path: Path):
    half = " ".join(ITEM.split()[: WORDS // 2 + 1])
    assert found_in(tmp_path, {"a": half}, [ITEM]) == []
    (tmp_path / "again").mkdir()
    (row,) = found_in(tmp_path / "again", {"a": half}, [ITEM], threshold=0.3)
    assert row["score"] == pytest.approx((WORDS // 2 + 1) / WORDS, abs=0.02)


def test_parts_far_apart_in_a_long_page_do_not_add_up(tmp_path: Path):
    words = ITEM.split()
    page = f"{' '.join(words[:11])} {'and so on ' * 400} {' '.join(words[11:])}"
    assert found_in(tmp_path, {"a": page}, [ITEM]) == []


def test_what_many_documents_share_weighs_nothing_and_the_rest_of_the_item_decides(tmp_path: Path):
    boilerplate = "subject to the terms below you may copy share and adapt this work for any purpose even commercially"
    documents = {f"page {i}": f"{boilerplate} number {i}" for i in range(60)}
    documents["copied"] = f"{boilerplate} {ITEM}"
    documents["only the question"] = ITEM
    rows = found_in(tmp_path, documents, [f"{boilerplate} {ITEM}", boilerplate])
    assert {(row["doc_id"], row["item"]) for row in rows} == {("copied", "0"), ("only the question", "0")}


def test_an_item_that_is_boilerplate_as_a_whole_is_named(tmp_path: Path):
    text = "subject to the terms below you may copy share and adapt this work for any purpose"
    searchable = build_index([Item("quiz", "", "0", text), Item("quiz", "", "1", ITEM)], 8, 10**6)
    found = search({f"{i}": f"{text} {i}" for i in range(60)}, searchable, tmp_path / "shards")
    assert found.boilerplate == (0,)
    assert found.flags.num_rows == 0


def test_a_whole_benchmark_that_was_copied_often_is_still_found(tmp_path: Path):
    rows = found_in(tmp_path, {f"{i}": f"copy {i}: {ITEM}" for i in range(15)}, [ITEM])
    assert len(rows) == 15


def test_items_that_cannot_be_searched_are_named_with_the_reason():
    texts = [ITEM, "two words", "", f"  {ITEM.upper()} "]
    found = build_index([Item("quiz", "test", str(i), text) for i, text in enumerate(texts)], 8, 10**6)
    assert [item.id for item in found.items] == ["0"]
    assert found.not_searched.to_pylist() == [
        {"benchmark": "quiz", "split": "test", "item": item, "reason": reason}
        for item, reason in (
            ("1", "it has 2 words, fewer than the n-gram of 8"),
            ("2", "it has no text"),
            ("3", "its text is that of quiz test 0, which is searched"),
        )
    ]


def test_the_wording_of_a_benchmark_is_no_evidence_of_an_item(tmp_path: Path):
    frame = "read the passage below with care and then choose the one answer that fits best of the following"
    numbers = range(SHARED_BY + 5)
    items = [f"{frame} river {i} flows past town {i * 7} on its way to sea {i * 11} of the map" for i in numbers]
    rows = found_in(tmp_path, {"a": frame, "b": f"{frame} and nothing else"}, items, threshold=0.1)
    assert rows == []
    searchable = build_index([Item("quiz", "", str(i), f"{frame} {i}") for i in range(SHARED_BY + 5)], 8, 10**6)
    assert searchable.not_searched.num_rows == 0, "the last n-gram of each is its own"
    alike = [Item("quiz", "", str(i), f"{i} {frame}" if i else frame) for i in range(SHARED_BY + 5)]
    assert build_index(alike, 8, 10**6).not_searched.column("reason").to_pylist() == [
        f"each of its n-grams is in more than {SHARED_BY} items"
    ]


def test_more_ngrams_than_allowed_are_refused_before_the_index_is_built():
    with pytest.raises(BenchmarkError, match=r"hold 14 n-grams, more than decontamination\.max_ngrams = 13 allows"):
        build_index([Item("quiz", "", "0", ITEM)], 8, WORDS - 8)


def test_no_documents_and_no_items_give_no_flags(tmp_path: Path):
    assert found_in(tmp_path, {}, [ITEM]) == []
    (tmp_path / "more").mkdir()
    assert found_in(tmp_path / "more", {"a": ITEM}, ["too short"]) == []


def test_rare_ngrams_weigh_more_than_frequent_ones():
    index = build_index([Item("quiz", "", "0", ITEM)], 8, 10**6).index
    rare = word_weights(index, np.zeros(len(index.known), np.int64), 1000, CONFIG)
    frequent = word_weights(index, np.full(len(index.known), 9), 1000, CONFIG)
    assert rare == pytest.approx(np.log(1001))
    assert frequent == pytest.approx(np.log(1 + 1000 / 9))
    assert not word_weights(index, np.full(len(index.known), 21), 1000, CONFIG).any()


def test_an_index_is_read_back_as_it_was(tmp_path: Path):
    index = build_index([Item("quiz", "", str(i), f"{ITEM} {i}") for i in range(3)], 8, 10**6).index
    index.save(tmp_path)
    again = type(index).load(tmp_path)
    assert again.n_bytes == index.n_bytes
    for name in ("known", "buckets", "posting_starts", "postings", "item_starts", "item_grams"):
        assert np.array_equal(getattr(index, name), getattr(again, name))
