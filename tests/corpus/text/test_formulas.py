"""Formulas, ruby and summaries: once, as text."""

import pytest

from gem_assets.corpus.text.formulas import plain_formulas
from gem_assets.corpus.text.html import html_to_text

TEX = r"\frac{a}{b}=c^2"
GLYPHS = "<mfrac><mi>a</mi><mi>b</mi></mfrac><mo>=</mo><msup><mi>c</mi><mn>2</mn></msup>"
ANNOTATED = (
    f"<math><semantics><mrow>{GLYPHS}</mrow>"
    f'<annotation encoding="application/x-tex">{TEX}</annotation></semantics></math>'
)
STYLED = rf"{{\displaystyle {TEX}}}"
DRAWN = "<nobr><span>a</span><span>b</span><span>=</span><span>c</span><span>2</span></nobr>"
ESCAPED = f"<math>{GLYPHS}</math>".replace("<", "&lt;").replace(">", "&gt;")


def line_with(formula: str) -> str:
    return html_to_text(f"<main><p>It is {formula} as is known.</p></main>").strip()


@pytest.mark.parametrize(
    "formula",
    [
        pytest.param(ANNOTATED, id="MathML with TeX"),
        pytest.param(f'<math alttext="{TEX}">{GLYPHS}</math>', id="alternative text"),
        pytest.param(
            f'<span class="katex"><span class="katex-mathml">{ANNOTATED}</span>'
            f'<span class="katex-html" aria-hidden="true">{DRAWN}</span></span>',
            id="KaTeX",
        ),
        pytest.param(f'<script type="math/tex">{TEX}</script>', id="MathJax source"),
        pytest.param(
            f'<span class="MathJax_Preview">{DRAWN}</span><span class="MathJax" data-mathml="{ESCAPED}">{DRAWN}'
            f'<span class="MJX_Assistive_MathML"><math>{GLYPHS}</math></span></span>'
            f'<script type="math/tex">{TEX}</script>',
            id="MathJax 2",
        ),
        pytest.param(
            f'<mjx-container class="MathJax"><svg><text>ab</text></svg><mjx-assistive-mml>{ANNOTATED}'
            "</mjx-assistive-mml></mjx-container>",
            id="MathJax 3",
        ),
        pytest.param(
            f'<span class="mwe-math-element"><span style="display: none;">{ANNOTATED.replace(TEX, STYLED)}'
            f'</span><img src="x.svg" class="mwe-math-fallback-image-inline" alt="{TEX}"></span>',
            id="Wikipedia",
        ),
        pytest.param(f'<img class="tex" alt="{TEX}" src="a.png">', id="image"),
        pytest.param(f'<img alt="{TEX}" src="https://s0.example.org/latex.php?latex=x">', id="image by address"),
    ],
)
def test_a_formula_comes_once_as_its_author_wrote_it(formula):
    assert line_with(formula) == f"It is ${TEX}$ as is known."


@pytest.mark.parametrize(
    "formula",
    [
        pytest.param(f"<math>{GLYPHS}</math>", id="MathML"),
        pytest.param(f'<span class="MathJax" data-mathml="{ESCAPED}">{DRAWN}</span>', id="MathJax with MathML"),
        pytest.param(f'<script type="math/mml"><math>{GLYPHS}</math></script>', id="script"),
    ],
)
def test_without_tex_the_glyphs_come_once(formula):
    assert line_with(formula) == "It is a/b=c^2 as is known."


def test_displayed_formulas():
    assert "$$x<y$$" in html_to_text('<p>a</p><script type="math/tex; mode=display">x<y</script><p>b</p>')
    assert "$$x$$" in html_to_text('<p>a</p><math display="block" alttext="x"><mi>x</mi></math><p>b</p>')


def test_readings_stand_in_brackets():
    ruby = "<ruby>\u6f22\u5b57<rp>(</rp><rt>kanji</rt><rp>)</rp></ruby>\u3092<ruby>\u66f8<rt>ka</rt></ruby>\u304f"
    assert html_to_text(f"<p>{ruby}</p>").strip() == "\u6f22\u5b57(kanji)\u3092\u66f8(ka)\u304f"


def test_a_summary_is_a_line():
    assert html_to_text("<details><summary>More</summary>Hidden text</details>").split("\n") == ["More", "Hidden text"]


@pytest.mark.parametrize(
    "html",
    [
        "<p>Plain.</p>",
        "<pre>\n  a\n    b</pre><p>About latex</p>",
        "<p>Cost: $5 and $6</p>",
        "<svg></svg><p>a&amp;b</p>",
    ],
)
def test_pages_without_formulas_are_not_touched(html):
    assert plain_formulas(html) == html


def test_code_beside_a_formula_keeps_its_lines():
    text = html_to_text(
        f"<p>See {ANNOTATED}</p><pre>def f():\n    return  1\n\n    # end</pre><p>Call <code>f()</code>.</p>"
    )
    assert "def f():\n    return  1\n\n    # end" in text
    assert "Call f()." in text


def test_deep_formulas_keep_their_text():
    assert "x" in line_with("<math>" + "<mrow>" * 400 + "<mi>x</mi>" + "</mrow>" * 400 + "</math>")


CODES = {"x": "1D465", "+": "2B", "1": "31", "2": "32"}


def chtml(sign: str) -> str:
    return f'<mjx-mi><mjx-c class="mjx-c{CODES[sign]} TEX-I"></mjx-c></mjx-mi>'


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        (f"<mjx-math>{chtml('x')}{chtml('+')}{chtml('1')}</mjx-math>", "x+1"),
        (f"<mjx-msup>{chtml('x')}<mjx-script>{chtml('2')}</mjx-script></mjx-msup>", "x^2"),
        (
            f"<mjx-mfrac><mjx-frac><mjx-num>{chtml('1')}</mjx-num><mjx-den>{chtml('x')}</mjx-den></mjx-frac></mjx-mfrac>",
            "1/x",
        ),
        ('<svg><g data-mml-node="msub"><use data-c="1D465"></use><use data-c="31"></use></g></svg>', "x_1"),
        ('<svg aria-label="x plus one"><path d="M0 0"></path></svg>', "x plus one"),
        ('<mjx-c class="mjx-cZZ"></mjx-c><mjx-math data-semantic-speech="x squared"></mjx-math>', "x squared"),
        ('<mjx-c class="mjx-cFFFFF"></mjx-c>', chr(0xFFFFF)),
    ],
)
def test_what_mathjax_has_drawn_without_mathml(drawn, text):
    assert text in plain_formulas(f'<p>It is <mjx-container class="MathJax">{drawn}</mjx-container> as is known.</p>')


def test_katex_without_mathml():
    html = '<span class="katex"><span class="katex-html" aria-hidden="true"><i>a</i> <i>+</i><i>b</i></span></span>'
    assert line_with(html) == "It is a+b as is known."


@pytest.mark.parametrize(
    ("items", "numbers"),
    [
        ('<ol start="5"><li>red<li>blue</ol>', ["5. red", "6. blue"]),
        ("<ol reversed><li>red</li><li><p>blue</p></li></ol>", ["2. red", "1. blue"]),
        ('<ol><li>red</li><li value="7"><b>blue</b></li><li>green</li></ol>', ["1. red", "7. blue", "8. green"]),
        ('<ol start="-1"><li>red</li><li></li><li>blue</li></ol>', ["-1. red", "1. blue"]),
        ('<ol><li>red<ol start="3"><li>blue</li></ol></li><li>green</li></ol>', ["1. red", "3. blue", "2. green"]),
        ('<ol start="x"><li>red</li></ol>', ["1. red"]),
        ("<ol><li>red</li><li>blue</li></ol>", ["1. red", "2. blue"]),
    ],
)
def test_lists_count_as_a_browser_does(items, numbers):
    text = html_to_text(f"<main><p>What follows is a list of the colours on the boats.</p>{items}</main>")
    assert [line.strip() for line in text.split("\n") if line.strip()][1:] == numbers
