import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from gem_assets.corpus.text.tokens import TokenizerError, estimate_tokens, token_counter
from tests.corpus.making import ingest, jsonl, prose

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" ", 0),
        ("a cat", 2),
        ("seven77", 2),
        ("extraordinarily", 3),
        ("1234567", 3),
        ("a  b", 3),
        ("a\nb", 3),
        ("f(x):\n    return", 6),
        ("!=", 1),
        ("?!?", 2),
        ("我爱你", 3),
        ("привет", 2),
        ("don’t", 3),
    ],
)
def test_rule(text, tokens):
    assert estimate_tokens(text) == tokens


@given(TEXTS, TEXTS)
def test_counts_are_sane(left, right):
    whole = estimate_tokens(left + "\n" + right)
    assert 0 <= estimate_tokens(left) <= 2 * len(left.encode())
    assert abs(whole - estimate_tokens(left) - estimate_tokens(right)) <= 2


def test_ratio_on_real_text(shared_corpora):
    import pyarrow.parquet as pq

    table = pq.read_table(shared_corpora / "multidomain" / "webmix_dev.parquet", columns=["text", "label"])
    sizes: dict[str, list[int]] = {}
    for row in table.slice(0, table.num_rows).to_pylist()[::20]:
        known = sizes.setdefault(row["label"], [0, 0])
        known[0] += len(row["text"].encode())
        known[1] += estimate_tokens(row["text"])
    per_token = {label: n / tokens for label, (n, tokens) in sizes.items()}
    # what vocabularies of 50k to 200k do: prose 4 to 5 bytes per token, code and logs less
    assert 3.9 < per_token["fiction"] < 5
    assert 3.9 < per_token["business_textbook"] < 5.6
    assert 2.5 < per_token["code_python"] < 4.2
    assert 1.8 < per_token["system_log"] < 3.5


@pytest.fixture
def vocabulary(tmp_path):
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[CLS]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(5)
    path = tmp_path / "words.json"
    tokenizer.save(str(path))
    return path


def test_a_tokenizers_file(vocabulary, tmp_path):
    name, count = token_counter(str(vocabulary))
    assert name.startswith("words@")
    assert len(name) == len("words@") + 12
    assert count("one two three four five six seven") == 7
    from gem_assets.corpus.config import CorpusConfig

    report, _ = ingest(tmp_path, {"a.jsonl": jsonl([{"text": prose(1)}])}, CorpusConfig(tokenizer=str(vocabulary)))
    assert report.tokenizer == name
    assert report.n_tokens == len(prose(1).split())


def test_estimate_is_named():
    name, count = token_counter("estimate")
    assert name == "estimate-1"
    assert count is estimate_tokens


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe"])
def test_bad_tokenizer_files(tmp_path, content):
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"broken\.json.*estimate"):
        token_counter(str(path))
