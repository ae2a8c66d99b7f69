"""The languages that data sets name, in one spelling: ISO 639-1 codes, ISO 639-3 where there is no shorter one."""

import json
import re
from typing import Any, Final, cast

_KNOWN: Final = """
aa aar afar|ab abk abkhazian|ae ave avestan|af afr afrikaans|ak aka akan|am amh amharic|an arg aragonese
ar ara arb arabic|as asm assamese|av ava avaric|ay aym ayr aymara|az aze azj azerbaijani|ba bak bashkir
be bel belarusian|bg bul bulgarian|bi bis bislama|bm bam bambara|bn ben bengali bangla|bo bod tib tibetan
br bre breton|bs bos bosnian|ca cat catalan|ce che chechen|ch cha chamorro|co cos corsican|cr cre cree
cs ces cze cz czech|cu chu|cv chv chuvash|cy cym wel welsh|da dan dk danish dansk|de deu ger german deutsch
dv div dhivehi divehi maldivian|dz dzo dzongkha|ee ewe|el ell gre greek ελληνικά|en eng english|eo epo esperanto
es spa spanish español espanol castilian|et est ekk estonian|eu eus baq basque
fa fas per pes persian farsi فارسی|ff ful fulah fula fulfulde|fi fin finnish suomi|fj fij fijian|fo fao faroese
fr fra fre french français francais|fy fry frisian|ga gle irish|gd gla gaelic|gl glg galician|gn grn guarani
gu guj gujarati|gv glv manx|ha hau hausa|he heb iw hebrew עברית|hi hin hindi हिन्दी|ho hmo
hr hrv scr croatian hrvatski|ht hat haitian|hu hun hungarian magyar|hy hye arm armenian|hz her herero
ia ina interlingua|id ind in indonesian indonesia|ie ile interlingue|ig ibo igbo|ii iii|ik ipk inupiaq|io ido
is isl ice icelandic|it ita italian italiano|iu iku inuktitut|ja jpn jp japanese 日本語|jv jav jw javanese
ka kat geo georgian|kg kon kongo|ki kik kikuyu|kj kua|kk kaz kazakh|kl kal greenlandic kalaallisut|km khm khmer
kn kan kannada|ko kor korean 한국어|kr kau kanuri|ks kas kashmiri|ku kur kmr kurdish|kv kom komi|kw cor cornish
ky kir kyrgyz kirghiz|la lat latin|lb ltz luxembourgish|lg lug luganda ganda|li lim limburgish|ln lin lingala
lo lao laotian|lt lit lithuanian|lu lub|lv lav lvs latvian|mg mlg plt malagasy|mh mah marshallese
mi mri mao maori|mk mkd mac macedonian|ml mal malayalam|mn mon khk mongolian|mr mar marathi|ms msa may zsm malay
mt mlt maltese|my mya bur burmese|na nau nauru|nd nde|ne nep npi nepali|ng ndo
nl nld dut dutch flemish nederlands|nn nno nynorsk|no nor nob nb norwegian norsk|nr nbl|nv nav navajo
ny nya chichewa nyanja|oc oci occitan|oj oji ojibwa|om orm gaz oromo|or ori ory odia oriya|os oss ossetian
pa pan pnb punjabi panjabi|pi pli pali|pl pol polish polski|ps pus pbt pashto
pt por portuguese português portugues|qu que quy quechua|rm roh romansh|rn run rundi
ro ron rum mo mol romanian română|ru rus russian русский|rw kin kinyarwanda|sa san sanskrit|sc srd sardinian
sd snd sindhi|se sme|sg sag sango|si sin sinhala sinhalese|sk slk slo slovak|sl slv slovenian slovene
sm smo samoan|sn sna shona|so som somali|sq sqi alb als albanian|sr srp scc serbian српски|ss ssw swati|st sot sotho
sh hbs|su sun sundanese|sv swe swedish svenska|sw swa swh swahili|ta tam tamil|te tel telugu|tg tgk tajik|th tha thai
ti tir tigrinya|tk tuk turkmen|tl tgl fil tagalog filipino|tn tsn tswana|to ton tongan|tr tur turkish türkçe
ts tso tsonga|tt tat tatar|tw twi|ty tah tahitian|ug uig uyghur uighur|uk ukr ukrainian українська|ur urd urdu
uz uzb uzn uzbek|ve ven venda|vi vie vietnamese|vo vol volapük|wa wln walloon|wo wol wolof|xh xho xhosa
yi yid ydd ji yiddish|yo yor yoruba|za zha zhuang|zh zho chi cmn cn chinese mandarin 中文|zu zul zulu|ckb sorani
yue cantonese|ceb cebuano|haw hawaiian|sco scots|hmn hmong|mai maithili|bho bhojpuri|sat santali|ast asturian
code source programming
"""
_CODES: Final = {
    name: entry.split()[0]
    for line in _KNOWN.split("\n")
    for entry in line.split("|")
    if entry
    for name in entry.split()
}
NO_LANGUAGE: Final = frozenset(
    {
        "und",
        "unk",
        "unknown",
        "mis",
        "mul",
        "zxx",
        "nan",
        "none",
        "null",
        "other",
        "xx",
        "xxx",
        "na",
        "all",
        "any",
        "txt",
    }
)
"""Spellings of "unknown", "several" and "none"."""
_TAG: Final = re.compile(r"([a-z]{2,3})(?:[-_](?:[a-z0-9]{1,8}))*")
_WORDS: Final = re.compile(r"[^\W\d_]{2,}")
_KEYS: Final = ("code", "lang", "language", "label", "lang_code", "language_code", "id", "name")
_SCORES: Final = ("score", "prob", "probability", "confidence", "percent", "percentage")
_LONGEST: Final = 2048


def language_code(given: str | None) -> str | None:
    """Return the code of a language as a data set names it, or None where what it says names none.

    Understood are ISO 639 codes with or without script and region (``eng_Latn``, ``en-US``), English and some native
    names, labels of fastText, and lists and objects of these as JSON or Python writes them: of a list the first, of
    an object with scores the one with the highest.

    ``given`` is the field as text.
    """
    if not given or len(given) > _LONGEST:
        return None
    text = given.strip()
    if text[:1] in ("[", "{", "("):
        return _first_code(_parsed(text))
    return _code(text)


def _parsed(text: str) -> Any:
    for spelling in (text, "[" + text.strip("()") + "]"):
        for quoted in (spelling, spelling.replace("'", '"')):
            try:
                return json.loads(quoted)
            except (ValueError, RecursionError):
                continue
    # numpy writes arrays without commas
    return re.findall(r"[\w@-]+", text)


def _first_code(value: Any) -> str | None:
    if isinstance(value, str):
        return _code(value)
    if isinstance(value, list):
        entries = cast(list[Any], value)
        if len(pairs := _pairs(entries)) == len(entries):
            return _first_code(pairs)
        scored = [entry for entry in entries if isinstance(entry, dict) and _score(entry) is not None]
        if len(scored) == len(entries):
            entries = sorted(scored, key=lambda entry: -(_score(entry) or 0.0))
        return next((code for entry in entries if (code := _first_code(entry)) is not None), None)
    if isinstance(value, dict):
        entry = cast(dict[str, Any], value)
        for key in _KEYS:
            if isinstance(entry.get(key), str):
                return _code(entry[key])
        if len(entry) == 1 and isinstance(inner := next(iter(entry.values())), dict | list):
            return _first_code(inner)
        if entry and all(isinstance(score, int | float) for score in entry.values()):
            ranked = sorted(entry, key=lambda name: -entry[name])
            return next((code for name in ranked if (code := _code(name)) is not None), None)
    return None


def _pairs(entries: list[Any]) -> dict[str, float]:
    """Return the entries that are a code and its score."""
    lists = [cast(list[Any], entry) for entry in entries if isinstance(entry, list)]
    return {e[0]: e[1] for e in lists if len(e) == 2 and isinstance(e[0], str) and isinstance(e[1], int | float)}


def _score(entry: dict[str, Any]) -> float | None:
    return next((float(entry[key]) for key in _SCORES if isinstance(entry.get(key), int | float)), None)


def _code(text: str) -> str | None:
    text = text.strip().lower()
    text = text.removeprefix("b'").strip("'\"").removeprefix("__label__")
    # several in one string: the first; a locale: without its charset
    text = re.split(r"[,;|/+.@]|\s(?:and|or)\s", text, maxsplit=1)[0].strip()
    if text in NO_LANGUAGE:
        return None
    if text in _CODES:
        return _CODES[text]
    if (tag := _TAG.fullmatch(text)) is not None:
        code = tag.group(1)
        # two letters are all assigned or none; of three there are 7,900, so they are believed, except for private ones
        return _CODES.get(code) or (code if len(code) == 3 and not "qaa" <= code <= "qtz" else None)
    named = [_CODES[word] for word in _WORDS.findall(text) if len(word) > 3 and word in _CODES]
    return named[0] if named else None
