import numpy as np
import pytest

from gem_assets.teacher.topics import cluster_npmi, topic_npmi, topic_words, word_presence

SEA = "harbour vessel anchor sailor"
LAW = "statute tenant verdict appeal"


def corpus() -> tuple[list[str], np.ndarray]:
    texts = [f"the {SEA} number{i}" for i in range(30)] + [f"the {LAW} number{i}" for i in range(30)]
    return texts, np.repeat([0, 1], 30)


def test_presence_holds_words_that_occur_often_enough_and_not_everywhere() -> None:
    presence = word_presence(["Apple pear pear", "apple plum", "plum kiwi", "fig"], min_documents=2, max_share=0.5)
    assert presence.words == ("apple", "plum")
    np.testing.assert_array_equal(presence.matrix.toarray(), [[1, 0], [1, 1], [0, 1], [0, 0]])
    assert word_presence(["apple plum", "apple fig"], min_documents=1, max_share=1.0, max_chars=5).words == ("apple",)
    assert word_presence([]).words == ()


def test_words_of_a_cluster_are_those_that_set_it_apart() -> None:
    texts, labels = corpus()
    presence = word_presence(texts)
    words = topic_words(presence, labels, 2, 4)
    assert {presence.words[j] for j in words[0]} == set(SEA.split())
    assert {presence.words[j] for j in words[1]} == set(LAW.split())


def test_npmi_is_one_for_words_that_only_meet_and_minus_one_for_words_that_never_do() -> None:
    texts, labels = corpus()
    presence = word_presence(texts)
    np.testing.assert_allclose(cluster_npmi(presence, labels, 3, 4), [1, 1, np.nan])
    assert topic_npmi(presence, labels, 2, 4) == pytest.approx(1)
    # eight words a cluster: 12 of the 28 pairs stay inside a topic, 16 cross
    mixed = np.tile([0, 1], 30)
    np.testing.assert_allclose(cluster_npmi(presence, mixed, 2, 8), (12 - 16) / 28)


def test_npmi_of_independent_words_is_zero() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(w for w in ("harbour", "statute") if rng.random() < 0.4) for _ in range(4000)]
    presence = word_presence(texts)
    assert abs(topic_npmi(presence, np.zeros(4000, int), 1)) < 0.05


def test_what_cannot_be_scored_is_refused() -> None:
    presence = word_presence(["harbour vessel"] * 6 + ["tenant statute"] * 6)
    with pytest.raises(ValueError, match="3 labels for 12 documents"):
        topic_npmi(presence, np.zeros(3, int), 1)
    with pytest.raises(ValueError, match="lower min_documents"):
        topic_npmi(word_presence(["harbour", "vessel"]), np.zeros(2, int), 1)
