"""The lists of a gateway: secrets, model definitions, endpoints, through requests alone. Any plan pays them.

python -m benchmarks.bare_lists URL
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import requests


def main(url: str) -> None:
    """Fetch the three lists at the same time, over kept connections."""
    session = requests.Session()
    session.trust_env = False
    routes = ("secrets", "model-definitions", "endpoints")
    with ThreadPoolExecutor(len(routes)) as pool:
        answers = pool.map(lambda r: session.get(f"{url}/api/3.0/mlflow/gateway/{r}/list").json(), routes)
        assert sum(len(next(iter(answer.values()))) for answer in answers) > 0


if __name__ == "__main__":
    main(sys.argv[1])
