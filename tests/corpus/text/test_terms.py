import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.text.terms import tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The patient's symptoms", [None, "patient", "symptoms"]),
        ("def __init__(self):", ["def", "__init__", "self"]),
        ("std::vector in C++ and C#", ["std", "vector", None, "c++", None, "c#"]),
        ("state-of-the-art", ["state-of-the-art"]),
        ("糖尿病の治療", ["糖尿", "尿病", "病の", "の治", "治療"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Größe der Stadt", ["größe", None, "stadt"]),
        ("1984 x ======== aaaaaaaa", [None, None, None]),
    ],
)
def test_tokens_of_many_scripts(text, tokens):
    assert tokenize(text) == tokens


@given(st.text(max_size=300))
def test_any_text_gives_clean_tokens(text):
    for token in tokenize(text):
        assert token is None or (token == token.strip() and " " not in token and token)
