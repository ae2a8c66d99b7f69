"""Detect the language of a text from its script, its function words, and resiliparse's n-gram distances.

The script comes first: it leaves one language or a few, and no distance may name another. Where the languages of a
script are too close for distances (Devanagari), or the distances know one of them only, words and letters that one
language has decide. In the Latin script a language has to show some of its function words: tables, product names and
lists of figures come out as Latin, Danish or Latvian otherwise. Source code is a class of its own. What remains is
undetermined, which is not a guess.
"""

import re
from collections import Counter
from typing import Final, cast

from resiliparse.parse.lang import detect_fast

from gem_assets.corpus.text.described import ALONE_IN_ENGLISH, LANG_CHARS, TextFacts, ending_list, marker_list
from gem_assets.corpus.text.scripts import SCRIPT_LANGUAGES
from gem_assets.corpus.text.stopwords import MARKER_ENDINGS, MARKER_LETTERS, MARKERS

UNKNOWN: Final = "und"
CODE: Final = "code"

_FAR: Final = 1200
_FLOOR: Final = 0.3
_CANDIDATES: Final = 5
_NEAR: Final = 120
_MAIN: Final = 0.5
_FEW_LANGUAGES: Final = 2
# Japanese mixes kana and Han, Korean hangul and Han: a tenth of the own script settles it
_SETTLES: Final = (("Kana", 0.1), ("Hangul", 0.3))
_LATIN: Final = list(SCRIPT_LANGUAGES["Latin"])
_EVIDENCE: Final = 0.04
_FEW_WORDS: Final = 12
_FEWEST: Final = 2
_PROSE: Final = 0.27
_CODE_SIGN_SHARE: Final = 0.04
_CODE_LINE_SHARE: Final = 0.4
_CODE_LINE: Final = re.compile(
    r"""^(?=[^\n]{1,200}$)(?![^\n]*\\[a-zA-Z]{2})[ \t]*+(?:
      \#[ \t]*+(?:include|define|ifdef|ifndef|endif|if|pragma)\b
     |(?://|/\*|\*/|<!--|\#!|@\w)
     |[\]\[(){}<>]++[;,:]*+[ \t]*+$
     |</?\w[^>\n]*+>(?:[^\n]*</?\w[^>\n]*+>)?[ \t]*+$
     |(?:import|from|package|using|use|require)[ \t]++[\w.:*{"'<\\]++[^.?!\n]*+$
     |(?:def|class|func|fn|function|struct|enum|interface|impl|module)[ \t]++\w++[^.?!:({\n]*+[:({]
     |(?:if|elif|else|for|while|try|except|finally|with|switch|case|return|raise|throw|assert|break|continue|pass|end
        |const|let|var|public|private|protected|static|async|await|yield|print|echo|del)\b[^?!\n]*+(?<![.a-z][.])$
     |[\w.\[\]"'*&>-]++[ \t]*+(?:=|\+=|-=|\*=|:=|<-|=>|->)[ \t]*+\S
     |[\w.:>-]++\(
     |[^\n]*+(?<=[;{}\\])[ \t]*+$
     |[^\n]*+(?<=\)[;,:{]|\]\))[ \t]*+$
    )""",
    re.X | re.M,
)


def detect_language(text: str, facts: TextFacts) -> tuple[str, float]:
    """Return a language code and a confidence from 0 to 1; ``und`` and 0 where nothing fits, ``code`` for source code.

    ``text`` is clean text, of which the first ``LANG_CHARS`` characters count.
    """
    text = text[:LANG_CHARS]
    # a list of clauses looks like code, but for its function words
    if (share := _code_share(text, facts)) >= _CODE_LINE_SHARE and _evidence(facts, "en") < _PROSE:
        return CODE, share
    scripts = facts.scripts
    letters = sum(scripts.values())
    if not letters:
        return UNKNOWN, 0.0
    for script, least in _SETTLES:
        if (own := scripts.get(script, 0)) >= least * letters:
            return SCRIPT_LANGUAGES[script][0], (own + scripts.get("Han", 0)) / letters
    script, found = max(scripts.items(), key=lambda item: item[1])
    if found < _MAIN * letters:
        return UNKNOWN, 0.0
    if script == "Latin":
        return _latin_language(text, facts)
    languages = SCRIPT_LANGUAGES.get(script, ())
    if len(languages) == 1:
        return languages[0], found / letters
    if (marked := _marked_language(script, text, facts)) is not None:
        return marked
    if script in MARKERS or not languages:
        return UNKNOWN, 0.0
    nearest = _nearest(text, list(languages))
    if len(languages) == _FEW_LANGUAGES:
        # one of two is likely enough, however far
        return (nearest[0][0] if nearest else languages[0]), max(_confidence(nearest[0][1]) if nearest else 0.0, 0.5)
    return _confident(*nearest[0]) if nearest else (UNKNOWN, 0.0)


def _code_share(text: str, facts: TextFacts) -> float:
    """Return the share of lines that look like source code, 0 where too few of its signs are used."""
    if facts.code_marks <= _CODE_SIGN_SHARE * facts.n_chars:
        return 0.0
    lines = len([line for line in text.split("\n") if line.strip()])
    return len(_CODE_LINE.findall(text)) / lines if lines > 1 else 0.0


def _latin_language(text: str, facts: TextFacts) -> tuple[str, float]:
    nearest = _nearest(text, _LATIN)
    best = nearest[0] if nearest else (UNKNOWN, _FAR)
    other = next((code for code, _ in nearest if code != "en"), UNKNOWN)
    if _is_english(facts, other) and (best[0] != "en" or _confidence(best[1]) < _FLOOR):
        return "en", max(_confidence(best[1]), 0.5)
    for code, distance in nearest:
        if distance > best[1] + _NEAR:
            break
        if code == "en" or _evidence(facts, code) >= _EVIDENCE:
            return _confident(code, distance)
    return UNKNOWN, 0.0


def _marked_language(script: str, text: str, facts: TextFacts) -> tuple[str, float] | None:
    """Decide by what one language of a script has and its neighbours have not; None where that settles nothing."""
    votes: Counter[str] = Counter()
    for code, letters in MARKER_LETTERS.get(script, {}).items():
        votes[code] += sum(map(text.count, letters))
    if script in MARKERS:
        for code in MARKERS[script]:
            votes[code] += facts.found(marker_list(code))
        for code in MARKER_ENDINGS.get(script, {}):
            votes[code] += facts.found(ending_list(code))
    (first, most), (_, second) = [*votes.most_common(2), (UNKNOWN, 0), (UNKNOWN, 0)][:2]
    if most < 2 * second or most < max(1, 0.02 * facts.n_words):
        return None
    return first, most / (most + second + 1)


def _nearest(text: str, languages: list[str]) -> list[tuple[str, int]]:
    found = detect_fast(text, cutoff=_FAR, n_results=_CANDIDATES, langs=languages)
    return cast(list[tuple[str, int]], found)


def _confidence(distance: int) -> float:
    return max(0.0, 1.0 - distance / _FAR)


def _confident(code: str, distance: int) -> tuple[str, float]:
    confidence = _confidence(distance)
    return (code, confidence) if confidence >= _FLOOR else (UNKNOWN, 0.0)


def _evidence(facts: TextFacts, code: str) -> float:
    """Return the share of words that are function words of a language; one word alone is an accident in a long text."""
    few = min(facts.n_words // _FEW_WORDS, _FEWEST)
    return facts.found(code) / facts.n_words if facts.distinct(code) > few else 0.0


def _is_english(facts: TextFacts, other: str) -> bool:
    ours, theirs = _evidence(facts, "en"), _evidence(facts, other)
    return ours > theirs and (facts.found(ALONE_IN_ENGLISH) >= 0.02 * facts.n_words or ours >= 0.15)
