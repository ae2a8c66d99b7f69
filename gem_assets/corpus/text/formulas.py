"""Write formulas, ruby, summaries and list numbers of a page as plain text, each once.

Pages carry a formula up to four times: as MathML, as TeX in an annotation, as glyphs that a script has drawn, and as
the alternative text of an image. What the author wrote is kept, TeX between dollar signs where there is TeX, and the
other forms go. Readings of ruby stand in brackets behind their characters, as in browsers that know no ruby. Items
of lists that do not count from 1 carry their numbers, which :func:`numbered` puts in the place of the extractor's.
"""

import re
import unicodedata
from typing import Final, cast

from resiliparse.parse.html import ELEMENT, TEXT, ElementNode, HTMLTree

_SIGNS: Final = (
    *("<ruby", "<summary", "<mjx-", "katex", "latex", "mimetex", "codecogs", "tex="),
    *('class="tex', "class='tex", "class=tex"),
)
# looked for where there is "math" at all
_MATH_SIGNS: Final = ("<math", "mathjax", "math/tex", "math/mml", "mwe-math", "mathtex", 'class="math')
_DRAWN: Final = frozenset(
    {
        *("MathJax", "MathJax_Preview", "MathJax_Display", "MathJax_SVG", "MathJax_SVG_Display", "MathJax_CHTML"),
        *("MJXc-display", "MathJax_MathML", "mjx-chtml"),
    }
)
# all elements that may be replaced, and more
_CANDIDATES: Final = ", ".join(
    [
        *("ol", "math", "ruby", "summary", 'script[type^="math/"]', "img[alt]", "mjx-container"),
        *(".mwe-math-element", ".katex", *(f".{name}" for name in sorted(_DRAWN))),
    ]
)
_TEX_IMAGE: Final = re.compile(r"latex\.php|/latex|codecogs|mathtex|mimetex|math/render|[?&]tex=", re.I)
_TEX_CLASSES: Final = frozenset({"tex", "latex", "math", "mwe-math-fallback-image-inline"})
# a character that cleaning takes out of any text
_MARK: Final = "\ufffa"
_COUNT: Final = re.compile(f"[0-9]+[.] *{_MARK}")
_COUNTED: Final = re.compile(r"<ol\s[^<>]*?(?:start\s*=|reversed)|<li\s[^<>]*?value\s*=")
_WHOLE: Final = re.compile(r"\s*-?[0-9]{1,9}\s*")
_STYLE: Final = re.compile(r"\{\\(?:displaystyle|textstyle)\s*(.*)\}", re.S)


def plain_formulas(html: str) -> str:
    """Return the page with its formulas and ruby as text; a page without any as it is."""
    lower = html.lower()
    counted = _COUNTED.search(lower) is not None
    signs = (*_SIGNS, *_MATH_SIGNS) if "math" in lower else _SIGNS
    if not counted and not any(sign in lower for sign in signs):
        return html
    tree = HTMLTree.parse(html)
    document = cast(ElementNode, tree.document)
    scripts = "math/tex" in html or "math/mml" in html
    found: list[tuple[ElementNode, str]] = []
    lists: list[ElementNode] = []
    # as a slice: to walk over the collection itself costs the square of its length
    inside = 0
    for node in document.query_selector_all(_CANDIDATES)[:]:
        # what is inside of a replaced element goes with it, and stands right behind it in the document's order
        if inside:
            inside -= 1
            continue
        if counted and node.tag == "ol":
            lists.append(node)
        text = _replacement(node, drawn_goes=scripts)
        if text is not None:
            found.append((node, text))
            inner = node.query_selector_all(_CANDIDATES)[:]
            inside = len(inner) - bool(inner and inner[0] == node)
    if not found and not lists:
        return html
    for node, text in found:
        if node.tag == "summary":
            node.append_child(cast(ElementNode, tree.create_element("br")))
        elif node.parent is not None:
            node.parent.replace_child(cast(ElementNode, tree.create_text_node(text)), node)
    for node in lists:
        _number(node, tree)
    return document.html


def numbered(text: str) -> str:
    """Put the numbers that :func:`plain_formulas` gave to items in the place of those from 1 on."""
    return _COUNT.sub("", text).replace(_MARK, "") if _MARK in text else text


def _number(node: ElementNode, tree: HTMLTree) -> None:
    """Begin the items of a list with their numbers."""
    items = [child for child in _children(node) if child.type == ELEMENT and child.tag == "li"]
    backwards = node.hasattr("reversed")
    number = _whole(node.getattr("start"), len(items) if backwards else 1)
    for item in items:
        number = _whole(item.getattr("value"), number)
        if (first := _first_text(item)) is not None and first.parent is not None:
            first.parent.insert_before(cast(ElementNode, tree.create_text_node(f"{_MARK}{number}. ")), first)
        number += -1 if backwards else 1


def _whole(written: str | None, otherwise: int) -> int:
    return int(written) if written and _WHOLE.fullmatch(written) else otherwise


def _first_text(node: ElementNode, depth: int = 0) -> ElementNode | None:
    """Return the first text of an item outside of lists in it."""
    for child in _children(node):
        if child.type != ELEMENT:
            if child.type == TEXT and (child.text or "").strip():
                return child
        elif child.tag in ("ol", "ul") or depth == _DEEP:
            return None
        elif (first := _first_text(child, depth + 1)) is not None:
            return first
    return None


def _replacement(node: ElementNode, *, drawn_goes: bool) -> str | None:
    """Return the text for an element, or None where it stays."""
    classes = set((node.getattr("class") or "").split())
    match node.tag:
        case "math":
            return _formula(node)
        case "ruby":
            return _ruby(node)
        case "summary":
            return ""
        case "script":
            kind = node.getattr("type") or ""
            if not kind.startswith(("math/tex", "math/mml")):
                return None
            if kind.startswith("math/mml"):
                return _inner_formula(_parsed(node.text or ""))
            return _between_dollars(node.text or "", display="display" in kind)
        case "img":
            alt = (node.getattr("alt") or "").strip()
            if alt and (classes & _TEX_CLASSES or _TEX_IMAGE.search(node.getattr("src") or "")):
                return _between_dollars(alt, display=False)
            return None
        case "mjx-container":
            formula = _inner_formula(node)
            return formula if formula is not None else _drawn_text(node)
        case _:
            pass
    if "mwe-math-element" in classes or "katex" in classes:
        formula = _inner_formula(node)
        return formula if formula is not None or "katex" not in classes else "".join((node.text or "").split()) or None
    if classes & _DRAWN:
        if drawn_goes:
            return ""
        written = node.getattr("data-mathml")
        formula = _inner_formula(_parsed(written) if written else node)
        return formula if formula is not None else _drawn_text(node)
    return None


def _parsed(html: str) -> ElementNode:
    return cast(ElementNode, HTMLTree.parse(html).document)


def _inner_formula(node: ElementNode) -> str | None:
    math = node.query_selector("math")
    return None if math is None else _formula(math)


def _formula(math: ElementNode) -> str:
    display = math.getattr("display") == "block"
    annotation = math.query_selector('annotation[encoding*="tex" i]')
    tex = annotation.text if annotation is not None else math.getattr("alttext")
    return _between_dollars(tex, display=display) if tex and tex.strip() else _glyphs(math)


def _between_dollars(tex: str, *, display: bool) -> str:
    tex = " ".join(tex.replace("<![CDATA[", "").replace("]]>", "").replace("% ", "").split()).strip("$")
    if match := _STYLE.fullmatch(tex):
        tex = match.group(1)
    mark = "$$" if display else "$"
    return f"{mark}{tex.strip()}{mark}"


_DEEP: Final = 100
_BETWEEN: Final = {"msup": "^", "msub": "_", "mfrac": "/", "munder": "_", "mover": "^"}
_BETWEEN_DRAWN: Final = _BETWEEN | {"frac": "/", "msubsup": "^", "script": "_"}
_CODE_POINT: Final = re.compile(r"(?:^|\s)mjx-c([0-9A-F]{2,5})(?:\s|$)")
_HEX: Final = re.compile(r"(?:0x)?[0-9A-Fa-f]{2,5}")


def _glyphs(node: ElementNode, depth: int = 0) -> str:
    if node.type != ELEMENT or depth == _DEEP:
        return "".join((node.text or "").split())
    if node.tag in ("annotation", "annotation-xml"):
        return ""
    parts = [part for child in _children(node) if (part := _glyphs(child, depth + 1))]
    if node.tag in ("msubsup", "munderover") and len(parts) == 3:
        return f"{parts[0]}_{parts[1]}^{parts[2]}"
    if node.tag in ("mtr", "mtext"):
        return " ".join(parts) + " "
    if node.tag == "msqrt":
        return f"\N{SQUARE ROOT}({''.join(parts)})"
    if node.tag == "mfrac":
        parts = [part if len(part) == 1 else f"({part})" for part in parts]
    return _BETWEEN.get(node.tag or "", "").join(parts)


def _drawn_text(node: ElementNode) -> str | None:
    """Return what MathJax has drawn without MathML beside it: its characters, else what it says to screen readers."""
    if drawn := _drawn(node):
        return drawn
    for name in ("aria-label", "data-semantic-speech", "alt"):
        labelled = node if node.getattr(name) else node.query_selector(f"[{name}]")
        if labelled is not None and (label := (labelled.getattr(name) or "").strip()):
            return label
    return None


def _drawn(node: ElementNode, depth: int = 0) -> str:
    """Return the characters, which are named by their code points only, in classes (CHTML) or attributes (SVG)."""
    if node.type != ELEMENT or depth == _DEEP:
        return ""
    code = node.getattr("data-c") or ""
    if node.tag == "mjx-c" and (match := _CODE_POINT.search(node.getattr("class") or "")):
        code = match.group(1)
    if code:
        # letters of formulas lie in a block of their own
        return unicodedata.normalize("NFKC", chr(int(code, 16))) if _HEX.fullmatch(code) else ""
    if node.tag == "mjx-utext":
        return (node.text or "").strip()
    parts = [part for child in _children(node) if (part := _drawn(child, depth + 1))]
    kind = node.getattr("data-mml-node") or (node.tag or "").removeprefix("mjx-")
    return _BETWEEN_DRAWN.get(kind, "").join(parts)


def _ruby(node: ElementNode) -> str:
    parts: list[str] = []
    for child in _children(node):
        text = "".join((child.text or "").split()) if child.type == ELEMENT else child.text or ""
        if child.type == ELEMENT and child.tag == "rp":
            continue
        if child.type == ELEMENT and child.tag in ("rt", "rtc"):
            parts.append(f"({text})" if text else "")
        else:
            parts.append(text)
    return "".join(parts).strip()


def _children(node: ElementNode) -> list[ElementNode]:
    children: list[ElementNode] = []
    child = cast(ElementNode | None, node.first_child)
    while child is not None:
        children.append(child)
        child = cast(ElementNode | None, child.next)
    return children
