"""Starts the program quickly and often, and kills it at a chosen moment.

A process that has everything imported reads one order a line from its standard input, forks a child that runs
the command as the console script would, and answers with how it ended. Forking spares each run the start.

An order: ``words`` (the command line), ``folder``, ``output`` (file for stdout and stderr), ``boundary`` and
``number``: the child kills itself with SIGKILL at that boundary of its so manyth call (``"none"``: never).
The server kills it at boundary ``"acted"``: every request says which process it comes from (``X-Pid``).
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests.adapters

from reconciler.cli.main import main
from reconciler.engine import executor
from reconciler.engine.journal import Journal
from reconciler.kinds import kind

WRITES = ("POST", "PUT", "PATCH", "DELETE")


def run(order: dict[str, Any]) -> int:
    """In the child: the command, with death on its way."""
    os.chdir(order["folder"])
    file = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    _doomed(order["boundary"], order["number"])
    return main(order["words"])


def _doomed(boundary: str, number: int) -> None:
    counts = {"intent": 0, "before_send": 0, "outcome": 0}

    def passed(here: str) -> None:
        counts[here] += 1
        if here == boundary and counts[here] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    send = requests.adapters.HTTPAdapter.send
    intent, outcome = Journal.intent, Journal.outcome

    def sending(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        request.headers["X-Pid"] = str(os.getpid())
        if request.method in WRITES:
            passed("before_send")
        return send(self, request, *arguments, **named)

    def announcing(self: Any, *arguments: Any) -> Any:
        passed("intent")
        return intent(self, *arguments)

    def noting(self: Any, *arguments: Any) -> Any:
        passed("outcome")
        return outcome(self, *arguments)

    requests.adapters.HTTPAdapter.send = sending  # type: ignore[method-assign]
    Journal.intent = announcing  # type: ignore[method-assign]
    Journal.outcome = noting  # type: ignore[method-assign]


def _warm() -> None:
    """What every run loads late and keeps (schemas, validators) is loaded once, for all children."""
    kind("Endpoint")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        entity = "{name: m, entity_name: a.b.c, entity_version: '1'}"
        spec = f"{{tags: {{a: b}}, config: {{served_entities: [{entity}]}}}}"
        head = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: e}\n"
        Path("m.yaml").write_text(f"{head}spec: {spec}\n")
        main(["plan", "m.yaml", "--target", "local:w.db"])
        main(["apply", "-y", "m.yaml", "--target", "local:w.db?provisioning=0s"])
        os.chdir(here)


def serve() -> None:
    """One order, one child, one answer, until the input ends."""
    _warm()
    # The emulator's endpoints are live at once: hundreds of runs need not wait a quarter second for each.
    executor.Patience = functools.partial(executor.Patience, first=0.01)  # type: ignore[assignment,misc]
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = run(order)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        answer = {"code": os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
