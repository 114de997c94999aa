"""What a user asked of a plan, apart from the manifests, alike for plan, apply and plan file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.values import Address

__all__ = ["PlanOptions"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan depends on besides desired and live: a plan file keeps it, else it would be judged without.

    ``stack``: who plans, "" for nobody in particular. ``resend``: addresses whose write-only values are sent
    again, True for all. ``adopt``: take over what exists and no stack owns. ``prune``: delete what the stack
    owns and no manifest names any more. ``is_whole``: the manifests are all that the stack has, so that what
    they do not name is known to be undeclared.
    """

    stack: str = ""
    resend: frozenset[Address] | bool = False
    adopt: bool = False
    prune: bool = False
    is_whole: bool = False

    def resends(self, address: Address) -> bool:
        """Whether the write-only values of this resource are sent again."""
        return self.resend if isinstance(self.resend, bool) else address in self.resend

    def to_json(self) -> dict[str, Any]:
        """As a plan file has it; the stack stands there by itself, what is whole follows from the paths."""
        resend = self.resend if isinstance(self.resend, bool) else sorted(map(str, self.resend))
        return {"resend_secrets": resend, "adopt": self.adopt, "prune": self.prune}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, stack: str) -> PlanOptions:
        """Read back. Raises KeyError, TypeError or UsageError for what :meth:`to_json` does not write."""
        resend = content["resend_secrets"]
        if not isinstance(resend, (bool, list)):
            raise TypeError(f"resend_secrets: {str(resend)[:40]}")
        return cls(
            stack=stack,
            resend=resend if isinstance(resend, bool) else frozenset(map(Address.parse, resend)),
            adopt=content["adopt"] is True,
            prune=content.get("prune") is True,  # files of older versions have none
        )
