"""Words of a text in any script, for keywords.

Scripts that put spaces between words give words; Han, Kana, Thai, Lao, Khmer and Burmese do not, and give
pairs of neighbouring characters, which is what their search engines index. Identifiers of code stay whole
(``__init__``, ``snake_case``, ``c++``), and the marks of scripts that write vowels as combining signs stay
inside their word.
"""

import re
import sys
import unicodedata
from functools import lru_cache
from itertools import groupby

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)

# Function words of the languages that crawls hold most of. Frequency finds the rest (see keywords.py).
_WORDS = """
a about above after again all also although always am an and another any are aren't around as at
back be because been before being below between both but by came can cannot can't come could
couldn't did didn't do does doesn't doing don't done down during each either else etc even ever
every few first for from further get gets getting give given go goes going got had has have haven't
having he he'd he'll he's her here hers herself him himself his how however i i'd i'll i'm i've if
in instead into is isn't it it'd it'll it's its itself just keep know last least less let let's like
made make makes making many may maybe me might mine more most much must my myself need needs never
new next no nor not nothing now of off often on once one only onto or other others our ours
ourselves out over own per perhaps please put quite rather really said same say says see seem seems
shall she she's should since so some something still such take than that that's the their theirs
them themselves then there there's these they they're thing things this those though through thus to
together too two under until up upon us use used uses using very via want was wasn't way we we'll
we're we've well went were weren't what what's when where whether which while who whom whose why
will with within without won't would wouldn't yes yet you you'd you'll you're you've your yours
yourself http https www com html org amp nbsp quot aber alle als am an auch auf aus bei bis das dass
dem den denn der des die dies diese dieser dieses durch ein eine einem einen einer eines er es für
hat hatte ich ihr ihre im ist kann kein keine mit nach nicht noch nur oder ohne sein seine sich sie
sind so soweit sowie über um und uns unter vom von vor war waren wenn werden wie wird wir wurde zu
zum zur au aux avec ce ces cette dans de des du elle en est et eux il ils je la le les leur lui mais
ne nous on ou où par pas plus pour qu que qui sa se ses son sont sur tous tout un une vous al como
con del desde el ella ellos entre era es esta este esto ha hay la las lo los más me mi muy no nos o
para pero por porque que se ser si sin sobre su sus también un una y ya ao aos as com da das do dos
e ela ele em entre essa esse foi isso mais mas na nas nos o os ou para pela pelo por são seu sua
também um uma al alla che chi come con da dal dalla degli dei del della delle di gli ha il in io la
le lo ma nel nella non per più quando questo questa si sono su sul tra un una aan als bij dat de den
der dit door een en er het hij ik in is met naar niet of om onder ook op over te tot uit van voor
was wat werd worden wordt zich zijn а без бы был была были было быть в вам вас весь во вот все всё
вы где да для до его ее её если есть еще ещё же за и из или им их к как ко когда кто ли мне может мы
на над не него нее нет ни но о об он она они от по под при с со так также там то того тоже только
том ты у уже что чтобы эта эти это этого я في من على إلى عن أن إن هذا هذه التي الذي كان كانت قد لا
ما مع أو و هو هي كما بين بعد قبل كل ثم لم का की के को है हैं में से और पर यह था थे थी ने भी एक कि जो
तो नहीं
"""
FUNCTION_WORDS = frozenset(_WORDS.split())


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    # `\w` leaves out combining marks, which would cut Hindi, Tamil or pointed Hebrew inside a word
    marks = "".join(
        re.escape(chr(code))
        for code in range(0x300, 0xFFFF)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not re.match(f"[{UNSPACED}]", chr(code))
    )
    assert sys.maxunicode > 0xFFFF
    letter = rf"[^\W{UNSPACED}]"
    word = rf"(?:{letter}[{marks}]*)+"
    return re.compile(rf"(?P<plus>\b[a-zA-Z]\+\+|\b[a-zA-Z]#)|(?P<word>{word}(?:['’\-]{word})*)|(?P<run>[{UNSPACED}]+)")


def tokenize(text: str) -> list[str | None]:
    """Split a text into lower-case keyword candidates.

    Function words, numbers and single letters come back as ``None``, so that a caller that joins neighbours
    does not join across them.
    """
    tokens: list[str | None] = []
    for match in _pattern().finditer(text.lower()):
        piece = match.group()
        if match.lastgroup == "run":
            tokens.extend([piece[i : i + 2] for i in range(len(piece) - 1)] or [None])
        elif match.lastgroup == "plus":
            tokens.append(piece)
        else:
            tokens.append(_keyword(piece))
    return tokens


def is_unspaced(token: str) -> bool:
    """Whether the token comes from a script without spaces."""
    return bool(re.match(f"[{UNSPACED}]", token))


@lru_cache(maxsize=200_000)
def _keyword(piece: str) -> str | None:
    # a few thousand words make up most of any text, so most answers are known
    word = piece.replace("’", "'").removesuffix("'s")
    return None if _is_noise(word) else word


def _is_noise(word: str) -> bool:
    if len(word) < 2 or len(word) > 40 or word in FUNCTION_WORDS:
        return True
    digits = sum(c.isdigit() for c in word)
    if digits * 2 > len(word) or not word.strip("_"):
        return True
    # rulers and padding: one character over and over
    return len(word) > 3 and max(len(list(g)) for _, g in groupby(word)) * 2 > len(word)
