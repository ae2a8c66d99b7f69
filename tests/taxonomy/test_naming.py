import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from gem_assets.taxonomy.naming import LONGEST, clean, plain_names, slugs, unique_name

keyword_lists = st.dictionaries(
    st.integers(0, 40), st.lists(st.text(max_size=90) | st.sampled_from(["gene", "law", "糖尿病"]), max_size=5)
)


def folded(names):
    return [unicodedata.normalize("NFKC", n).casefold() for n in names]


@given(keyword_lists, st.integers(1, 4), st.lists(st.text(max_size=20)))
def test_names_are_readable_and_unique_whatever_the_keywords(keywords, words, taken):
    names = plain_names(keywords, words, taken=taken)
    assert set(names) == set(keywords)
    assert len(set(folded(names.values()))) == len(names)
    assert not set(folded(names.values())) & set(folded(taken))
    for name in names.values():
        assert name == name.strip()
        assert name
        assert "\n" not in name
        assert all(unicodedata.category(c)[0] != "C" for c in name)


@given(keyword_lists)
def test_slugs_are_ascii_and_unique(keywords):
    found = slugs(plain_names(keywords, 3))
    assert len(set(found.values())) == len(found)
    for slug in found.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)


def test_a_name_reads_as_title():
    assert plain_names({0: ["diabetes", "treatment", "symptoms", "x"]}, 3) == {0: "Diabetes · treatment · symptoms"}


def test_identical_clusters_take_the_next_keyword_then_their_number():
    same = ["law", "court", "judge", "appeal"]
    assert plain_names({0: same, 1: same, 2: same}, 3) == {
        0: "Law · court · judge",
        1: "Law · court · appeal",
        2: "Law · court · judge (2)",
    }


def test_clusters_without_words_are_numbered():
    assert plain_names({3: [], 5: ["\u202e", "\x00"]}, 3) == {3: "Cluster 3", 5: "Cluster 5"}


def test_a_word_is_not_said_twice():
    assert plain_names({0: ["gene therapy", "gene", "trial"]}, 3) == {0: "Gene therapy · trial"}


def test_other_scripts_stay_as_they_are_and_get_a_numbered_slug():
    names = plain_names({0: ["糖尿", "治療"], 1: ["größe", "stadt"]}, 2)
    assert names == {0: "糖尿 · 治療", 1: "Größe · stadt"}
    assert slugs(names) == {0: "cluster-0", 1: "grosse-stadt"}


def test_taken_names_are_avoided_ignoring_case():
    assert unique_name("Law", 4, ["LAW"]) == "Law (4)"
    assert unique_name("", 4, []) == "Cluster 4"


def test_clean_cuts_control_characters_and_length():
    assert clean("a\u200bb\x07\n c") == "ab c"
    assert len(clean("x" * 500)) == LONGEST
