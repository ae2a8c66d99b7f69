"""Readable, unique cluster names made from keywords alone.

A name is the first few keywords with their parts of speech left as they are:
``Diabetes · treatment · symptoms``. The same keywords always give the same name; where two clusters would
share one, the later cluster takes its next keyword and, when its keywords are used up, its number.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

SEPARATOR = " · "
LONGEST = 60


def plain_names(keywords: Mapping[int, Sequence[str]], words: int, *, taken: Collection[str] = ()) -> dict[int, str]:
    """Name every cluster from its keywords.

    No two names are equal, nor equal to one of ``taken``, ignoring case.

    Parameters
    ----------
    keywords
        Keywords per cluster, best first; an empty list gives ``Cluster <id>``.
    taken
        Names that are spoken for, for instance those carried over from an earlier taxonomy.
    """
    used = {_folded(name) for name in taken}
    names: dict[int, str] = {}
    for k in sorted(keywords):
        names[k] = _first_free(k, _without_overlap([w for w in map(clean, keywords[k]) if w]), words, used)
        used.add(_folded(names[k]))
    return names


def unique_name(wanted: str, cluster: int, taken: Collection[str]) -> str:
    """Return ``wanted``, followed by the cluster's number if the name is taken."""
    used = {_folded(name) for name in taken}
    name = clean(wanted) or f"Cluster {cluster}"
    return name if _folded(name) not in used else _numbered(name, cluster, used)


def clean(name: str) -> str:
    """Bring a name to one line of printable characters of bounded length.

    Control, format and bidirectional characters go: a name stands in tables, pages, logs and file names.
    """
    kept = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFC", name) if _is_printable(c))
    line = " ".join(kept.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def slugs(names: Mapping[int, str]) -> dict[int, str]:
    """Make an identifier of each name: ASCII letters, digits and hyphens; unique.

    Letters with accents lose them; a name in another script becomes ``cluster-<id>``.
    """
    result: dict[int, str] = {}
    used: set[str] = set()
    for k in sorted(names):
        ascii_name = unicodedata.normalize("NFKD", names[k].casefold()).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")
        if not re.search(r"[a-z]", slug):
            slug = f"cluster-{k}"
        while slug in used:
            slug = f"{slug}-{k}"
        result[k] = slug
        used.add(slug)
    return result


def _first_free(cluster: int, keywords: Sequence[str], words: int, used: set[str]) -> str:
    if not keywords:
        name = f"Cluster {cluster}"
        return name if _folded(name) not in used else _numbered(name, cluster, used)
    first = _joined(keywords[:words])
    if _folded(first) not in used:
        return first
    for end in range(words + 1, len(keywords) + 1):
        name = _joined([*keywords[: words - 1], keywords[end - 1]])
        if _folded(name) not in used:
            return name
    return _numbered(first, cluster, used)


def _without_overlap(keywords: Sequence[str]) -> list[str]:
    """Leave out keywords that share a word with an earlier one: "gene · gene therapy" says gene twice."""
    kept: list[str] = []
    said: set[str] = set()
    for keyword in keywords:
        words = set(keyword.casefold().split())
        if not words & said:
            kept.append(keyword)
            said |= words
    return kept


def _joined(keywords: Sequence[str]) -> str:
    line = SEPARATOR.join(keywords)
    while len(line) > LONGEST and len(keywords) > 1:
        keywords = keywords[:-1]
        line = SEPARATOR.join(keywords)
    line = clean(line)
    return line[:1].upper() + line[1:]


def _numbered(name: str, cluster: int, used: set[str]) -> str:
    candidate = f"{name} ({cluster})"
    while _folded(candidate) in used:
        candidate += "′"
    return candidate


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _is_printable(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] != "C"
