import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.language import detect_language
from gem_assets.corpus.words import find_words


def of(text):
    return detect_language(text, find_words(text))


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("The committee will meet again next week to discuss the budget and what has to be done about it.", "en"),
        ("Der Ausschuss trifft sich nächste Woche wieder, um über den Haushalt zu sprechen, wie es heißt.", "de"),
        ("Le comité se réunira de nouveau la semaine prochaine pour discuter du budget de la ville.", "fr"),
        ("Комитет соберется снова на следующей неделе, чтобы обсудить бюджет города и новые планы.", "ru"),
        ("委员会下周将再次开会讨论预算问题，并决定下一步的工作安排。", "zh"),
        ("委員会は来週また集まり、予算について話し合う予定です。", "ja"),
        ("위원회는 다음 주에 다시 모여 예산을 논의할 것이다.", "ko"),
        ("Η επιτροπή θα συνεδριάσει ξανά την επόμενη εβδομάδα.", "el"),
        ("Oil prices ease as the storm turns away from the Gulf coast", "en"),
        ("Das Wort „the“ ist im Englischen häufig und wird im Deutschen nicht als Artikel gebraucht.", "de"),
    ],
)
def test_languages(text, lang):
    found, confidence = of(text)
    assert found == lang
    assert 0 < confidence <= 1


@pytest.mark.parametrize("text", ["", "12 34 -- !!", "…", "①②"])
def test_no_language(text):
    assert of(text) == ("und", 0.0)


@given(st.text(st.characters(max_codepoint=127), max_size=300))
def test_ascii_is_never_of_another_script(text):
    assert of(text)[0] not in {"ko", "zh", "ja", "ru", "ar", "el", "he", "th", "hi"}


def test_real_short_english(shared_corpora):
    import pyarrow.parquet as pq

    texts = pq.read_table(shared_corpora / "labeled" / "ag_news_test.parquet", columns=["text"]).column("text")
    found = [of(text)[0] for text in texts.to_pylist()[::8]]
    assert found.count("en") / len(found) > 0.97


def test_real_texts_of_other_languages(shared_corpora):
    import pyarrow.parquet as pq

    table = pq.read_table(shared_corpora / "multidomain" / "webmix_dev.parquet", columns=["text", "lang"])
    rows = [row for row in table.to_pylist() if row["lang"] in ("ar", "de", "es", "ru", "zh")]
    right = sum(of(row["text"])[0] == row["lang"] for row in rows)
    assert len(rows) > 250
    assert right / len(rows) > 0.97
