"""The kernel says of every text what plain Python says of it."""

import hashlib
import unicodedata

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.config import CorpusConfig, NearDuplicates, QualityFilters
from gem_assets.corpus.dedup.minhash import permutations
from gem_assets.corpus.readers.records import RawDocument
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.text import kernel
from gem_assets.corpus.text.cleaning import clean_text, content_digest
from gem_assets.corpus.text.described import TextReader, buffers_of, text_column
from gem_assets.corpus.text.language import detect_language
from gem_assets.corpus.text.quality import refusals, signals
from gem_assets.corpus.text.stopwords import MARKER_ENDINGS, MARKERS, STOPWORDS
from gem_assets.corpus.text.tidy import clean_texts
from gem_assets.corpus.text.word_hashes import new_memory, word_hash
from tests.corpus.text import oracle

NEAR = NearDuplicates(num_perm=32)
READER = TextReader(NEAR.ngram, permutations(NEAR.num_perm, NEAR.seed))
STRICT = QualityFilters(
    max_mean_word_length=7, max_symbol_ratio=0.2, max_digit_ratio=0.1, max_dup_line_share=0.2, max_dup_ngram_share=0.2,
    max_compression_ratio=4, min_stopword_share=0.1, min_lang_confidence=0.4,
)  # fmt: skip
# beyond are planes without letters, of which one block each is enough
PLANES = [*range(0x34100), *(plane + code for plane in range(0x40000, 0x110000, 0x10000) for code in range(0x200))]
EVERY = [chr(code) for code in PLANES if not 0xD800 <= code < 0xE000]
COMPOSING = (
    "aeo<= \n\u200b\u00e9\u1ea1\uac00\uac01\u1100\u1161\u11a8\u0995\u09c7\u09be\u09d7"
    "\u0301\u0323\u0334\u0338\u0928\u093c\u0344\u2000"
)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
WORDS = sorted({word for words in (*STOPWORDS.values(), *MARKERS["Devanagari"].values()) for word in words})
ENDINGS = sorted({ending for endings in MARKER_ENDINGS["Devanagari"].values() for ending in endings})
LANGUAGES = [
    "The ferry leaves at seven, and the town is still asleep when it does.",
    "Straße und Maß: DIE FÄHRE FÄHRT UM SIEBEN, und die Stadt schläft noch.",
    "İstanbul'da IŞIK vapur saat yedide kalkar ve şehir hâlâ uyur.",
    "Паром отходит в семь, и город ещё спит, когда он уходит.",
    "Το πλοίο φεύγει στις επτά και η ΠΌΛΗΣ κοιμάται ακόμη. ΐ ΰ",
    "המעבורת יוצאת בשבע, והעיר עדיין ישנה. שָׁלוֹם",
    "تغادر العبّارة في السابعة والمدينة ما زالت نائمة. می‌خواهم",
    "फ़ेरी सात बजे निकलती है और शहर अभी सो रहा है। नौका सात वाजता निघते आणि शहर झोपलेले आहे. घरामध्ये",
    "ফেরি সাতটায় ছাড়ে এবং শহর তখনও ঘুমিয়ে থাকে।",
    "படகு ஏழு மணிக்குப் புறப்படுகிறது; நகரம் இன்னும் தூங்குகிறது.",
    "เรือข้ามฟากออกเวลาเจ็ดโมง เมืองยังหลับอยู่",
    "ເຮືອອອກເວລາເຈັດໂມງ ຕົວເມືອງຍັງນອນຫລັບ",
    "သင်္ဘောက ခုနစ်နာရီမှာ ထွက်တယ်။",
    "渡轮七点开船，城市还在睡觉。〇々𠀀𪛖",
    "フェリーは七時に出て、町はまだ眠っている。ｶﾞ",
    "페리는 일곱 시에 떠나고 도시는 아직 잠들어 있다. 한글",
    "ጀልባው በሰባት ሰዓት ይነሳል።",
    "Phà rời bến lúc bảy giờ và thị trấn vẫn còn ngủ. Tiê\u0301ng",
    "ᏣᎳᎩ ꭰꭱ ԱՐև և ﬀ ﬃ ŉ ǰ Ǆ ẖ ẞ Ⓐⓑ 𐐀𐐨 𞤀𞤢 ᲐᲑა",
    "def ferry(x):\n    return {x: [1, 2]}\nclass Town:\n    pass\n\nif (a[0] == b_c):\n    x = y;\n",
]


def said(text):
    """What plain Python says."""
    words = oracle.find_words(text)
    ngrams = oracle.ngram_hashes(words, NEAR.ngram)
    language = oracle.detect_language(text, words)
    found = oracle.signals(text, text.encode(), words, ngrams, *language)
    refusal = oracle.refusal(text, found, language[0], STRICT)
    signature = oracle.signature(ngrams, NEAR).tolist()
    tokens = oracle.estimate_tokens(text)
    return language, found, refusal, signature, tokens, content_digest(text), len(text), len(words)


def described(texts):
    """What the kernel says."""
    found = READER.describe(buffers_of([text.encode() for text in texts]))
    languages = [detect_language(found.head(row), found.facts(row)) for row in range(len(texts))]
    names = [name for name, _ in languages]
    measured = signals(found, names, [confidence for _, confidence in languages])
    by_text = [dict(zip(measured._fields, map(float, row), strict=True)) for row in zip(*measured, strict=True)]
    return list(
        zip(
            languages,
            by_text,
            refusals(found, measured, names, STRICT),
            found.columns.signatures.tolist(),
            found.count(kernel.TOKENS).tolist(),
            found.digests(),
            found.count(kernel.CHARS).tolist(),
            found.count(kernel.WORDS).tolist(),
            strict=True,
        )
    )


def agree(texts):
    found = described(texts)
    assert len(found) == len(texts)
    for text, one in zip(texts, found, strict=True):
        assert one == said(text), text[:200]


def test_languages():
    agree([*LANGUAGES, "\n".join(LANGUAGES), *(text.upper() for text in LANGUAGES), *(t.lower() for t in LANGUAGES)])


def test_every_character_between_two_letters():
    # all at once, on one line each: what one does to its neighbours shows in words, digests and tokens
    for first in range(0, len(EVERY), 64):
        text = "".join(f"a{char}b\n{char}{char}" for char in EVERY[first : first + 64])
        (found,) = [READER.describe(buffers_of([text.encode()]))]
        words = oracle.find_words(text)
        assert found.count(kernel.WORDS)[0] == len(words), hex(first)
        assert found.count(kernel.WORD_CHARS)[0] == len("".join(words)), hex(first)
        assert found.count(kernel.TOKENS)[0] == oracle.estimate_tokens(text), hex(first)
        assert found.digests() == [content_digest(text)], hex(first)
        ngrams = oracle.ngram_hashes(words, NEAR.ngram)
        assert found.columns.signatures[0].tolist() == oracle.signature(ngrams, NEAR).tolist(), hex(first)


@given(st.lists(ANY, max_size=5))
def test_any_text(texts):
    agree(texts)


@given(
    st.lists(
        st.text(st.sampled_from("ab 1_\n\t!.{}=;ÀéßİΐŉǰＡ中の\u200d\u3000\x1f\x1c\x85ﬃ\ufffd"), max_size=200),
        max_size=4,
    )
)
def test_characters_that_rules_are_about(texts):
    agree(texts)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(WORDS),
            st.sampled_from(ENDINGS),
            st.tuples(st.sampled_from(["", "क", "कख"]), st.sampled_from(ENDINGS)).map("".join),
        ),
        max_size=60,
    ).map(" ".join)
)
def test_words_that_tell_languages(text):
    agree([text])


@given(
    st.lists(
        st.sampled_from(["x = f(y);", "return {a: b}", " the cat ", "", "é\u3000", "x = f(y); "]), max_size=30
    ).map("\n".join)
)
def test_repeated_lines(text):
    agree([text])


@given(st.lists(st.integers(1, 70), max_size=9))
def test_words_of_any_length(lengths):
    agree([" ".join(("x" * n)[:-1] + "é" for n in lengths for _ in range(3))])


@pytest.mark.parametrize("size", [1, 7, 8, 9, 127, 128, 129, 256, 300])
def test_hashes_are_those_of_blake2b(size):
    data = np.arange(1, size + 1).astype(np.uint8)
    expected = hashlib.blake2b(data.tobytes(), digest_size=8).digest()
    assert int(word_hash(data, 0, size)) == int.from_bytes(expected, "little")


def test_more_words_than_the_memory_has_places():
    text = " ".join(f"w{i}" for i in [*range(100_000), *range(100_000)])
    assert len(new_memory()) < 100_000
    agree([text])


def test_texts_in_one_batch_do_not_touch_each_other():
    texts = ["the and of", "", "\n", "the", "of and the", "é", ""]
    assert described(texts) == [one for text in texts for one in described([text])]
    assert text_column(buffers_of([text.encode() for text in texts])).to_pylist() == texts


@pytest.mark.parametrize(
    "text", ["x" * 3_000_000, "\u0301" * 1_000_000, "a b " * 500_000, "中" * 700_000, "\n" * 900_000]
)
def test_long_texts(text):
    found = READER.describe(buffers_of([text.encode()]))
    words = oracle.find_words(text)
    assert found.count(kernel.CHARS)[0] == len(text)
    assert found.count(kernel.WORDS)[0] == len(words)
    assert found.count(kernel.TOKENS)[0] == oracle.estimate_tokens(text)
    assert found.digests() == [content_digest(text)]


class TestCleaning:
    def check(self, texts):
        found, chars = clean_texts(buffers_of([text.encode() for text in texts]))
        expected = [clean_text(text) for text in texts]
        assert text_column(found).to_pylist() == expected
        assert chars.tolist() == [len(text) for text in expected]

    def test_every_character(self):
        self.check(["a" + "e".join(EVERY[first : first + 8]) for first in range(0, len(EVERY), 8)])

    @given(st.lists(ANY, max_size=6))
    def test_any_text(self, texts):
        self.check(texts)

    @given(st.lists(st.text("ab \n\n\n\t\r\x0b\u2028\u3000\u200b\xad\xa0\x1c\x85\x92", max_size=30), max_size=8))
    def test_blanks_and_line_ends(self, texts):
        self.check(texts)

    @given(
        st.lists(
            st.text(
                COMPOSING,
                max_size=12,
            ),
            max_size=8,
        )
    )
    def test_what_composes(self, texts):
        self.check([*texts, *(unicodedata.normalize(form, text) for text in texts for form in ("NFC", "NFD"))])

    def test_no_texts(self):
        self.check([])
        self.check(["", "\n"])


def test_shared_corpora(shared_corpora):
    texts = []
    for path in sorted(shared_corpora.rglob("*.parquet")):
        table = pq.read_table(path)
        (column,) = [name for name in ("text", "content", "body") if name in table.column_names][:1]
        texts += [text for text in table[column].to_pylist()[::40] if text]
    for path in sorted((shared_corpora / "crawl").rglob("*")):
        if path.is_file():
            items = [item.text for item in read_file(path, path.name, CorpusConfig()) if isinstance(item, RawDocument)]
            texts += items[:: 1 + len(items) // 60]
    assert len(texts) > 500
    cleaned, _ = clean_texts(buffers_of([text.encode() for text in texts]))
    assert text_column(cleaned).to_pylist() == [clean_text(text) for text in texts]
    agree([clean_text(text) for text in texts])
