"""Text that looks like a control token stays text, for every kind of tokenizer; widths follow the largest id."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from gem_assets.export.config import ExportConfig
from gem_assets.export.registry import export
from gem_assets.export.report import ExportError
from gem_assets.export.tokens import TextTokenizer
from tests.export.worlds import LENGTH, World

EOS = "</s>"
CONTROLS = [EOS, "<|endoftext|>", "<|im_start|>", "[INST]", "[/INST]", "<unk>"]
WORDS = [
    "a",
    "page",
    "on",
    "parsers",
    "says",
    "that",
    "the",
    "mark",
    "ends",
    "nothing",
    "here",
    "and",
    "goes",
    "on",
    "for",
    "a",
    "while",
    "[",
    "]",
    "/",
    "<",
    ">",
    "|",
    "_",
    "s",
]


def byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=CONTROLS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 50, trainer)
    return tokenizer


def merged_bpe() -> Tokenizer:
    """A BPE whose merges make the token itself."""
    pieces = ["<", "/", "s", ">", "</", "</s", EOS, " ", "a", "b"]
    merges = [("<", "/"), ("</", "s"), ("</s", ">")]
    return Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges, ignore_merges=True))


def metaspace_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=CONTROLS, show_progress=False)
    tokenizer.train_from_iterator([" ".join([*WORDS, "INST endoftext im_start unk"])] * 50, trainer)
    return tokenizer


def unigram(added: bool = False) -> Tokenizer:
    letters = sorted({*"".join(CONTROLS), *"".join(WORDS), "▁"})
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), *((c, 0.0) for c in CONTROLS[:-1]), *((c, -9.0) for c in letters)], 0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    if added:
        tokenizer.add_special_tokens(CONTROLS)
    return tokenizer


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(dict.fromkeys([*CONTROLS, *WORDS]))}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def word_piece() -> Tokenizer:
    letters = sorted({*"".join(CONTROLS), *"".join(WORDS)})
    pieces = dict.fromkeys([*CONTROLS, *letters, *(f"##{c}" for c in letters)])
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def not_marked_special() -> Tokenizer:
    tokenizer = byte_bpe()
    spec = json.loads(tokenizer.to_str())
    for one in spec["added_tokens"]:
        one["special"] = False
    return Tokenizer.from_str(json.dumps(spec))


def with_template() -> Tokenizer:
    tokenizer = byte_bpe()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 0)])
    return tokenizer


KINDS = [byte_bpe, merged_bpe, metaspace_bpe, unigram, lambda: unigram(added=True), word_level, word_piece,
         not_marked_special, with_template]  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("quoted", CONTROLS)
def test_what_looks_like_a_control_token_is_encoded_as_text(tmp_path: Path, make, quoted: str):
    original: Tokenizer = make()
    original.save(str(tmp_path / "t.json"))
    tokenizer = TextTokenizer(tmp_path / "t.json", EOS)
    controls = {original.token_to_id(c) for c in CONTROLS} - {original.token_to_id("<unk>")}
    texts = [f"a page on parsers says {quoted} ends nothing", quoted, f"{quoted}{quoted}", f"a{quoted}a"]
    ids, lengths = tokenizer.encode(texts)
    ends = np.cumsum(lengths) - 1
    assert (ids[ends] == tokenizer.eos_id).all()
    assert tokenizer.eos_id == original.token_to_id(EOS)
    assert not controls & set(np.delete(ids, ends).tolist())


@pytest.mark.parametrize("make", [byte_bpe, not_marked_special, with_template])
def test_a_byte_level_text_comes_back_as_it_was(tmp_path: Path, make):
    original: Tokenizer = make()
    original.save(str(tmp_path / "t.json"))
    text = "Says <|endoftext|> and </s>, then [INST] ü\n and <|im_start|>."
    ids, _ = TextTokenizer(tmp_path / "t.json", EOS).encode([text])
    assert original.decode(ids[:-1].tolist(), skip_special_tokens=False) == text


@pytest.mark.parametrize("make", KINDS)
def test_other_text_keeps_its_ids(tmp_path: Path, make):
    original: Tokenizer = make()
    original.save(str(tmp_path / "t.json"))
    text = "a page on parsers goes on for a while"
    ids, _ = TextTokenizer(tmp_path / "t.json", EOS).encode([text])
    assert ids[:-1].tolist() == original.encode(text, add_special_tokens=False).ids


def test_added_tokens_that_are_no_controls_stay_tokens(tmp_path: Path):
    tokenizer = byte_bpe()
    tokenizer.add_tokens([AddedToken("    ", normalized=False), AddedToken("<table>", normalized=False)])
    tokenizer.save(str(tmp_path / "t.json"))
    ids, _ = TextTokenizer(tmp_path / "t.json", EOS).encode(["a    <table>"])
    assert {tokenizer.token_to_id("    "), tokenizer.token_to_id("<table>")} <= set(ids.tolist())


def sparse(path: Path, largest: int) -> Path:
    """A tokenizer of few tokens whose ids have a gap, as vocabularies with reserved ids do."""
    tokenizer = Tokenizer(
        models.WordLevel({EOS: largest, "<unk>": 1, "w": 2, **{f"w{i}": 3 + i for i in range(300)}}, "<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return path


def test_the_vocabulary_reaches_to_the_largest_id(tmp_path: Path):
    tokenizer = TextTokenizer(sparse(tmp_path / "t.json", 70_000))
    assert (tokenizer.vocab_size, tokenizer.eos_id) == (70_001, 70_000)


@pytest.mark.parametrize(
    ("trainer", "pattern"), [("olmo-core", "part-*.npy"), ("megatron", "*.bin"), ("nanotron", "*.ds")]
)
@pytest.mark.parametrize("largest", [65_000, 70_000])
def test_the_width_of_a_binary_follows_the_largest_id(
    world: World, config: ExportConfig, tmp_path: Path, trainer: str, pattern: str, largest: int
):
    tokenizer = sparse(tmp_path / "t.json", largest)
    (tmp_path / "out").mkdir()
    report = export(trainer, world.mixture, world.batches(), tmp_path / "out", tokenizer, config)
    width = np.uint32 if largest > 65_535 else np.uint16
    found = sum(int((np.fromfile(p, width) == largest).sum()) for p in (tmp_path / "out").rglob(pattern))
    assert found == sum(c.documents for c in report.clusters) == world.documents.num_rows


_REFUSED = {
    "megatron": set(" "), "olmo-core": set("*[]"), "levanter": set("*[]#"), "hf-datasets": set("*[]"),
    "nanotron": set("*[]#"), "torchtitan": set("*[]"),
}  # fmt: skip
ODD = [
    "/mnt/my corpora/run 1",
    "/mnt/a'b\"c",
    "/mnt/a: b",
    "/mnt/- x, y",
    "/mnt/käse ☃",
    "/mnt/100%/$HOME",
    "/mnt/a#b",
    "/mnt/[x]*",
    "/mnt/a\nb",
]


@pytest.mark.parametrize(
    "trainer", ["megatron", "olmo-core", "mosaicml", "hf-datasets", "levanter", "nanotron", "torchtitan"]
)
@pytest.mark.parametrize("root", ODD)
def test_an_odd_root_is_read_back_as_it_is_or_refused(
    world: World, config: ExportConfig, tmp_path: Path, trainer: str, root: str
):
    rooted = config.model_copy(update={"root": root, "sequence_length": LENGTH})
    out = tmp_path / "out"
    out.mkdir()
    refused = set("\n") | _REFUSED.get(trainer, set())
    if refused & set(root):
        with pytest.raises(ExportError, match="--root"):
            export(trainer, world.mixture, world.batches(), out, world.tokenizer, rooted)
        return
    # an export reads its own configuration back and finds each file by it
    assert export(trainer, world.mixture, world.batches(), out, world.tokenizer, rooted).within_tolerance
