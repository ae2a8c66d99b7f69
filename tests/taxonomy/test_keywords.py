import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.keywords import cluster_keywords

CONFIG = TaxonomyConfig()
MEDICAL = ["insulin therapy lowers blood sugar in diabetes", "diabetes patients need insulin", "insulin and diabetes"]
LEGAL = ["the court may order the defendant to pay", "a court order binds the defendant", "defendant and court"]
COOKING = ["bake the dough with flour and butter", "flour, butter and eggs make dough", "dough of flour"]


def words(texts, config=CONFIG):
    return {k: [w for w, _ in found] for k, found in cluster_keywords(texts, config).items()}


def test_keywords_set_clusters_apart():
    found = words({0: MEDICAL, 1: LEGAL, 2: COOKING})
    assert {"insulin", "diabetes"} <= set(found[0])
    assert {"court", "defendant"} <= set(found[1])
    assert {"flour", "dough"} <= set(found[2])
    assert not set(found[0]) & set(found[1])


def test_words_of_every_cluster_are_left_out_in_any_language():
    texts = {k: [f"lorem {word} ipsum", f"lorem {word} dolor", f"lorem {word}"] for k, word in enumerate("abc" * 2)}
    texts = {k: [t.replace("lorem", "blorp") + f" topic{'xyzuvw'[k]}" for t in v] for k, v in texts.items()}
    found = words(texts)
    assert all("blorp" not in f for f in found.values())
    assert found[0][0] == "topicx"


def test_pairs_of_words_are_found_and_not_said_twice():
    texts = {
        0: ["machine learning models", "machine learning needs data", "machine learning again"],
        1: LEGAL,
        2: COOKING,
    }
    found = words(texts)[0]
    assert "machine learning" in found or {"machine", "learning"} <= set(found)
    assert not {"machine learning", "machine", "learning"} <= set(found)


def test_second_forms_of_a_word_count_once():
    found = words({0: ["symptom symptoms fever"] * 3, 1: LEGAL, 2: COOKING})[0]
    assert len({"symptom", "symptoms"} & set(found)) == 1


def test_scripts_without_spaces_have_keywords():
    found = words({0: ["糖尿病患者接受治疗", "糖尿病的治疗", "糖尿病"], 1: ["法院判决被告", "法院的判决", "法院"]})
    assert any("糖尿" in w for w in found[0])
    assert any("法院" in w for w in found[1])


def test_empty_clusters_and_wordless_texts_give_no_keywords():
    found = words({0: [], 1: MEDICAL, 2: ["12 34 --- ::", ""]})
    assert found[0] == found[2] == []
    assert any("insulin" in w for w in found[1])
    assert words({0: [], 1: []}) == {0: [], 1: []}


def test_order_of_texts_and_clusters_leaves_no_trace():
    texts = {0: MEDICAL, 1: LEGAL, 2: COOKING}
    shuffled = {k: random.Random(k).sample(texts[k], 3) for k in (2, 0, 1)}
    assert cluster_keywords(shuffled, CONFIG) == cluster_keywords(texts, CONFIG)


def test_bounds_on_reading_are_kept():
    config = TaxonomyConfig(keyword_chars=100, keyword_documents=10)
    texts = {0: ["alpha " * 30 + "omega"] * 12 + ["never seen"] * 50, 1: LEGAL}
    found = words(texts, config)[0]
    assert "alpha" in found
    assert "omega" not in found
    assert "never" not in found


@given(st.dictionaries(st.integers(0, 8), st.lists(st.text(max_size=80), max_size=6), min_size=1))
@settings(deadline=None, max_examples=60)
def test_any_text_is_survived(texts):
    found = cluster_keywords(texts, CONFIG)
    assert set(found) == set(texts)
    for ranked in found.values():
        assert len(ranked) <= CONFIG.keywords
        assert len({w for w, _ in ranked}) == len(ranked)
        assert [w for _, w in ranked] == sorted((w for _, w in ranked), reverse=True)
