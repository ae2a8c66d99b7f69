import pytest

from gem_assets.orchestration.figures import NAMES, is_verdict, name_of, named


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("kl_to_proportional", "Distance from proportional (nats)"),
        ("documents_without_vector", "Documents without vector"),
        ("identity", "identity"),
        ("lance/labels__1", "lance/labels__1"),
    ],
)
def test_a_person_reads_words_and_a_machine_its_keys(name, shown):
    assert name_of(name) == shown


def test_ids_come_last_and_the_rest_stays_in_order():
    assert list(named({"recipe_identity": "a", "zeta": 1, "tokens": 2})) == ["Zeta", "Tokens", "recipe_identity"]


def test_what_has_no_value_is_left_out():
    assert named({"verdict": None, "failed": 0}) == {"Failed": 0}


def test_every_name_is_one_figure_alone():
    assert len(set(NAMES.values())) == len(NAMES)
    with pytest.raises(ValueError, match="one name"):
        named({"page": 1, "Page": 2})


def test_a_verdict_is_known_by_its_name_on_the_page():
    assert [is_verdict(name_of(name)) for name in ("verdict", "left_as_it_is", "tokens")] == [True, True, False]
