"""Who may import what: the emulator and the client must not share a mistake."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import reconciler.emulator

FOLDER = Path(reconciler.emulator.__file__).parent
OWNERS = {
    "sqlite3": {"store.py"},
    "requests": {"adapter.py"},
    "urllib3": {"adapter.py"},
    "uvicorn": {"server.py"},
}


def imported(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_errors_and_schema_of_our_own() -> None:
    allowed = ("reconciler.emulator", "reconciler.errors", "reconciler.schema")
    for module in FOLDER.glob("*.py"):
        ours = {name for name in imported(module) if name.startswith("reconciler")} - {"reconciler"}
        assert {name for name in ours if not name.startswith(allowed)} == set(), module.name


def test_others_only_where_named() -> None:
    standard = sys.stdlib_module_names
    for module in FOLDER.glob("*.py"):
        for name in {name.partition(".")[0] for name in imported(module)} - {"reconciler"}:
            if name in OWNERS:
                assert module.name in OWNERS[name]
            else:
                assert name in standard, f"{module.name} imports {name}"


def test_the_workspace_needs_neither_requests_nor_a_server() -> None:
    code = (
        "import sys; import reconciler.emulator, reconciler.emulator.server; "
        "print(sorted({'requests', 'uvicorn', 'starlette', 'jsonschema'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
