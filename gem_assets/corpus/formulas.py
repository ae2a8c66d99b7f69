"""Formulas, ruby and summaries of a page as plain text, each once.

Pages carry a formula up to four times: as MathML, as TeX in an annotation, as glyphs that a script has drawn, and as
the alternative text of an image. What the author wrote is kept, TeX between dollar signs where there is TeX, and the
other forms go. Readings of ruby stand in brackets behind their characters, as in browsers that know no ruby.
"""

import re
from typing import Final, cast

from resiliparse.parse.html import ELEMENT, DOMContext, ElementNode, HTMLTree, traverse_dom

_SIGNS: Final = (
    *("<math", "<ruby", "<summary", "<mjx-", "katex", "mathjax", "math/tex", "math/mml", "mwe-math"),
    *("latex", "mimetex", "mathtex", "codecogs", "tex=", 'class="tex', "class='tex", "class=tex", 'class="math'),
)
_DRAWN: Final = frozenset(
    {
        *("MathJax", "MathJax_Preview", "MathJax_Display", "MathJax_SVG", "MathJax_SVG_Display", "MathJax_CHTML"),
        *("MJXc-display", "MathJax_MathML", "mjx-chtml"),
    }
)
_TEX_IMAGE: Final = re.compile(r"latex\.php|/latex|codecogs|mathtex|mimetex|math/render|[?&]tex=", re.I)
_TEX_CLASSES: Final = frozenset({"tex", "latex", "math", "mwe-math-fallback-image-inline"})
_STYLE: Final = re.compile(r"\{\\(?:displaystyle|textstyle)\s*(.*)\}", re.S)


def plain_formulas(html: str) -> str:
    """Return the page with its formulas and ruby as text; a page without any as it is."""
    lower = html.lower()
    if not any(sign in lower for sign in _SIGNS):
        return html
    tree = HTMLTree.parse(html)
    scripts = "math/tex" in html or "math/mml" in html
    found: list[tuple[ElementNode, str]] = []
    inside: list[int] = []

    def enter(context: DOMContext) -> None:
        node = cast(ElementNode, context.node)
        while inside and context.depth <= inside[-1]:
            inside.pop()
        # what is inside of a replaced element goes with it
        if inside or node.type != ELEMENT:
            return
        text = _replacement(node, drawn_goes=scripts)
        if text is not None:
            found.append((node, text))
            inside.append(context.depth)

    traverse_dom(cast(ElementNode, tree.document), enter)
    if not found:
        return html
    for node, text in found:
        if node.tag == "summary":
            node.append_child(cast(ElementNode, tree.create_element("br")))
        elif node.parent is not None:
            node.parent.replace_child(cast(ElementNode, tree.create_text_node(text)), node)
    return cast(ElementNode, tree.document).html


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
            return _inner_formula(node)
        case _:
            pass
    if "mwe-math-element" in classes or "katex" in classes:
        return _inner_formula(node)
    if classes & _DRAWN:
        if drawn_goes:
            return ""
        written = node.getattr("data-mathml")
        return _inner_formula(_parsed(written) if written else node)
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
