import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.config import QualityFilters
from gem_assets.corpus.schema import FILTER_REASONS, QUALITY_COLUMNS
from gem_assets.corpus.text.described import Described, TextReader
from gem_assets.corpus.text.quality import Signals, refusals, signals
from tests.corpus.text.oracle import find_words, ngram_hashes

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def described(text, lang="en") -> tuple[Described, Signals]:
    found = TextReader.of(text)
    return found, signals(found, [lang], [0.5])


def of(text, lang="en") -> Signals:
    return Signals(*(float(signal[0]) for signal in described(text, lang)[1]))


def refusal(text, lang, filters):
    return refusals(*described(text, lang), [lang], filters)[0]


def test_signals_are_the_columns():
    assert tuple(f"q_{name}" for name in Signals._fields) == QUALITY_COLUMNS


def test_signals_by_hand():
    found = of("The cat, 42 cats!\nThe cat, 42 cats!\n\nOnce")
    # words: the cat 42 cats the cat 42 cats once
    assert found.chars == 41
    assert found.mean_word_length == pytest.approx((2 * (3 + 3 + 2 + 4) + 4) / 9)
    # 41 characters, 6 spaces and 3 line ends; 4 signs, 4 digits
    assert found.symbol_ratio == pytest.approx(4 / 32)
    assert found.digit_ratio == pytest.approx(4 / 32)
    assert found.dup_line_share == pytest.approx(17 / 38)
    assert found.dup_ngram_share == 0.0
    assert found.stopword_share == pytest.approx(2 / 9)
    assert found.lang_confidence == 0.5


def test_repetition_shows():
    unique = of(" ".join(f"word{i} thing{i * 7}" for i in range(200)))
    repeated = of("buy cheap pills now here " * 80)
    assert repeated.dup_ngram_share > 0.95
    assert unique.dup_ngram_share == 0
    assert repeated.compression_ratio > 20 > unique.compression_ratio > 1


def test_no_list_of_stop_words_is_no_verdict():
    assert of("the and of", "xx").stopword_share == 0
    filters = QualityFilters(min_stopword_share=0.5)
    assert refusal("stone stone", "xx", filters) is None
    assert refusal("stone stone", "en", filters) == "stopword_share"


@given(TEXTS)
def test_signals_are_finite_and_in_range(text):
    found = of(text)
    assert np.isfinite(found).all()
    for name in ("symbol_ratio", "digit_ratio", "dup_line_share", "dup_ngram_share", "stopword_share"):
        assert 0 <= getattr(found, name) <= 1, name


@pytest.mark.parametrize(
    ("bound", "value", "text", "reason"),
    [
        ("max_mean_word_length", 5, "extraordinarily", "mean_word_length"),
        ("max_symbol_ratio", 0.3, "a ### b", "symbol_ratio"),
        ("max_digit_ratio", 0.3, "12345 a", "digit_ratio"),
        ("max_dup_line_share", 0.4, "same\nsame\nsame", "dup_line_share"),
        ("max_dup_ngram_share", 0.4, "a b c d e " * 9, "dup_ngram_share"),
        ("max_compression_ratio", 5, "a" * 1000, "compression_ratio"),
        ("min_lang_confidence", 0.6, "hello", "lang_confidence"),
        ("max_replacement_share", 0.1, "caf\ufffd", "garbled"),
    ],
)
def test_each_bound_refuses(bound, value, text, reason):
    assert refusal(text, "en", QualityFilters(**{bound: value})) == reason
    assert reason in FILTER_REASONS
    lenient = QualityFilters(max_replacement_share=None)
    assert refusal(text, "en", lenient) is None


def test_defaults_refuse_only_garble():
    for text in ("a", "!!!!!", "1234567890", "x" * 10_000):
        assert refusal(text, "en", QualityFilters()) is None


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Don't stop_me 2nite!", ["don", "t", "stop_me", "2nite"]),
            ("Straße — ÜBER", ["strasse", "über"]),
            ("我爱 Python吧", ["我", "爱", "python", "吧"]),
            ("हिन्दी में", ["हिन्दी", "में"]),
            ("e\u0301te\u0301", ["e\u0301te\u0301"]),
            ("“quoted”…done", ["quoted", "done"]),
            ("ไทย", ["ไ", "ท", "ย"]),
            ("... \n\t", []),
        ],
    )
    def test_words(self, text, words):
        assert find_words(text) == words

    @given(TEXTS)
    def test_words_hold_no_blanks(self, text):
        words = find_words(text)
        assert all(word and not any(char.isspace() for char in word) for word in words)
        assert find_words(" ".join(words)) == words

    def test_ngrams_see_order_and_count(self):
        a = ngram_hashes(["one", "two", "three", "four", "five", "six"], 5)
        assert len(a) == 2
        assert a[0] != a[1]
        assert ngram_hashes(["two", "one"], 2)[0] != ngram_hashes(["one", "two"], 2)[0]
        assert ngram_hashes(["a", "b"], 5).tolist() == ngram_hashes(["a", "b"], 2).tolist()
        assert len(ngram_hashes([], 5)) == 0

    def test_hashes_do_not_change_between_processes(self):
        # they decide which documents are near duplicates, so they are part of the result
        assert ngram_hashes(["harbour", "lantern"], 2).tolist() == [665990340209277943]
