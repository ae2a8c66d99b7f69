"""The README's Python example runs as it stands, and its tree of folders is the repository's."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def block(language: str, section: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README.partition(f"## {section}")[2], re.DOTALL)
    assert found is not None
    return found[1]


def test_the_python_example_fits_a_certified_teacher_labels_text_and_makes_a_recipe(capsys: pytest.CaptureFixture[str]):
    names: dict[str, object] = {}
    exec(compile(block("python", "The library without the graph"), "README.md", "exec"), names)
    printed = capsys.readouterr().out
    gap = re.search(r"duality gap (\S+) nats", printed)
    assert gap is not None
    assert float(gap[1]) <= 1e-8
    confidence = re.search(r"confidence (\S+)", printed)
    assert confidence is not None
    assert float(confidence[1]) > 0.5
    shares = [float(share) for share in re.findall(r": (\S+) of the tokens", printed)]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(1, abs=0.01)


def test_the_tree_names_every_folder_and_nothing_that_is_not_there():
    folder, listed = "", set[str]()
    for line in block("", "For developers").splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name
        path = folder + name if line.startswith(" ") else name
        assert (REPOSITORY / path).exists(), path
        listed.add(path)
    rooms = {f"gem_assets/{one.parent.name}/" for one in (REPOSITORY / "gem_assets").glob("*/__init__.py")}
    assert rooms <= listed
