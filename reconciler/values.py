"""The nouns of the pipeline: frozen values with no behaviour but equality, order and text.

The way of data: manifests → desired (:class:`Resource`) → :class:`Snapshot` of :class:`Live` → :class:`Plan`
of :class:`Step` → :class:`Call` → :class:`Outcome`.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from reconciler.errors import UsageError

__all__ = [
    "MASK",
    "PROTECTED_TAG",
    "STACK_TAG",
    "Action",
    "Address",
    "Call",
    "CallResult",
    "FieldChange",
    "FieldPath",
    "Freeze",
    "ItemKey",
    "Lifecycle",
    "Live",
    "LiveId",
    "Masked",
    "Origin",
    "Outcome",
    "Plan",
    "PolicyLevel",
    "ProgressEvent",
    "Reason",
    "Reference",
    "Resource",
    "Sealed",
    "Secret",
    "Skipped",
    "Snapshot",
    "Source",
    "Status",
    "Step",
    "StepStatus",
    "Violation",
    "requests_of",
]

MASK = "***"
STACK_TAG = "reconciler.stack"
"""Key of the tag that says which stack owns what carries it."""
PROTECTED_TAG = "reconciler.protected"
"""Key of the tag, with the value "true", of what lifecycle.prevent_destroy protects."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Who a resource is, in every output: ``Endpoint/chat``.

    ``dialect``: how its target speaks of it, "" for the kind's own API; it makes no other resource of it.
    """

    kind: str
    name: str
    dialect: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``Kind/name``. Raises UsageError when there is no kind or no name."""
        kind, slash, name = text.partition("/")
        if not (kind and slash and name):
            raise UsageError(f"{text!r} is not an address", fix="write Kind/name, e.g. Endpoint/chat")
        return cls(kind, name)


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A place in a manifest; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class ItemKey:
    """One item of a keyed list inside a FieldPath, by the text of its key."""

    text: str


_PLAIN = re.compile(r"^[A-Za-z_][\w-]*$")
_PLAIN_ITEM = re.compile(r"^[^\[\]\"\s]+$")


class FieldPath(tuple[str | int | ItemKey, ...]):
    """The way to a field: names, list positions, keys of keyed lists.

    Text form: ``config.served_entities[main].workload_size``, ``tags["cost.center"]``, ``list[0]``.
    """

    __slots__ = ()

    def __new__(cls, parts: Iterable[str | int | ItemKey] = ()) -> FieldPath:
        return super().__new__(cls, tuple(parts))

    def __truediv__(self, part: str | int | ItemKey) -> FieldPath:
        return FieldPath((*self, part))

    def __str__(self) -> str:
        text = ""
        for part in self:
            if isinstance(part, ItemKey):
                plain = _PLAIN_ITEM.match(part.text)
                text += f"[{part.text}]" if plain else f"[{_quote(part.text)}]"
            elif isinstance(part, int):
                text += f"[{part}]"
            elif _PLAIN.match(part):
                text += f".{part}" if text else part
            else:
                text += f"[{_quote(part)}]"
        return text

    def __repr__(self) -> str:
        return f"FieldPath({str(self)!r})"

    @classmethod
    def parse(cls, text: str) -> FieldPath:
        """Read the text form; ``[*]`` stands for any item. Raises UsageError naming what cannot be read."""
        parts: list[str | int | ItemKey] = []
        at = 0
        while at < len(text):
            found = _PART.match(text, at)
            if not found or (found["name"] and bool(parts) != text.startswith(".", at)):
                raise UsageError(
                    f"{text!r} is not a field path: cannot read {text[at:]!r}",
                    fix="write it like config.served_entities[*].workload_size",
                )
            if found["name"]:
                parts.append(found["name"])
            elif found["quoted"] is not None:
                parts.append(ItemKey(re.sub(r"\\(.)", r"\1", found["quoted"])))
            else:
                parts.append(ItemKey(found["item"]))
            at = found.end()
        if not parts:
            raise UsageError("an empty field path", fix="name a field, e.g. tags")
        return cls(parts)

    def covers(self, other: FieldPath) -> bool:
        """This pattern is ``other`` or something above it; ``[*]`` fits any item, ``[x]`` also a name x."""
        return len(self) <= len(other) and all(map(_fits, self, other))


_PART = re.compile(
    r"""\.?(?P<name>[A-Za-z_][\w-]*)|\["(?P<quoted>(?:[^"\\]|\\.)*)"\]|\[(?P<item>[^\[\]"]+)\]"""
)


def _fits(pattern: str | int | ItemKey, part: str | int | ItemKey) -> bool:
    if isinstance(pattern, ItemKey):
        if pattern.text == "*":
            return True
        return pattern.text == (part.text if isinstance(part, ItemKey) else str(part))
    return pattern == part


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the whole of a secret comes from: ``scheme`` env, file or cmd, ``argument`` the variable's name,
    the absolute path or the command. ``is_exact``: the value is what stands there, to the last line end.
    """

    scheme: str
    argument: str
    is_exact: bool = True


class Secret:
    """A resolved secret value. Shows as a mask wherever it is printed; only the HTTP layer reveals it.

    ``reference`` is the text that stood in the manifest (``${env:OPENAI_API_KEY}``): it may be shown.
    ``origin``: the same for a target that looks the value up itself, None when it was put together.
    Equal when the values are. Pickling and copying to JSON through ``str`` give the mask.
    """

    __slots__ = ("_value", "origin", "reference")

    def __init__(self, value: str, reference: str = MASK, origin: Origin | None = None) -> None:
        self._value = value
        self.reference = reference
        self.origin = origin

    def reveal(self) -> str:
        """The value itself. Ask for it only where it is sent."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            return self._value == other._value
        return NotImplemented

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled: keep its reference and resolve it again")


class Masked:
    """A value of which only a salted digest is known (a saved snapshot): it can be compared, not shown."""

    __slots__ = ("digest", "salt")

    def __init__(self, digest: str, salt: str) -> None:
        self.digest = digest
        self.salt = salt

    @classmethod
    def of(cls, value: str, salt: str) -> Masked:
        """The digest of a value: PBKDF2, slow on purpose, so that a guess costs as much as a comparison."""
        return cls(_slow_digest(value, salt), salt)

    def matches(self, value: str) -> bool:
        """Whether this is the digest of that value."""
        return _slow_digest(value, self.salt) == self.digest

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Masked):
            return (self.digest, self.salt) == (other.digest, other.salt)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.digest, self.salt))

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__


@functools.lru_cache(maxsize=4096)
def _slow_digest(value: str, salt: str) -> str:
    # A file, or a server, may hold text that is no UTF-8.
    texts = [text.encode("utf-8", "surrogatepass") for text in (value, salt)]
    return hashlib.pbkdf2_hmac("sha256", texts[0], texts[1], 10_000).hex()


@dataclass(frozen=True, slots=True)
class LiveId:
    """The server's id of a resource that does not exist yet: known once its create was answered."""

    address: Address

    def __str__(self) -> str:
        return f"<id of {self.address}>"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is known of a live value that cannot be read back: "same" as desired, "changed" or "unknown".

    ``why``: a sentence for people.
    """

    verdict: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of a spec that names another resource; ``path``: where, below the spec."""

    address: Address
    path: tuple[str | int, ...]


class Action(enum.StrEnum):
    """What a step does to its resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    ADOPT = "adopt"
    NO_OP = "no_op"


class Reason(enum.StrEnum):
    """Why the comparison left a field out."""

    BACKEND_DEFAULT = "backend_default"
    SERVER_CHOSEN = "server_chosen"
    SERVER_OVERRIDES = "server_overrides"
    WRITE_ONLY = "write_only"
    NOT_ECHOED = "not_echoed"
    IGNORED = "ignored"
    UNMANAGED = "unmanaged"
    COMPUTED = "computed"
    UNKNOWN = "unknown"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One difference between desired and live.

    ``before`` and ``after`` are normalised values; None means absent. ``sensitive``: both are shown
    masked. ``words``: the change as people say it, "" when the values say it best. ``forces_replace``:
    no call can make this change in place. ``section``: the part of the spec that is sent for it. ``cause``:
    "intended" (the manifests changed), "drift" (the live side did), "both", or "" when nobody asked.
    ``set_by``: the commit that last set the value, as people read it.
    """

    path: FieldPath
    before: Any
    after: Any
    sensitive: bool = False
    words: str = ""
    forces_replace: bool = False
    why: str = ""
    section: str = ""
    source: Source | None = None
    cause: str = ""
    set_by: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A field that was not compared, and why. ``detail`` is a sentence for people, "" when none is needed."""

    path: FieldPath
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One write, as data: the client method with its arguments, and the HTTP request that it makes.

    ``path`` may hold ``{id}`` where the live id is known only after the create before it. ``body`` may
    hold :class:`Secret` values and :class:`LiveId`s. ``section``: the part of the spec that it changes, ""
    for all of it; ``also``: more of them. ``waits``: the endpoint is awaited ready before the next call.
    ``needs_settled``: the call is refused by the server while an update is in progress. ``shared``: one
    request carries this call of every step of the plan.
    """

    operation: str
    arguments: Mapping[str, Any]
    method: str
    path: str
    body: Any = None
    section: str = ""
    waits: bool = False
    needs_settled: bool = False
    also: tuple[str, ...] = ()
    shared: bool = False

    @property
    def creates(self) -> bool:
        """It makes the resource."""
        return self.operation.startswith("create_")

    @property
    def deletes(self) -> bool:
        """It ends the resource, and not only a part of it."""
        return self.operation.startswith("delete_") and not self.section


def requests_of(calls: Iterable[Call]) -> int:
    """How many requests these calls are."""
    shares = [call.shared for call in calls]
    return shares.count(False) + (True in shares)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The manifest's ``lifecycle`` block."""

    prevent_destroy: bool = False
    ignore_changes: tuple[str, ...] = ()
    moved_from: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One desired resource.

    ``spec``: the manifest's spec with references resolved (secrets are :class:`Secret`), in the user's
    spelling. ``positions``: FieldPath text without list keys (``spec.config.served_entities.0.name``
    as a tuple of names and indices) → where it stands. ``stack``: who will own it, where the target can
    carry that. ``marks``: the tags of ours that it shall carry, None for one that is taken away, what is
    left out stays as it is; None: as stack and lifecycle say. ``seal``: the keyed fingerprint of its
    write-only values, "" without a key. ``kept_in``: the file that it lives in, "" when it lives on a server.
    """

    address: Address
    spec: Mapping[str, Any]
    source: Source
    labels: Mapping[str, str] = field(default_factory=dict)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    allow_unknown_fields: bool = False
    stack: str = ""
    marks: Mapping[str, str | None] | None = None
    seal: str = ""
    kept_in: str = ""
    positions: Mapping[tuple[str | int, ...], Source] = field(default_factory=dict)

    @property
    def place(self) -> Source | None:
        """Where it is declared; None for what no manifest declares."""
        return self.source if self.source.file else None

    def source_of(self, path: Iterable[str | int]) -> Source:
        """Where a field of the spec stands: the nearest known place at or above ``path``."""
        parts = tuple(path)
        while parts:
            if found := self.positions.get(parts):
                return found
            parts = parts[:-1]
        return self.source


@dataclass(frozen=True, slots=True)
class Live:
    """One resource as the target has it.

    ``raw``: the answer of the detailed read, unknown fields included, with what only the list says
    merged in. ``permissions``: the answer of the permissions read, None when it was not asked.
    """

    address: Address
    raw: Mapping[str, Any]
    permissions: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live side at one moment. ``names``: every address that the list showed, read in detail or not.

    ``taken_at``: RFC 3339, UTC. ``salt``: of the digests that replaced secret-bearing values when it was
    saved. ``ids``: the server's ids of what references may name, declared or not. ``owners``: the stack that
    owns each of those that the list shows a marker of.
    """

    target: str
    taken_at: str
    resources: Mapping[Address, Live]
    names: tuple[Address, ...] = ()
    salt: str = ""
    ids: Mapping[Address, str] = field(default_factory=dict)
    owners: Mapping[Address, str] = field(default_factory=dict)


class Status(enum.StrEnum):
    """What a live resource is doing."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """What a plan does to one resource; complete in itself.

    ``changes``: why. ``skipped``: what was left out of the comparison, and why. ``compared``: how many
    fields were compared. ``notice``: what callers of the endpoint will notice. ``notes``: sentences for
    people (an update in progress, a failed one …). ``fingerprint``: digest of the live side this step
    was judged by, "" when the resource did not exist. ``base``: the normalised live side behind that
    digest, for naming what moved. ``depends_on``: steps that must be done before. ``failure``: an assertion
    that does not hold. ``refusal``: why it may not be carried out (what, then lines ``why: ``, ``next: ``).
    ``is_foreign``: it is live, and not this stack's. ``is_undeclared``: it is deleted because no manifest
    names it any more. ``moved_to``: it is deleted because that one, once it is live, takes its place.
    ``is_busy``: nothing is to be written, and what is declared is still on its way: an apply waits for it.
    """

    address: Address
    action: Action
    changes: tuple[FieldChange, ...] = ()
    calls: tuple[Call, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    compared: int = 0
    notice: str = ""
    notes: tuple[str, ...] = ()
    source: Source | None = None
    fingerprint: str = ""
    base: Mapping[str, Any] | None = None
    protected: bool = False
    depends_on: tuple[Address, ...] = ()
    failure: str = ""
    refusal: str = ""
    is_foreign: bool = False
    is_undeclared: bool = False
    moved_to: Address | None = None
    is_busy: bool = False


class PolicyLevel(enum.StrEnum):
    """What comes of a policy that does not hold."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Violation:
    """A policy that does not hold, once for each thing that it is about.

    ``policy``: its id. ``address``: None when it is about the whole plan. ``source``: the nearest known line
    that it is about; ``path``: the field below spec there, "" when none is meant. ``fix``: what to do next.
    ``declared``: where the policy stands. ``digest``: of the policy, so that an approval is one of this
    text. ``approved_by``, ``approved_at``: who allowed it, and when (RFC 3339); "" when nobody did.
    ``is_broken``: the rule came to nothing.
    """

    policy: str
    level: PolicyLevel
    message: str
    address: Address | None = None
    source: Source | None = None
    path: str = ""
    fix: str = ""
    declared: Source | None = None
    digest: str = ""
    approved_by: str = ""
    approved_at: str = ""
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze that is on. ``what``: all that is frozen, in words. ``until``: as it is declared. ``stops``:
    what the plan would write of it. ``around``: terms that leave it out, where something else is left to
    write.
    """

    what: str
    until: str
    reason: str
    source: Source | None = None
    stops: tuple[Address, ...] = ()
    around: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an apply would do, for one target. ``notes`` concern the whole plan.

    ``violations``: what policies say of it. ``freezes``: what must not be changed now.
    """

    target: str
    steps: tuple[Step, ...]
    stack: str = ""
    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    freezes: tuple[Freeze, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing would be called."""
        return not any(step.calls for step in self.steps)

    @property
    def write_calls(self) -> int:
        """How many requests would be made: what several steps share is one."""
        return requests_of(call for step in self.steps for call in step.calls)

    def count(self, action: Action) -> int:
        """How many steps have this action."""
        return sum(1 for step in self.steps if step.action is action)


class StepStatus(enum.StrEnum):
    """How a step of an apply ended."""

    DONE = "done"
    UNCHANGED = "unchanged"
    NOT_WAITED = "not_waited"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_BEGUN = "not_begun"


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call that was made (or found to be done already). ``seconds``: its duration."""

    call: Call
    outcome: str
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step ended, with the calls that were made and those that were not begun.

    An unchanged one that took ``seconds`` was waited for: an update was running.
    """

    step: Step
    status: StepStatus
    results: tuple[CallResult, ...] = ()
    not_begun: tuple[Call, ...] = ()
    error: str = ""
    log_tail: tuple[str, ...] = ()
    url: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """News of one step while an apply runs.

    ``phase``: "calling", "waiting", "done" or "failed". ``detail``: the call, the server's state or its
    message (untrusted text). ``elapsed``: seconds since the step began.
    """

    address: Address
    phase: str
    detail: str = ""
    elapsed: float = 0.0
