"""The proof of an apply as a file, fit to be attached to a pull request. Pure: values in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.engine.apply import Applied
from reconciler.engine.journal import RecordedCall
from reconciler.engine.signing import digest_of, sealed
from reconciler.kinds import kind_of
from reconciler.redact import Redactor, shown_body
from reconciler.shape import canonical
from reconciler.values import Live, Resource, Snapshot

__all__ = ["FORMAT_VERSION", "desired_digest", "live_digest", "receipt_json"]

FORMAT_VERSION = "1.0"


def receipt_json(
    applied: Applied,
    desired: Sequence[Resource],
    before: Snapshot,
    calls: Sequence[RecordedCall],
    second_plan: Mapping[str, Any] | None,
    *,
    facts: Mapping[str, Any],
    redactor: Redactor,
    key: str = "",
) -> dict[str, Any]:
    """What was wanted, what was done, what is there, and that nothing is left to do.

    ``before``: what the plan was made against; what was not touched is taken from it. ``calls``: the record
    of the run. ``second_plan``: JSON of the plan made after it, None when there is none. ``facts``: who, when
    and where. ``key``: to sign with. Secrets are masked before digests are made, so that a digest tells
    nobody anything about them, and says nothing of their values.
    """
    outcomes = {outcome.step.address: outcome for outcome in applied.outcomes}
    after = applied.after.resources if applied.after is not None else {}
    # What was only waited for was read again, too.
    touched = {address for address, outcome in outcomes.items() if outcome.results or address in after}
    resources = []
    for resource in desired:
        outcome = outcomes.get(resource.address)
        again = resource.address in touched
        live = after.get(resource.address) if again else before.resources.get(resource.address)
        resources.append(
            {
                "address": str(resource.address),
                "action": outcome.step.action.value if outcome else "no_op",
                "status": outcome.status.value if outcome else "not_begun",
                "error": redactor.text(outcome.error) if outcome else "",
                "desired": desired_digest(resource, redactor),
                "live": live_digest(live, redactor) if live is not None else None,
                "read_again": again and applied.after is not None,
            }
        )
    content = {
        **facts,
        "converged": applied.converged,
        "unverified": applied.unverified,
        "resources": resources,
        "calls": [_call(call) for call in calls],
        "second_plan": second_plan,
    }
    return sealed({"receipt": FORMAT_VERSION, **redactor.value(content)}, key)


def desired_digest(resource: Resource, redactor: Redactor) -> str:
    """The digest of what a manifest wants, secrets masked: the same for every spelling of it."""
    shape = canonical(kind_of(resource.address).fields, dict(resource.spec))
    return digest_of(redactor.value(shown_body(shape, resource.address.kind)))


def live_digest(live: Live, redactor: Redactor) -> str:
    """The digest of a live side in the shape of a spec, secrets masked."""
    shape = kind_of(live.address).normalise(live)
    return digest_of(redactor.value(shown_body(shape, live.address.kind)))


def _call(call: RecordedCall) -> dict[str, Any]:
    return {
        "address": str(call.address),
        "client_method": call.client_method,
        "method": call.method,
        "path": call.path,
        "at": call.at,
        "ended": call.ended,
        "outcome": call.outcome or "in doubt",
        "error": call.error,
        "seconds": call.seconds,
    }
