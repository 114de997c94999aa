"""How much memory a program needs at most, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# The peak that getrusage tells is also that of the parent before exec; the kernel's own word is not.
_TOLD = """
import atexit, sys
def _told():
    try:
        lines = open("/proc/self/status").read().splitlines()
        kb = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    except OSError:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kb = peak // 1024 if sys.platform == "darwin" else peak
    sys.stderr.write(f"\\npeak {kb // 1024}")
atexit.register(_told)
"""
_PROGRAM = "from reconciler.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"


class Measured:
    """What came of a run: ``code``, ``out``, ``err``, and ``peak`` in MB."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out = done.returncode, done.stdout
        self.err, _, peak = done.stderr.rpartition("\npeak ")
        assert peak.isdigit(), done.stderr[-2000:]
        self.peak = int(peak)


def measured(code: str, *words: str, seconds: float = 60, **environment: str) -> Measured:
    """Run Python code in a process of its own. Raises TimeoutExpired when it takes too long."""
    done = subprocess.run(
        [sys.executable, "-c", _TOLD + code, *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=seconds,
        check=False,
        env={**os.environ, **environment},
    )
    return Measured(done)


def program(*words: str, folder: Path, seconds: float = 60, **environment: str) -> Measured:
    """Run the program in a folder, as :func:`measured` does."""
    return measured(
        f"import os; os.chdir({str(folder)!r})\n" + _PROGRAM, *words, seconds=seconds, **environment
    )
