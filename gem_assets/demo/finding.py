"""Find the real text on this machine: the Python environment and the system's public documentation.

Read are the standard library, the packages installed beside this one, the C headers of Python, and, where they exist,
``/usr/share/doc``, ``/usr/share/man`` and ``/usr/share/common-licenses``. Nothing else: no user site, no editable
install, no link that leads out of those folders, so no private file ever enters the demo.
"""

import hashlib
import importlib.metadata
import os
import re
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SYSTEM_ROOTS = (Path("/usr/share/doc"), Path("/usr/share/man"), Path("/usr/share/common-licenses"))

_OWN_PACKAGES = frozenset({"gem_assets", "resources", "sensors"})
_SKIPPED_FOLDERS = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of text.

    Attributes
    ----------
    name
        Its name, and the first label of the host that its pages are on.
    share
        Part of all documents that this kind may make up where the machine has enough of it.
    splitter
        Name of the function in ``passages`` that cuts its files.
    per_file
        Most documents taken from one file.
    """

    name: str
    share: float
    splitter: str
    per_file: int = 8


KINDS: tuple[Kind, ...] = (
    Kind("python-code", 0.22, "python_code", 8),
    Kind("docstrings", 0.17, "docstrings", 14),
    Kind("c-headers", 0.09, "lines", 6),
    Kind("manual-pages", 0.08, "manual_page", 5),
    Kind("manual-pages-translated", 0.06, "manual_page", 4),
    Kind("guides", 0.08, "prose", 10),
    Kind("readmes", 0.05, "prose", 8),
    Kind("licences", 0.045, "prose", 4),
    Kind("changelogs", 0.05, "prose", 5),
    Kind("type-stubs", 0.04, "lines", 4),
    Kind("cython", 0.03, "lines", 6),
    Kind("javascript", 0.03, "lines", 12),
    Kind("stylesheets", 0.015, "lines", 12),
    Kind("html", 0.02, "lines", 8),
    Kind("json", 0.025, "lines", 8),
    Kind("build-files", 0.02, "lines", 5),
    Kind("tables", 0.01, "lines", 4),
    Kind("help-topics", 0.025, "help_topics", 1_000),
)
KIND_BY_NAME = {kind.name: kind for kind in KINDS}

_SUFFIX_KINDS = {
    ".pyi": "type-stubs", ".h": "c-headers", ".hpp": "c-headers", ".cuh": "c-headers", ".c": "c-headers",
    ".cpp": "c-headers", ".pyx": "cython", ".pxd": "cython", ".js": "javascript", ".mjs": "javascript",
    ".ts": "javascript", ".css": "stylesheets", ".html": "html", ".htm": "html", ".j2": "html", ".json": "json",
    ".cmake": "build-files", ".yaml": "build-files", ".yml": "build-files", ".cfg": "build-files",
    ".ini": "build-files", ".csv": "tables", ".rst": "guides", ".md": "guides",
}  # fmt: skip
_LICENCE_NAME = re.compile(r"^(licen[cs]e|copying|copyright|notice|authors)", re.IGNORECASE)
_CHANGELOG_NAME = re.compile(r"^(changelog|changes|history|news|release[-_ ]?notes)", re.IGNORECASE)
_GUIDE_NAME = re.compile(r"^(readme|faq|todo|install|usage|hacking|contributing|howto)|\.(txt|rst|md)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that holds text of one kind.

    Attributes
    ----------
    package
        What it came with: an import name, a standard library module, a system package.
    name
        Path below its root with forward slashes, the same on every machine with the same environment.
    licence
        What the distribution's metadata states, else None.
    language
        ISO 639-1 code where the folder tells, else None.
    """

    path: Path
    kind: str
    package: str
    name: str
    licence: str | None = None
    language: str | None = None


def fraction(*parts: object) -> float:
    """Map the parts to a number in [0, 1) that depends on nothing else: not on order, process or platform."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big") / 2.0**56


def find_text_files() -> list[TextFile]:
    """List every usable text file, sorted by kind and name."""
    files = [*_standard_library(), *_installed_packages(), *_python_headers(), *_system_documentation()]
    return sorted(files, key=lambda file: (file.kind, file.name))


def in_turns(files: Iterable[TextFile], seed: int) -> Iterator[TextFile]:
    """Yield files one package after the other, so that no large package crowds out the rest."""
    by_package: dict[str, list[TextFile]] = defaultdict(list)
    for file in files:
        by_package[file.package].append(file)
    queues = [
        sorted(group, key=lambda file: fraction(seed, "file", file.name))
        for _, group in sorted(by_package.items(), key=lambda item: fraction(seed, "package", item[0]))
    ]
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


def _walk(root: Path, skip: Callable[[str], bool] = lambda _: False) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield (path, path below the root) of the regular files inside the root; links are neither read nor entered.

    Only folders are read, since asking for each of 60,000 files takes minutes on a disk that is not cached.
    """
    folders = [PurePosixPath()]
    while folders:
        below = folders.pop()
        try:
            with os.scandir(root / below) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_FOLDERS and not skip(entry.name):
                    folders.append(below / entry.name)
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), below / entry.name


def _kind_of(name: str) -> str | None:
    """Tell the kind of a file inside a Python package by its name."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".py":
        # One half of the modules gives code, the other half docstrings: the same words should not be in both.
        return "python-code" if fraction("half", name) < 0.5 else "docstrings"
    stem = PurePosixPath(name).name
    if suffix in {"", ".txt", ".md", ".rst"}:
        if _LICENCE_NAME.search(stem):
            return "licences"
        if _CHANGELOG_NAME.search(stem):
            return "changelogs"
        if suffix == ".txt" or _GUIDE_NAME.search(stem):
            return "guides"
    return _SUFFIX_KINDS.get(suffix)


def _standard_library() -> Iterator[TextFile]:
    root = Path(sysconfig.get_path("stdlib"))
    for path, below in _walk(root):
        kind = "help-topics" if str(below) == "pydoc_data/topics.py" else _kind_of(str(below))
        if kind is not None:
            package = below.parts[0].removesuffix(".py")
            yield TextFile(path, kind, package, f"python/{below}", "PSF-2.0")


def _python_headers() -> Iterator[TextFile]:
    root = Path(sysconfig.get_path("include"))
    if root.is_dir():
        for path, below in _walk(root):
            if below.suffix == ".h":
                yield TextFile(path, "c-headers", "python", f"python/include/{below}", "PSF-2.0")


def _installed_packages() -> Iterator[TextFile]:
    roots = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    licences = _licences_by_import_name(roots)
    for root in sorted(roots):
        for path, below in _walk(root, skip=lambda name: name in _OWN_PACKAGES):
            top = below.parts[0]
            if top.endswith((".dist-info", ".egg-info")):
                package = re.split(r"-\d", top)[0].lower()
                kind = "readmes" if below.name in {"METADATA", "PKG-INFO"} else None
                if kind is None and (_LICENCE_NAME.search(below.name) or "licenses" in below.parts):
                    kind = "licences"
                # The version is in the folder's name; without it, an upgrade edits the document instead of moving it.
                name = f"{package}/{'/'.join(below.parts[1:])}"
            else:
                package, kind, name = top.removesuffix(".py"), _kind_of(str(below)), str(below)
            if kind is not None and package not in _OWN_PACKAGES and not package.startswith("gem_assets"):
                yield TextFile(path, kind, package, name, licences.get(package))


def _system_documentation() -> Iterator[TextFile]:
    documentation, manuals, licences = SYSTEM_ROOTS
    if documentation.is_dir():
        for path, below in _walk(documentation):
            plain = below.name.removesuffix(".gz")
            kind = _kind_of(plain)
            if kind in {"licences", "changelogs", "guides", "html"} and len(below.parts) > 1:
                yield TextFile(path, kind, below.parts[0], f"system/{below}")
    if manuals.is_dir():
        for path, below in _walk(manuals):
            language = None if below.parts[0].startswith("man") else below.parts[0].split("_")[0].split(".")[0]
            kind = "manual-pages" if language is None else "manual-pages-translated"
            group = below.name[:2] if language is None else below.parts[0]
            yield TextFile(path, kind, group, f"system/man/{below}", None, language or "en")
    if licences.is_dir():
        for path, below in _walk(licences):
            yield TextFile(path, "licences", "common-licenses", f"system/common-licenses/{below}")


def _licences_by_import_name(roots: set[Path]) -> dict[str, str]:
    """Read the licence that each distribution states, keyed by import name and by distribution name."""
    found: dict[str, str] = {}
    inside = tuple(os.path.realpath(root) + os.sep for root in roots)
    for distribution in importlib.metadata.distributions(path=[str(root) for root in roots]):
        metadata = distribution.metadata
        folder = os.path.realpath(str(distribution.locate_file("")))
        if not (folder + os.sep).startswith(inside):
            continue
        licence = _short(_field(metadata, "License-Expression")) or _short(_field(metadata, "License"))
        licence = licence or _classifier(metadata)
        if licence is None:
            continue
        name = _field(metadata, "Name").lower().replace("-", "_")
        tops = (distribution.read_text("top_level.txt") or "").split()
        for key in {name, *tops}:
            found.setdefault(key, licence)
    return found


def _field(metadata: importlib.metadata.PackageMetadata, name: str) -> str:
    return metadata[name] if name in metadata else ""  # noqa: SIM401  (the protocol has no get)


def _short(value: str) -> str | None:
    """Keep a licence field that is a name; some distributions put the full text there."""
    value = value.strip()
    return value if value and "\n" not in value and len(value) <= 60 and value != "UNKNOWN" else None


def _classifier(metadata: importlib.metadata.PackageMetadata) -> str | None:
    for line in metadata.get_all("Classifier") or []:
        if line.startswith("License :: "):
            return line.rsplit(" :: ", 1)[-1]
    return None
