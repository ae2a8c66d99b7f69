import gzip
from pathlib import Path

import pytest

from gem_assets.demo.finding import TextFile
from gem_assets.demo.passages import MAX_CHARS, MIN_CHARS, cut

PARAGRAPH = "Words that stand in a row and make up a paragraph of prose. " * 10


def text_file(tmp_path: Path, kind: str, content: str | bytes, name: str = "file.txt") -> TextFile:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextFile(path, kind, "package", f"package/{name}", "MIT")


def function(name: str, lines: int, indent: str = "") -> str:
    body = "".join(f"{indent}    value_{number} = compute({number}, 'some argument')\n" for number in range(lines))
    return f"{indent}def {name}():\n{body}{indent}    return value_0\n"


def test_python_is_cut_by_definition(tmp_path: Path):
    source = "import os\n\n" + function("first", 20) + "\n@cache\n" + function("second", 20) + function("tiny", 1)
    passages = cut(text_file(tmp_path, "python-code", source, "module.py"), seed=0)
    assert [p.url for p in passages] == [
        "https://python-code.example/package/module.py/first",
        "https://python-code.example/package/module.py/second",
    ]
    assert passages[1].text.startswith("@cache\ndef second():")
    assert passages[0].source == "python-code.example"
    assert passages[0].licence == "MIT"


def test_a_long_class_comes_method_by_method(tmp_path: Path):
    methods = "".join(function(f"method_{number}", 30, "    ") for number in range(7))
    long, short = f"class Long:\n{methods}", f"class Short:\n{function('only', 20, '    ')}"
    passages = cut(text_file(tmp_path, "python-code", long + short, "m.py"), seed=0)
    names = [p.url.rsplit("/", 1)[1] for p in passages]
    assert names == [f"Long.method_{number}" for number in range(7)] + ["Short"]


def test_docstrings_are_prose_without_code(tmp_path: Path):
    source = f'"""{PARAGRAPH}"""\n\ndef f():\n    """{PARAGRAPH}"""\n    return secret_code\n'
    passages = cut(text_file(tmp_path, "docstrings", source, "m.py"), seed=0)
    assert [p.url.split("m.py/")[1] for p in passages] == ["module/section-0", "f/section-0"]
    assert all("secret_code" not in p.text for p in passages)


def test_prose_is_cut_at_headings_and_paragraphs(tmp_path: Path):
    text = "\n\n".join(f"## Heading {number}\n\n{PARAGRAPH}\n\n{PARAGRAPH}" for number in range(4))
    passages = cut(text_file(tmp_path, "guides", text), seed=0)
    assert [p.text.splitlines()[0] for p in passages] == [f"## Heading {number}" for number in range(4)]
    assert "\n\n".join(p.text for p in passages) == text.rstrip("\n")


def test_lines_are_kept_whole_and_in_order(tmp_path: Path):
    text = "\n".join(f"#define CONSTANT_{number} {number}" for number in range(480))
    passages = cut(text_file(tmp_path, "c-headers", text), seed=0)
    assert "\n".join(p.text for p in passages) == text
    assert all(MIN_CHARS <= len(p.text) <= MAX_CHARS for p in passages)


def test_metadata_headers_are_not_part_of_a_readme(tmp_path: Path):
    content = f"Metadata-Version: 2.1\nName: package\nAuthor-email: someone\n\n# Package\n\n{PARAGRAPH}"
    (passage,) = cut(text_file(tmp_path, "readmes", content, "METADATA"), seed=0)
    assert passage.text.startswith("# Package")


def test_help_topics_are_read_without_running_the_module(tmp_path: Path):
    content = f"raise SystemExit\ntopics = {{'assert': {PARAGRAPH!r}, 'with': {PARAGRAPH!r}}}\n"
    passages = cut(text_file(tmp_path, "help-topics", content, "topics.py"), seed=0)
    assert [p.url.split("topics.py/")[1] for p in passages] == ["assert/section-0", "with/section-0"]


def test_compressed_files_are_read(tmp_path: Path):
    (passage,) = cut(text_file(tmp_path, "changelogs", gzip.compress(PARAGRAPH.encode()), "NEWS.gz"), seed=0)
    assert passage.text == PARAGRAPH


@pytest.mark.parametrize(
    ("kind", "content", "name"),
    [
        ("python-code", "def broken(:\n" * 100, "m.py"),
        ("guides", b"\xff\xfe not utf-8" * 100, "m.txt"),
        ("guides", b"\x1f\x8b not gzip" * 100, "m.gz"),
        ("guides", "nul \0 byte " * 100, "m.txt"),
        ("guides", "short", "m.txt"),
        ("javascript", "minified=1;" * 1000, "m.js"),
    ],
)
def test_what_cannot_be_used_gives_nothing(tmp_path: Path, kind: str, content: str | bytes, name: str):
    assert cut(text_file(tmp_path, kind, content, name), seed=0) == []


def test_a_file_that_is_gone_gives_nothing(tmp_path: Path):
    assert cut(TextFile(tmp_path / "gone.txt", "guides", "p", "p/gone.txt"), seed=0) == []


def test_one_file_gives_no_more_than_its_kind_allows(tmp_path: Path):
    source = "\n".join(function(f"f{number}", 20) for number in range(40))
    file = text_file(tmp_path, "python-code", source, "m.py")
    chosen = cut(file, seed=0)
    assert len(chosen) == 8
    assert chosen == cut(file, seed=0) != cut(file, seed=1)


def test_addresses_are_quoted(tmp_path: Path):
    (passage,) = cut(text_file(tmp_path, "guides", PARAGRAPH, "read me #1 ä.txt"), seed=0)
    assert passage.url == "https://guides.example/package/read%20me%20%231%20%C3%A4.txt/section-0"
