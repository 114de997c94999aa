"""``python -m reconciler.emulator --port 0 --db PATH``: one line with the address, then serves until
stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from reconciler.emulator.faults import GRAMMAR
from reconciler.emulator.local import open_folder, parse_duration, parse_write_limit
from reconciler.emulator.server import serve
from reconciler.errors import ReconcilerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one (0)")
    parser.add_argument("--db", default=":memory:", metavar="PATH", help="SQLite file (kept in memory)")
    parser.add_argument("--latency", default="0", help="wait before each answer, as 40ms (none)")
    parser.add_argument("--provisioning", default="0", help="time until a config is live, as 2s (none)")
    parser.add_argument("--write-limit", metavar="CALLS/TIME", help="as 50/5m (none)")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="SPEC", help=GRAMMAR.replace("%", "%%")
    )
    parser.add_argument("--seed", type=int, default=0, help="of the faults that come by chance (0)")
    given = parser.parse_args(arguments)

    def announce(port: int) -> None:
        host = f"[{given.host}]" if ":" in given.host else given.host
        print(f"listening on http://{host}:{port}", flush=True)

    try:
        serve(
            open_folder(given.db),
            given.host,
            given.port,
            latency=parse_duration(given.latency),
            provisioning=parse_duration(given.provisioning),
            write_limit=parse_write_limit(given.write_limit) if given.write_limit else None,
            faults=given.fault,
            seed=given.seed,
            ready=announce,
        )
    except ReconcilerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
