"""Writes the tables of docs/coming-from-mlflow.md from the cases of tests/conformance; a test holds them.

``python -m docs.parity``
"""

from __future__ import annotations

from pathlib import Path

from tests.conformance.parity import CASES, DIFFERENCES, EXCUSED, FUNCTIONS, NOT_OFFERED

PAGE = Path(__file__).parent / "coming-from-mlflow.md"
_BEGIN, _END = "<!-- {} begin: written by docs/parity.py -->", "<!-- {} end -->"


def compared_table() -> str:
    """What is called on both, by client and method."""
    rows: dict[str, list[str]] = {}
    for case in CASES:
        rows.setdefault(f"{case.client}.{case.method}", []).append(case.label)
    for client in sorted({client for client, _, _ in NOT_OFFERED}):
        methods = ", ".join(f"`{method}`" for name, method, _ in NOT_OFFERED if name == client)
        rows[f"{client}, the rest"] = [f"{methods}: NotImplementedError, nothing is sent"]
    for name, what in (FUNCTIONS | EXCUSED).items():
        rows[name] = [what]
    lines = ["| of mlflow | compared |", "|---|---|"]
    lines += [f"| `{name}` | {'; '.join(labels)} |" for name, labels in rows.items()]
    return "\n".join(lines)


def differences_table() -> str:
    """What differs on purpose."""
    lines = ["| | mlflow 3.17 | reconciler.client | why |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in DIFFERENCES]
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with both tables written anew. Raises ValueError when a marker is missing."""
    for name, table in (("compared", compared_table()), ("differences", differences_table())):
        head, begin, rest = page.partition(_BEGIN.format(name))
        _, end, tail = rest.partition(_END.format(name))
        if not (begin and end):
            raise ValueError(f"the page has no markers for {name}")
        page = f"{head}{begin}\n\n{table}\n\n{end}{tail}"
    return page


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
