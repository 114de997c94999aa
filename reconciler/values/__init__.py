"""The nouns of the pipeline: frozen values with no behaviour but equality, order and text.

The way of data: manifests → desired (:class:`Resource`) → :class:`Snapshot` of :class:`Live` → :class:`Plan`
of :class:`Step` → :class:`Call` → :class:`Outcome`.
"""

from reconciler.values.places import (
    _PART,
    _PLAIN,
    _PLAIN_ITEM,
    Address,
    FieldPath,
    ItemKey,
    Source,
)
from reconciler.values.plans import (
    CallResult,
    Freeze,
    Outcome,
    Plan,
    PolicyLevel,
    ProgressEvent,
    StepStatus,
    Violation,
)
from reconciler.values.resources import (
    PROTECTED_TAG,
    STACK_TAG,
    Lifecycle,
    Live,
    LiveId,
    Reference,
    Resource,
    Snapshot,
    Status,
)
from reconciler.values.secrets import (
    MASK,
    Masked,
    Origin,
    Sealed,
    Secret,
)
from reconciler.values.steps import (
    Action,
    Call,
    FieldChange,
    Reason,
    Skipped,
    Step,
    requests_of,
)

__all__ = [
    "MASK",
    "PROTECTED_TAG",
    "STACK_TAG",
    "_PART",
    "_PLAIN",
    "_PLAIN_ITEM",
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
