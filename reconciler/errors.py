"""The exception tree. Every class owns its exit code and has four parts: what, where, why, what next.

ReconcilerError                     exit 1
├── UserError                       the user's input; nothing was sent
│   ├── ManifestError               problems in manifests or the project file, all of them
│   ├── UsageError                  a command line that cannot be carried out
│   └── AuthError                   no usable credentials
├── TargetError                     the server's side
│   ├── APIError                    an answer that says no
│   │   ├── InvalidRequest          400
│   │   ├── Unauthenticated         401
│   │   ├── PermissionDenied        403
│   │   ├── NotFound                404
│   │   ├── AlreadyExists           409 RESOURCE_ALREADY_EXISTS
│   │   ├── Conflict                409 anything else
│   │   ├── RateLimited             429
│   │   └── ServerFault             5xx
│   └── TransportError              no answer that can be read
│       ├── ConnectionFailed        the request never reached the server
│       ├── AnswerLost              the request may have been carried out
│       └── BadAnswer               an answer that is not what the API promises
├── RefusedError                    exit 3: safety said no
│   ├── ProtectedError              prevent_destroy
│   └── StaleError                  the live side changed since the plan
├── ApplyError                      some steps of an apply failed
└── Stopped                         called off while waiting; the request was not sent
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "APIError",
    "AlreadyExists",
    "AnswerLost",
    "ApplyError",
    "AuthError",
    "BadAnswer",
    "Conflict",
    "ConnectionFailed",
    "InvalidRequest",
    "ManifestError",
    "NotFound",
    "PermissionDenied",
    "PluginFailed",
    "Problem",
    "ProtectedError",
    "RateLimited",
    "ReconcilerError",
    "RefusedError",
    "ServerFault",
    "StaleError",
    "Stopped",
    "TargetError",
    "TransportError",
    "Unauthenticated",
    "UsageError",
    "UserError",
]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with the user's input; a run reports all of them, sorted by place.

    ``file``, ``line``, ``column``: where (line and column count from 1; 0 means the whole file).
    ``path``: the field path inside the document, "" when the whole document is meant.
    ``what``: one sentence without a final period. ``fix``: what to do next, "" when ``what`` says it.
    ``rule``: a stable id (kebab-case), for reports and tests.
    """

    file: str
    line: int
    column: int
    path: str
    what: str
    fix: str = ""
    rule: str = ""

    @property
    def where(self) -> str:
        """``file:line:column``, or the file alone when no line is known."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{self.where}: {path}{self.what}{fix}"


class ReconcilerError(Exception):
    """Base of all our errors.

    ``what`` happened, ``where`` (file:line:column, field path, or method + path + request id),
    ``why`` and ``fix`` (what to do next); any but ``what`` may be "".
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            parts.append(f"why: {self.why}")
        if self.fix:
            parts.append(f"next: {self.fix}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        # An error of a worker process comes home pickled; what it was made with is not kept, only what it is.
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[ReconcilerError], args: tuple[Any, ...]) -> ReconcilerError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class UserError(ReconcilerError):
    """The user's input is wrong; nothing was sent and nothing changed."""


class ManifestError(UserError):
    """All problems found in the manifests and the project file of one run; ``warnings``: told beside them."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        self.warnings: tuple[Problem, ...] = tuple(sorted(set(warnings)))
        count = len(self.problems)
        files = len({p.file for p in self.problems})
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in {files} file{'s' if files != 1 else ''}"
        )

    def __str__(self) -> str:
        return "\n".join([*(str(p) for p in self.problems), self.what])


class UsageError(UserError):
    """A command line or a call that cannot be carried out as it stands."""


class AuthError(UserError):
    """No usable credentials were found, or the token route refused them. Never holds a credential."""


class TargetError(ReconcilerError):
    """Something on the server's side."""


class PluginFailed(TargetError):
    """A plugin's client raised; whether it had acted by then, only reading can tell."""


class APIError(TargetError):
    """An answer with a status of 400 or more.

    ``status``: the HTTP status. ``error_code``: the API's own code, "" when it gave none.
    ``message``: the API's words (untrusted text). ``method``/``path``: the request, without host or
    query. ``request_id``: the server's id of the request, "" when it gave none.
    ``retry_after``: seconds the server asked to wait, None when it did not.
    """

    def __init__(
        self,
        *,
        status: int,
        error_code: str = "",
        message: str = "",
        method: str = "",
        path: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        fix: str = "",
    ) -> None:
        self.status = status
        self.error_code = error_code
        self.message = message
        self.method = method
        self.path = path
        self.request_id = request_id
        self.retry_after = retry_after
        where = f"{method} {path}".strip()
        if request_id:
            where += f" (request {request_id})"
        code = f" {error_code}" if error_code else ""
        super().__init__(f"HTTP {status}{code}: {message or 'no message'}", where=where, fix=fix)


class InvalidRequest(APIError):
    """400: the server refuses the request as it stands."""


class Unauthenticated(APIError):
    """401: the credential is missing, wrong or expired."""


class PermissionDenied(APIError):
    """403: the identity may not do this."""


class NotFound(APIError):
    """404: there is no such thing."""


class AlreadyExists(APIError):
    """409 RESOURCE_ALREADY_EXISTS: the name is in use."""


class Conflict(APIError):
    """409: the resource is in a state that does not allow this now (an update in progress)."""


class RateLimited(APIError):
    """429: too many requests; ``retry_after`` says how long to wait when the server said."""


class ServerFault(APIError):
    """5xx: the server failed."""


class TransportError(TargetError):
    """No readable answer. ``method``/``path``: the request, without host or query."""

    def __init__(self, what: str, *, method: str = "", path: str = "", why: str = "", fix: str = "") -> None:
        self.method = method
        self.path = path
        super().__init__(what, where=f"{method} {path}".strip(), why=why, fix=fix)


class ConnectionFailed(TransportError):
    """The request never reached the server: repeating it is safe."""


class AnswerLost(TransportError):
    """The request was sent and its answer was lost: only reading can tell whether it was carried out."""


class BadAnswer(TransportError):
    """The answer is not what the API promises (not JSON, cut short, a proxy's HTML page)."""


class RefusedError(ReconcilerError):
    """Refused for safety; nothing was done."""

    exit_code: ClassVar[int] = 3


class ProtectedError(RefusedError):
    """prevent_destroy forbids what the plan would do."""


class StaleError(RefusedError):
    """The live side changed since the plan."""


class ApplyError(ReconcilerError):
    """Some steps failed; the outcomes say which."""


class Stopped(ReconcilerError):
    """A stop was asked for while a request waited for its turn; that request was not sent."""
