"""Cut files into documents of sensible size: one function, docstring, section or run of lines each.

A document is 400 to about 6,000 characters long. Cutting follows the text's own seams (definitions, headings, blank
lines) and costs one pass over the file; Python files are parsed.
"""

import ast
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from gem_assets.demo.finding import KIND_BY_NAME, TextFile, fraction
from gem_assets.demo.manual import manual_text

DOMAIN = "example"
MAX_FILE_BYTES = 900_000
MIN_CHARS = 400
TARGET_CHARS = 2_400
MAX_CHARS = 6_000

_URL_SAFE = "/:@,~()+"

Piece = tuple[str, str]
"""What names the piece inside its file, and its text."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One document of the demo.

    Attributes
    ----------
    url
        Address on the reserved top-level domain ``.example``; the host is the kind of text.
    text
        The text, exactly as it stands in the file (manual pages: as it reads).
    kind
        Kind of text: the name of a ``finding.Kind``.
    """

    url: str
    text: str
    kind: str
    licence: str | None
    language: str | None

    @property
    def source(self) -> str:
        """Site of the address; what a reader of web archives takes for the source of the page."""
        return f"{self.kind}.{DOMAIN}"


def cut(file: TextFile, seed: int) -> list[Passage]:
    """Cut a file into passages; at most as many as its kind allows, chosen by seed.

    A file that cannot be read, decoded or parsed gives none: the demo does not promise which files take part.
    """
    kind = KIND_BY_NAME[file.kind]
    text = _read(file)
    if text is None:
        return []
    pieces = [(name, piece) for name, piece in _SPLITTERS[kind.splitter](text) if len(piece) >= MIN_CHARS]
    if len(pieces) > kind.per_file:
        ranked = sorted(pieces, key=lambda piece: fraction(seed, file.name, piece[0]))
        chosen = {name for name, _ in ranked[: kind.per_file]}
        pieces = [piece for piece in pieces if piece[0] in chosen]
    return [
        Passage(
            f"https://{file.kind}.{DOMAIN}/{quote(f'{file.name}/{name}', safe=_URL_SAFE)}",
            piece,
            file.kind,
            file.licence,
            file.language,
        )
        for name, piece in pieces
    ]


def _read(file: TextFile) -> str | None:
    try:
        with file.path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            return None
        if file.path.suffix == ".gz":
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(MAX_FILE_BYTES)
        text = raw.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None
    if "\0" in text:
        return None
    if file.path.name in {"METADATA", "PKG-INFO"}:
        text = text.partition("\n\n")[2]
    return text.replace("\r\n", "\n")


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _python_code(text: str) -> Iterator[Piece]:
    """Yield one function or class each; a class too long for one document comes method by method."""
    module = _parse(text)
    if module is None:
        return
    lines = text.splitlines()
    for node in module.body:
        if not isinstance(node, _Definition):
            continue
        piece = _source(lines, node)
        if len(piece) <= MAX_CHARS:
            yield node.name, piece
        elif isinstance(node, ast.ClassDef):
            methods = [inner for inner in node.body if isinstance(inner, _Definition)]
            yield from ((f"{node.name}.{inner.name}", _source(lines, inner)[:MAX_CHARS]) for inner in methods)


def _source(lines: list[str], node: _Definition) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _docstrings(text: str) -> Iterator[Piece]:
    """Yield the docstrings of the module, its classes and functions."""
    module = _parse(text) if '"""' in text else None
    if module is None:
        return
    nodes: list[tuple[str, ast.Module | _Definition]] = [("module", module)]
    for node in module.body:
        if isinstance(node, _Definition):
            nodes.append((node.name, node))
        if isinstance(node, ast.ClassDef):
            nodes.extend((f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, _Definition))
    for name, node in nodes:
        docstring = ast.get_docstring(node)
        if docstring is not None and len(docstring) >= MIN_CHARS:
            yield from ((f"{name}/{section}", piece) for section, piece in _prose(docstring))


def _parse(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return None


def _help_topics(text: str) -> Iterator[Piece]:
    """Yield the sections of the help texts that Python keeps as one dictionary of topics."""
    module = _parse(text)
    for statement in module.body if module is not None else []:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            for topic, body in sorted(topics.items()):
                yield from ((f"{topic}/{section}", piece) for section, piece in _prose(body))


_HEADING = re.compile(r"^(#{1,4} |=={3,}|\S[^\n]*\n[=~^*-]{4,}\s*$)", re.MULTILINE)


def _prose(text: str) -> Iterator[Piece]:
    """Yield runs of whole paragraphs; a heading opens a new run once the last one is long enough."""
    run: list[str] = []
    size = number = 0
    for paragraph in re.split(r"\n\s*\n", text):
        starts = _HEADING.match(paragraph) is not None
        if run and (size + len(paragraph) > MAX_CHARS or size >= TARGET_CHARS or (starts and size >= MIN_CHARS * 2)):
            yield f"section-{number}", "\n\n".join(run).strip("\n")
            run, size, number = [], 0, number + 1
        run.append(paragraph[:MAX_CHARS])
        size += len(paragraph) + 2
    if run:
        yield f"section-{number}", "\n\n".join(run).strip("\n")


def _lines(text: str) -> Iterator[Piece]:
    """Yield runs of lines that end at a blank or unindented line; minified files give nothing."""
    lines = text.splitlines()
    if any(len(line) > 1_000 for line in lines):
        return
    run: list[str] = []
    size, first = 0, 1
    for number, line in enumerate(lines, start=1):
        seam = not line.strip() or not line[0].isspace()
        if run and ((size >= TARGET_CHARS and seam) or size >= MAX_CHARS - 1_000):
            yield f"L{first}-L{number - 1}", "\n".join(run).strip("\n")
            run, size, first = [], 0, number
        run.append(line)
        size += len(line) + 1
    if run:
        yield f"L{first}-L{len(lines)}", "\n".join(run).strip("\n")


def _manual_page(text: str) -> Iterator[Piece]:
    yield from _prose(manual_text(text))


_SPLITTERS: dict[str, Callable[[str], Iterator[Piece]]] = {
    "python_code": _python_code,
    "docstrings": _docstrings,
    "prose": _prose,
    "lines": _lines,
    "manual_page": _manual_page,
    "help_topics": _help_topics,
}
