import os
import sysconfig
from pathlib import Path

import pytest

from gem_assets.demo import finding
from gem_assets.demo.finding import KIND_BY_NAME, KINDS, TextFile, find_text_files, fraction, in_turns


@pytest.fixture(scope="module")
def found() -> list[TextFile]:
    return find_text_files()


def test_every_file_lies_in_a_public_place(found: list[TextFile]):
    allowed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "include", "purelib", "platlib")]
    allowed += list(finding.SYSTEM_ROOTS)
    outside = [file.path for file in found if not any(file.path.is_relative_to(root) for root in allowed)]
    assert outside == []


def test_the_environment_alone_gives_many_kinds(found: list[TextFile]):
    here = {file.kind for file in found if not file.name.startswith("system/")}
    assert {"python-code", "docstrings", "readmes", "licences", "help-topics", "json"} <= here
    assert here <= set(KIND_BY_NAME)


def test_shares_of_the_kinds_sum_to_about_one():
    assert sum(kind.share for kind in KINDS) == pytest.approx(1, abs=0.1)


def test_own_packages_are_left_out(found: list[TextFile]):
    assert not {"gem_assets", "resources", "sensors"} & {file.package for file in found}


def test_licences_come_from_the_metadata(found: list[TextFile]):
    by_package = {file.package: file.licence for file in found if file.licence is not None}
    assert by_package["json"] == "PSF-2.0"
    assert by_package["numpy"].startswith("BSD-3-Clause")


def test_links_are_not_followed(tmp_path: Path):
    private = tmp_path / "private"
    private.mkdir()
    (private / "diary.txt").write_text("secret " * 100)
    root = tmp_path / "root"
    root.mkdir()
    (root / "open.txt").write_text("public " * 100)
    (root / "linked.txt").symlink_to(private / "diary.txt")
    (root / "folder").symlink_to(private, target_is_directory=True)
    os.link(private / "diary.txt", root / "tiny.txt")
    (root / "tiny.txt").unlink()
    names = {str(below) for _, below in finding._walk(root)}
    assert names == {"open.txt"}


def test_in_turns_gives_every_file_once_and_no_package_first(found: list[TextFile]):
    stubs = [file for file in found if file.kind == "docstrings"]
    packages = {file.package for file in stubs}
    order = list(in_turns(stubs, seed=3))
    assert sorted(order, key=lambda file: file.name) == sorted(stubs, key=lambda file: file.name)
    assert len({file.package for file in order[: len(packages)]}) == len(packages)
    assert order != list(in_turns(stubs, seed=4))


def test_fraction_is_a_fixed_number_in_the_unit_interval():
    assert fraction(0, "a") == fraction(0, "a") != fraction(1, "a")
    assert fraction("a", "b") != fraction("ab")
    assert all(0 <= fraction("x", number) < 1 for number in range(1000))
