"""What the checks find in one document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.variables import Reference

__all__ = ["Findings"]

_MOST: Final = 200


@dataclass(slots=True)
class Findings:
    """What the checks find in one document; paths are those of the document."""

    document: Document
    references: Mapping[Parts, Reference]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """So many that more would be the same mistake over again."""
        return len(self.problems) >= _MOST

    def problem(self, path: Parts, what: str, fix: str = "", rule: str = "") -> None:
        """Something wrong at a field."""
        if self.is_full:
            return
        self.problems.append(self.document.problem(path, what, fix, rule))

    def warning(self, path: Parts, what: str, fix: str = "", rule: str = "") -> None:
        """Something doubtful at a field."""
        self.warnings.append(self.document.problem(path, what, fix, rule))

    def shown(self, path: Parts, value: Any) -> str:
        """A value fit for a message: one that came from outside is shown as its reference."""
        reference = self.references.get(path)
        return reference.text if reference is not None else shown(value)
