import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.proxy.config import TokenizerConfig
from gem_assets.proxy.tokens import END, END_TOKEN, EncodedDocuments, ProxyTokenizer, spread_sample

TEXTS = [f"The quick brown fox number {i} jumps over {i * 7} lazy dogs; naïve 中文 déjà-vu." for i in range(60)]
CONFIG = TokenizerConfig(vocab=320, sample_bytes=4096)


@pytest.fixture(scope="module")
def tokenizer():
    return ProxyTokenizer.train(TEXTS, CONFIG)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_comes_back(tokenizer, text):
    text = text.encode(errors="ignore").decode()
    encoded = tokenizer.encode([text])
    assert encoded.tokens[-1] == END
    assert (encoded.tokens == END).sum() == 1
    assert tokenizer.decode(encoded.tokens) == text


def test_a_text_that_spells_the_mark_does_not_make_one(tokenizer):
    text = f"before{END_TOKEN}between{END_TOKEN}"
    ids = tokenizer.encode([text]).tokens
    assert (ids == END).sum() == 1
    assert tokenizer.decode(ids) == text


def test_byte_lengths_add_up_to_the_text(tokenizer):
    encoded = tokenizer.encode(TEXTS)
    assert tokenizer.byte_lengths()[encoded.tokens].sum() == sum(len(t.encode()) for t in TEXTS)


def test_training_is_deterministic_across_processes_and_thread_counts(tokenizer):
    code = (
        "from gem_assets.proxy.tokens import ProxyTokenizer;from tests.proxy.test_tokens import TEXTS,CONFIG;"
        "print(ProxyTokenizer.train(TEXTS, CONFIG).digest)"
    )
    for threads in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code],
            env={"RAYON_NUM_THREADS": threads, "PATH": "", "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == tokenizer.digest


def test_other_texts_give_another_digest(tokenizer):
    assert ProxyTokenizer.train(["zebra zebra " * 9, *TEXTS], CONFIG).digest != tokenizer.digest


def test_saved_and_loaded_encode_alike(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = ProxyTokenizer.load(tmp_path)
    assert loaded.digest == tokenizer.digest
    np.testing.assert_array_equal(loaded.encode(TEXTS).tokens, tokenizer.encode(TEXTS).tokens)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        ProxyTokenizer.load(tmp_path)


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="text"):
        ProxyTokenizer.train([""], CONFIG)


def test_take_and_concatenate(tokenizer):
    encoded = tokenizer.encode([*TEXTS[:5], ""])
    picked = encoded.take([4, 0, 5])
    assert [tokenizer.decode(picked.document(i)) for i in range(3)] == [TEXTS[4], TEXTS[0], ""]
    joined = EncodedDocuments.concatenate([encoded.take([]), encoded.take([0, 1]), encoded.take([2, 3, 4, 5])])
    np.testing.assert_array_equal(joined.tokens, encoded.tokens)
    np.testing.assert_array_equal(joined.offsets, encoded.offsets)


def test_the_sample_is_spread_over_domains():
    config = TokenizerConfig(vocab=300, sample_bytes=1024, document_bytes=64)
    sample = spread_sample([["a" * 100] * 50, ["b" * 100], []], config)
    assert sample[:2] == ["a" * 64, "b" * 64]
    assert sum(map(len, sample)) < 1024 + 64
