"""Writes the tables of docs/faults.md: the faults of the emulator, and what comes of each, by running them.

``python -m docs.faults``, a minute; a test holds the page to both.
"""

from __future__ import annotations

import logging
from pathlib import Path

from reconciler.emulator.faults import FAULTS
from reconciler.emulator.routes import ROUTES
from tests.acceptance.fault_matrix import FAULTS as TRIED
from tests.acceptance.fault_matrix import row, served

PAGE = Path(__file__).parent / "faults.md"
_BEGIN, _END = "<!-- {} begin: written by docs/faults.py -->", "<!-- {} end -->"


def faults_table() -> str:
    """Every fault of the emulator."""
    lines = ["| fault | what happens |", "|---|---|"]
    for name, sort in FAULTS.items():
        shown = name if not sort.value else f"{name}={sort.value.upper()}"
        if sort.default is not None:
            shown = f"{name}[={sort.value.upper()}]"
        acted = (
            " `:acted`: it is done all the same."
            if "acted" in sort.options and "acted" not in sort.says
            else ""
        )
        lines.append(f"| `{shown}` | {sort.says}.{acted} |")
    return "\n".join(lines)


def routes_list() -> str:
    """Every route that a fault may be put at."""
    return ", ".join(f"`{name}`" for name in dict.fromkeys(route.name for route in ROUTES))


def matrix_table() -> str:
    """What comes of each fault at each call."""
    lines = ["| fault | once | from then on |", "|---|---|---|"]
    with served() as kept:
        lines += [row(kept, fault) for fault in TRIED]
    return "\n".join(lines)


def with_table(page: str, name: str, table: str) -> str:
    """The page with one part written anew. Raises ValueError when its marker is missing."""
    head, begin, rest = page.partition(_BEGIN.format(name))
    _, end, tail = rest.partition(_END.format(name))
    if not (begin and end):
        raise ValueError(f"the page has no markers for {name}")
    return f"{head}{begin}\n\n{table}\n\n{end}{tail}"


def main() -> None:
    """Write the page."""
    logging.getLogger("reconciler").setLevel(logging.ERROR)
    page = PAGE.read_text(encoding="utf-8")
    for name, table in (("faults", faults_table()), ("routes", routes_list()), ("matrix", matrix_table())):
        page = with_table(page, name, table)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
