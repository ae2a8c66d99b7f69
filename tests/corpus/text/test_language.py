import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.text.described import TextReader
from gem_assets.corpus.text.language import detect_language


def of(text):
    return detect_language(text, TextReader.of(text).facts(0))


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


# article 1 of the declaration of human rights or sentences of our own, a few words each
ONE_SCRIPT = {
    "ta": "மழை பெய்தால் ஆறு நிரம்பும், மக்கள் மகிழ்ச்சி அடைவார்கள்.",
    "te": "వర్షం వస్తే నది నిండుతుంది, ప్రజలు సంతోషిస్తారు.",
    "gu": "વરસાદ આવે તો નદી ભરાય છે અને લોકો ખુશ થાય છે.",
    "kn": "ಮಳೆ ಬಂದರೆ ನದಿ ತುಂಬುತ್ತದೆ, ಜನರು ಸಂತೋಷಪಡುತ್ತಾರೆ.",
    "ml": "മഴ പെയ്താൽ പുഴ നിറയും, ജനങ്ങൾ സന്തോഷിക്കും.",
    "pa": "ਮੀਂਹ ਪਵੇ ਤਾਂ ਨਦੀ ਭਰ ਜਾਂਦੀ ਹੈ ਅਤੇ ਲੋਕ ਖੁਸ਼ ਹੁੰਦੇ ਹਨ।",
    "or": "ବର୍ଷା ହେଲେ ନଦୀ ପୂରିଯାଏ ଏବଂ ଲୋକମାନେ ଖୁସି ହୁଅନ୍ତି।",
    "si": "වැස්ස වැටුණොත් ගඟ පිරෙනවා, මිනිස්සු සතුටු වෙනවා.",
    "lo": "ຖ້າຝົນຕົກ ແມ່ນ້ຳກໍ່ເຕັມ ແລະ ຜູ້ຄົນກໍ່ດີໃຈ.",
    "my": "မိုးရွာရင် မြစ်ပြည့်ပြီး လူတွေ ပျော်ကြတယ်။",
    "km": "បើភ្លៀងធ្លាក់ ទន្លេពេញ ហើយមនុស្សរីករាយ។",
    "bo": "ཆར་པ་བབས་ན་ཆུ་བོ་གང་ནས་མི་རྣམས་དགའ་བར་འགྱུར།",
    "ka": "თუ წვიმა მოვა, მდინარე აივსება და ხალხი გაიხარებს.",
    "hy": "Եթե անձրև գա, գետը կլցվի, և մարդիկ կուրախանան։",
    "th": "ถ้าฝนตก แม่น้ำก็เต็ม และผู้คนก็ดีใจ",
    "dv": "ވާރޭ ވެހިއްޖެ ނަމަ މީހުން އުފާވެއެވެ.",
    "chr": "ᎣᏏᏲ ᎢᎦᏓ ᎠᏂᏴᏫ ᎤᎾᎵᎮᎵᎬ ᎠᎦᏍᎬ",
    "el": "Αν βρέξει, το ποτάμι γεμίζει και οι άνθρωποι χαίρονται.",
}


@pytest.mark.parametrize("lang", ONE_SCRIPT)
def test_a_script_of_one_language_is_that_language(lang):
    found, confidence = of(ONE_SCRIPT[lang])
    assert found == lang
    assert confidence > 0.9
    # a few foreign names change nothing
    assert of(f"{ONE_SCRIPT[lang]} (UNESCO, 1948)")[0] == lang


SHARED_SCRIPTS = [
    ("hi", "जब बारिश होती है तो नदी भर जाती है और लोग खुश होते हैं। यह हर साल होता है।"),
    ("mr", "पाऊस पडला की नदी भरते आणि लोक आनंदी होतात. हे दरवर्षी होते आहे."),
    ("ne", "पानी परेपछि नदी भरिन्छ र मानिसहरू खुसी हुन्छन्। यो हरेक वर्ष हुने गरेको छ।"),
    ("bn", "বৃষ্টি হলে নদী ভরে যায় এবং মানুষ খুশি হয়। এটা প্রতি বছর হয়।"),
    ("as", "বৰষুণ দিলে নদী ভৰি পৰে আৰু মানুহবোৰে ভাল পায়। এইটো প্ৰতি বছৰে হয়।"),
    ("ckb", "کاتێک باران دەبارێت ڕووبارەکە پڕ دەبێت و خەڵک دڵخۆش دەبن لە هەموو ساڵێکدا."),
    ("am", "ዝናብ ሲዘንብ ወንዙ ይሞላል፤ ሰዎችም ደስ ይላቸዋል።"),
    ("ti", "ዝናብ ምስ ዘነበ ሩባ ይመልእ፡ ሰባት ድማ ይሕጎሱ። እዚ ኣብ ኵሉ ዓመት ዝኸውን እዩ።"),
    ("uk", "Коли йде дощ, річка наповнюється, і люди радіють. Це відбувається щороку в нашому місті."),
    ("he", "כשיורד גשם הנהר מתמלא והאנשים שמחים. זה קורה בכל שנה בעיר שלנו."),
]


@pytest.mark.parametrize(("lang", "text"), SHARED_SCRIPTS)
def test_languages_of_one_script_are_told_apart(lang, text):
    assert of(text)[0] == lang


@pytest.mark.parametrize("text", ["नदी", "भारत सरकार", "दिल्ली मुंबई कोलकाता चेन्नई", "राम सीता लक्ष्मण १२३"])
def test_devanagari_that_settles_nothing_is_undetermined(text):
    assert of(text) == ("und", 0.0)


CODE = {
    "python": """
def load(path, limit=10):
    rows = []
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        rows.append(parse(line, limit=limit))
    return rows[:limit]
""",
    "c": """
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        printf("%s", argv[i]);
    }
    return 0;
}
""",
    "javascript": """
const total = items.reduce((sum, item) => sum + item.price, 0);
export function render(node) {
  node.innerHTML = total;
  return node;
}
""",
    "json": '{\n  "name": "harbour",\n  "size": [1, 2, 3],\n  "open": true\n}\n',
}


@pytest.mark.parametrize("kind", CODE)
def test_source_code_is_a_class_of_its_own(kind):
    found, confidence = of(CODE[kind])
    assert found == "code"
    assert 0 < confidence <= 1


@pytest.mark.parametrize(
    "text",
    [
        "The members are:\n(1) the mayor of the city (chair);\n(2) the head of the council;\n(3) the chief of police;",
        "We show that $x_1 = y_2$ and \\frac{a}{b} = c.\n\\begin{proof}\nThis is what was to be shown;\n\\end{proof}",
        "Use `ls -l` to list files.\nThen run `cat {{file}}` to see what is in it.\nIt prints the file to the screen.",
    ],
)
def test_prose_with_signs_is_no_code(text):
    assert of(text)[0] == "en"


@pytest.mark.parametrize(
    "text",
    [
        "SHR 28 CTS VS 24 CTS\nNET 1,204,000 VS 998,000\nREVS 12.1 MLN VS 10.4 MLN\nAVG SHRS 4,300,000",
        "Xenkor 400 Zubrol 12 mg Tavix 3.5 Plokar 77 Brenil 19",
        "Mxq rtv plk zzw brrt ghn vvk tpl sdf wrtz",
    ],
)
def test_tables_and_names_are_of_no_language(text):
    assert of(text)[0] in ("und", "en")


@given(st.text(max_size=200))
def test_whatever_the_text_the_language_fits_its_script(text):
    lang, confidence = of(text)
    assert 0 <= confidence <= 1
    assert (confidence == 0) == (lang == "und")
    if lang in ONE_SCRIPT:
        assert not text.isascii()


def test_real_code(shared_corpora):
    import pyarrow.parquet as pq

    table = pq.read_table(shared_corpora / "multidomain" / "webmix_dev.parquet", columns=["text", "lang", "label"])
    table = table.to_pylist()[::9]
    code = [of(row["text"])[0] for row in table if row["lang"] == "code"]
    # comments and docstrings make English of a part of it, and never another language
    assert set(code) <= {"code", "en", "und"}
    assert code.count("code") / len(code) > 0.6
    prose = [of(row["text"])[0] for row in table if row["lang"] == "en"]
    assert prose.count("code") / len(prose) < 0.01
    assert prose.count("en") / len(prose) > 0.98
