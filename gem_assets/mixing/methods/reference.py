"""The table of mixture methods, for ``gem recipes available`` and ``docs/methods.md``.

``python -m gem_assets.mixing.methods.reference docs/methods.md`` writes the table into the page.
"""

import sys
from pathlib import Path

from gem_assets.mixing.methods.base import COUNTS, INVENTORY, SWARM, TEACHER, TOKENS, Method
from gem_assets.mixing.methods.registry import methods

BEGIN, END = "<!-- methods: generated -->", "<!-- methods: end -->"
REFERENCE_COMMAND = "python -m gem_assets.mixing.methods.reference docs/methods.md"
_INPUTS = {TOKENS: "tokens", SWARM: "swarm", INVENTORY: "inventory"}


class MethodPageError(ValueError):
    """A page that the table cannot be written into; the message names it."""


def needs_of(method: Method) -> str:
    """Say in words what a method needs beside the inventory."""
    given = [_INPUTS.get(name, name) for name in method.needs if name != TEACHER]
    if method.counts:
        given.append(_INPUTS.get(COUNTS, "n-gram counts"))
    given += [f"recipe {strategy}" for strategy in method.recipes]
    return ", ".join(given) or "inventory"


def rows() -> list[dict[str, str]]:
    """One row per method, in the order of the registry."""
    return [
        {
            "method": method.name,
            "family": method.family,
            "module": method.module,
            "needs": needs_of(method),
            "costs": method.cost,
            "use when": method.use,
            "confirmed by a run": "yes" if method.confirmable else "no",
            "source": method.source or "this project",
        }
        for method in methods().values()
    ]


def reference() -> str:
    """Return the table as Markdown, between its marks."""
    found = rows()
    lines = [" | ".join(found[0]), "|".join("---" for _ in found[0])]
    for row in found:
        cells = {**row, "method": f"`{row['method']}`", "module": f"`{row['module']}`"}
        lines.append(" | ".join(cell.replace("|", "\\|") for cell in cells.values()))
    return "\n".join([BEGIN, *(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines), END])


def written_into(page: str) -> str:
    """Return a page with the table between its marks replaced.

    Raises MethodPageError when the page does not have both marks once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise MethodPageError(f"the page needs the marks {BEGIN} and {END}, once each and in this order")
    return before + reference() + after


def main(path: Path) -> None:
    """Write the table into a file."""
    path.write_text(written_into(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
