"""What a check of drift is held against: the start of a process, and LIST by the same client."""

from __future__ import annotations

from reconciler.targets import connect

with connect("databricks") as client:
    assert len(client.list_endpoints()) == 1000
