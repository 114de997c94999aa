"""What a no-op plan is held against: the same URLs through requests, with as many threads, nothing else."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

base = os.environ["DATABRICKS_HOST"] + "/api/2.0/serving-endpoints"
headers = {"Authorization": "Bearer x"}
local = threading.local()


def fetch(path: str) -> object:
    """One GET on this thread's own keep-alive connection."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.headers.update(headers)
    return local.session.get(base + path).json()


names = [endpoint["name"] for endpoint in fetch("")["endpoints"]]  # type: ignore[index]
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    assert len(list(pool.map(fetch, [f"/{name}" for name in names]))) == len(names)
