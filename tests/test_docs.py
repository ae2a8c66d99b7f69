"""What the documents name is there: files, modules, commands, pages and the sections that they link to."""

import re
from pathlib import Path

import pytest
import typer

from gem_assets.cli import app

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
#: An old entry of the log names what was there when it was written.
LIVING = [page for page in PAGES if page.name != "log.md"]

_FILE = re.compile(r"`((?:gem_assets|resources|sensors|tests|benchmarks)/[\w./]*)`")
_MODULE = re.compile(r"\b((?:gem_assets|benchmarks)(?:\.\w+)+)")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_COMMAND = re.compile(r"(?:^|`)(?:\.venv/bin/)?gem ([a-z][a-z-]*)((?: [^`\n#|]*)?)", re.MULTILINE)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", LIVING, ids=lambda page: page.name)
def test_every_file_and_module_that_a_page_names_is_there(page: Path):
    missing = [name for name in _FILE.findall(text(page)) if not (REPOSITORY / name).exists()]
    for name in _MODULE.findall(text(page)):
        path = REPOSITORY / name.replace(".", "/")
        # the last part may be a function of the module, or the suffix of a file
        if not any(one.is_dir() or one.with_suffix(".py").is_file() for one in (path, path.parent)):
            missing.append(name)
    assert missing == []


def test_each_of_the_ten_steps_names_a_module_that_is_there():
    steps = re.split(r"^\d+\. ", text(REPOSITORY / "docs" / "architecture.md"), flags=re.MULTILINE)[1:]
    assert len(steps) == 10
    for step in steps:
        modules = re.findall(r"`((?:gem_assets|sensors)/[\w/]+)\.py`", step)
        assert modules, step
        for module in modules:
            assert (REPOSITORY / f"{module}.py").is_file(), module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    for target, anchor in _LINK.findall(text(page)):
        found = (page.parent / target) if target else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", LIVING, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_is_there(page: Path):
    group = typer.main.get_command(app)
    commands = group.commands  # pyright: ignore[reportAttributeAccessIssue]
    for name, rest in _COMMAND.findall(text(page)):
        assert name in commands, name
        found, words = commands[name], rest.split()
        if hasattr(found, "commands") and words and words[0] in found.commands:
            found = found.commands[words[0]]
        known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "--debug"}
        unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)) - known
        assert not unknown, f"gem {name} {rest}"


def test_every_entry_of_the_log_stands_in_its_index():
    log = text(REPOSITORY / "docs" / "log.md")
    listed = re.findall(r"^- \[.+\]\(#(.+)\) \(", log, re.MULTILINE)
    entries = [head for head in anchors(REPOSITORY / "docs" / "log.md") if re.match(r"\d{4}-", head)]
    assert sorted(listed) == sorted(entries)
