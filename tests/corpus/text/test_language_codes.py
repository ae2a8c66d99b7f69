import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.text.language_codes import language_code
from tests.corpus.making import ingest, jsonl, prose, rows


@pytest.mark.parametrize(
    "given",
    [
        *("en", "EN", " en ", "eng", "ENG", "English", "english", "eng_Latn", "en-US", "en_GB.UTF-8", "__label__en"),
        *("en-x-private", "en,de", "English, German", "English (US)", "b'en'", "'en'"),
        *('["eng_Latn", "deu_Latn"]', "['en', 'de']", "['eng_Latn' 'deu_Latn']", '["en"]', "('en', 0.98)"),
        *('{"en": 0.9}', '{"de": 0.1, "en": 0.8}', '{"code": "en", "prob": 1}', '[["en", 0.9], ["de", 0.1]]'),
        *('[{"lang": "de", "score": 0.1}, {"lang": "en", "score": 0.9}]', '[["de", 0.1], ["en", 0.9]]'),
        *('{"language": {"code": "en"}}', '{"predictions": [{"lang": "en", "score": 0.9}]}'),
    ],
)
def test_spellings_of_one_language(given):
    assert language_code(given) == "en"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        *[(name, "zh") for name in ("zho_Hans", "zh-CN", "zh-Hant", "cmn_Hani", "Chinese (Simplified)", "中文", "chi")],
        *[(name, "no") for name in ("nob_Latn", "nb-NO", "no", "Norwegian Bokmål")],
        *[("deutsch", "de"), ("Français", "fr"), ("arb_Arab", "ar"), ("iw", "he"), ("fil_Latn", "tl"), ("pt-BR", "pt")],
        *[("arz_Arab", "arz"), ("yue", "yue"), ("nan_Latn", "nan"), ("npi_Deva", "ne"), ("sr@latin", "sr")],
    ],
)
def test_languages_have_the_code_that_detection_gives(given, code):
    assert language_code(given) == code


@pytest.mark.parametrize(
    "given",
    [
        *(None, "", "und", "unknown", "nan", "NaN", "None", "null", "[]", "{}", "xx", "zz", "1", "1.0", "true"),
        *(
            "x-default",
            "i-klingon",
            "C",
            "[[[[",
            '{"en": null}',
            "a" * 5000,
            "multilingual",
            "NA",
            "qaa",
            "qtz-Latn",
            "[" * 2000,
        ),
    ],
)
def test_what_names_no_language(given):
    assert language_code(given) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(JSON | st.text(max_size=30))
def test_whatever_is_given_no_json_is_stored(value):
    for text in (value if isinstance(value, str) else json.dumps(value), str(value)):
        code = language_code(text)
        assert code is None or code.isidentifier()


def test_given_languages_are_one_language_in_filter_and_table(tmp_path):
    given = ["en", "English", "eng_Latn", ["eng_Latn", "deu_Latn"], {"en": 0.9}, [], None, "??"]
    lines = [{"text": f"This is what they said about the {prose(i)}", "lang": lang} for i, lang in enumerate(given)]
    report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)}, CorpusConfig(languages=("English",)))
    assert report.filtered == {}
    assert {row["lang"] for row in rows(out)} == {"en"}
    assert [row["q_lang_confidence"] == 1.0 for row in rows(out)] == [True] * 5 + [False] * 3
    assert report.unread["lang"] == 1


def test_days_that_are_left_open_are_counted(tmp_path):
    lines = [{"text": prose(i), "date": date} for i, date in enumerate(["03/04/2023", "31/12/2023", None])]
    report, out = ingest(tmp_path, {"a.jsonl": jsonl(lines)})
    assert sorted(str(row["date"]) for row in rows(out)) == ["2023", "2023-12-31", "None"]
    assert report.unread == {"day and month": 1}
