import json

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.mixing_golden import bpe_library_error
from gem_assets.mixing.tokenizer.inference import (
    TokenizerFileError,
    byte_alphabet,
    infer_tokenizer_mixture,
    read_merges,
)
from gem_assets.proxy.config import PoolConfig, TokenizerConfig
from gem_assets.proxy.contents import write_contents
from gem_assets.proxy.pool import build_pool
from gem_assets.proxy.tokens import FILE, ProxyTokenizer

SHARES = np.array([0.6, 0.3, 0.1])


def language(seed):
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyzäöü"), 14, replace=False)
    words = ["".join(rng.choice(letters, rng.integers(3, 8))) for _ in range(400)]
    weight = 1 / np.arange(1, 401)
    return lambda n: " ".join(rng.choice(words, n, p=weight / weight.sum()))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Prepared tokens of three languages, and a tokenizer trained on other text of them in known shares."""
    prepared = tmp_path_factory.mktemp("prepared")
    languages = [language(k) for k in range(3)]
    texts = [speak(200) for speak in languages for _ in range(40)]
    own = ProxyTokenizer.train(texts, TokenizerConfig(vocab=300))
    own.save(prepared)
    clusters, ids = np.repeat([0, 1, 2], 40), pa.array([f"{i:03d}" for i in range(120)])
    config = PoolConfig(windows=1, domain_tokens=200_000)
    split = build_pool(
        own.encode(texts), clusters, np.arange(120, dtype=np.uint64), own, ["a", "b", "c"], config, context=16
    )
    split.pool.save(prepared)
    write_contents(split, ids, clusters, own.digest, prepared)
    other = tmp_path_factory.mktemp("other")
    length = 200_000
    mixed = []
    for share, speak in zip(SHARES, languages, strict=True):
        text = speak(int(share * length) // 4).encode()[: int(share * length)].decode(errors="ignore")
        mixed += [text[i : i + 4000] for i in range(0, len(text), 4000)]
    ProxyTokenizer.train(mixed, TokenizerConfig(vocab=700)).save(other)
    return prepared, other / FILE


def test_the_mixture_of_a_tokenizer_is_inferred_from_other_text(world):
    found = infer_tokenizer_mixture(*world, merges=300)
    assert found.clusters.tolist() == [0, 1, 2]
    assert found.shares == pytest.approx(SHARES, abs=0.04)
    assert found.halves == pytest.approx(np.tile(SHARES, (2, 1)), abs=0.08)
    assert found.steps == 300
    assert (found.sample_bytes > 20_000).all()


def test_text_is_read_up_to_the_bytes_that_are_asked_for(world):
    found = infer_tokenizer_mixture(*world, merges=50, sample_bytes=5_000)
    assert (found.sample_bytes < 8_000).all()


def test_the_alphabet_is_that_of_the_library():
    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert byte_alphabet()["Ġ"] == ord(" ")
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_merges_are_bytes_and_words_are_cut_as_the_tokenizer_cuts_them(world):
    merges, count_words = read_merges(world[1], 10)
    assert len(merges) == 10
    assert all(isinstance(part, bytes) and part for pair in merges for part in pair)
    assert count_words("ä b  b") == {"ä".encode(): 1, b" b": 2, b" ": 1}


def test_other_tokenizers_are_refused(tmp_path, world):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(TokenizerFileError, match=r"x\.json is not a tokenizer.json"):
        read_merges(tmp_path / "x.json")
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "words.json"))
    with pytest.raises(TokenizerFileError, match="a WordLevel tokenizer with no pre-tokenizer"):
        read_merges(tmp_path / "words.json")
    content = json.loads(world[1].read_text())
    content["model"]["merges"] = []
    (tmp_path / "none.json").write_text(json.dumps(content))
    with pytest.raises(TokenizerFileError, match="has no merges"):
        read_merges(tmp_path / "none.json")


def test_the_mixture_of_a_library_tokenizer_on_real_text(shared_corpora):
    assert bpe_library_error(shared_corpora, merges=200, characters=300_000) < -2.3
