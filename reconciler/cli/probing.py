"""Asks the source of a promotion what the project's probes say, and whether the answers are as expected."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.output import everything_known, tell
from reconciler.cli.plain import plain
from reconciler.errors import ReconcilerError, RefusedError
from reconciler.redact import control

if TYPE_CHECKING:
    from reconciler.cli.inputs import Input
    from reconciler.manifest.probes import Probe
    from reconciler.values import Address

__all__ = ["Probed", "probe_all", "probes_for"]

_LONGEST: Final = 400


@dataclass(frozen=True, slots=True)
class Probed:
    """One request of a probe and what came of it. ``wrong``: "" when the answer is as expected."""

    probe: str
    address: str
    seconds: float
    sent: str = ""
    got: str = ""
    wrong: str = ""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"probe": self.probe, "address": self.address, "seconds": round(self.seconds, 3)}


def probes_for(read: Input) -> tuple[Probe, ...]:
    """The probes of an environment, their expectations read. Raises ManifestError."""
    environment = read.project.environments.get(read.environment) if read.project else None
    written = read.project.document.value if read.project and read.project.document else {}
    if "probes" not in written and not (environment and "probes" in environment.settings):
        return ()
    from reconciler.manifest.probes import probes_of

    probes = probes_of(read.project, environment)
    if any(probe.expect for probe in probes):
        from reconciler.engine.expectations import checked

        checked(probes)
    return probes


def probe_all(read: Input, probes: Sequence[Probe]) -> tuple[Probed, ...]:
    """Sends each probe to what it selects of the manifests. Raises RefusedError with all that fail."""
    from reconciler.targets import connect, family

    if not probes:
        return ()
    results: list[Probed] = []
    stop = threading.Event()
    is_plugin = family(read.target) == "plugin"
    with connect(read.target, stop=stop, config_path=read.config_path) as client:
        for probe in probes:
            chosen = probe.chosen(read.loaded.resources)
            if not chosen and read.scope.is_whole:
                tell(f"warning: {probe.source}: the probe {probe.name} fits nothing that could be asked")
            for resource in chosen:
                result = _probed(client, probe, resource.address, read.environment, is_plugin)
                outcome = f"failed: {result.wrong}" if result.wrong else "answers"
                tell(
                    control(
                        f"probe {probe.name}: {result.address} {outcome}, {result.seconds:.1f} s", keep="\n"
                    )
                )
                results.append(result)
    stop.set()
    if failed := [result for result in results if result.wrong]:
        raise _refused(failed, read.environment)
    return tuple(results)


def _probed(client: Any, probe: Probe, address: Address, environment: str, is_plugin: bool) -> Probed:
    from reconciler.cli.query import framed, text_of

    sent: Any = framed(dict(probe.sent)) if is_plugin else dict(probe.sent)
    subject = {"deployment_name" if address.kind == "Deployment" else "endpoint": address.name}
    shown = _shown(probe.sent)
    began = time.monotonic()
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(client.predict(inputs=sent, **subject))
        except BaseException as error:
            answers.append(error)

    # No client has a limit for one request of its own; who hangs ends with the program.
    asking = threading.Thread(target=ask, daemon=True, name=f"probe {probe.name}")
    asking.start()
    asking.join(probe.timeout)
    seconds = time.monotonic() - began
    if not answers:
        return Probed(probe.name, str(address), seconds, shown, "", f"no answer within {probe.timeout:g} s")
    answer = answers[0]
    if isinstance(answer, ReconcilerError):
        return Probed(probe.name, str(address), seconds, shown, "", f"{answer.what}")
    if isinstance(answer, BaseException):
        raise answer
    content = plain(answer)
    wrong = ""
    if probe.expect:
        from reconciler.engine.expectations import unmet

        wrong = unmet(probe, content, text_of(content) or "", seconds, str(address), environment)
    return Probed(probe.name, str(address), seconds, shown, _shown(content), wrong)


def _shown(content: Any) -> str:
    """What was sent or answered, on a line, without a secret."""
    redacted = everything_known().value(content)
    text = json.dumps(redacted, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _refused(failed: Sequence[Probed], environment: str) -> RefusedError:
    lines = []
    for one in failed:
        lines.append(f"{one.address} fails the probe {one.probe}: {one.wrong}")
        lines.append(f"  sent: {one.sent}")
        if one.got:
            lines.append(f"  got:  {one.got}")
    return RefusedError(
        f"{environment} does not answer as it should\n" + "\n".join(lines),
        why="what does not work there proves nothing; nothing was written",
        fix=f"mend it; reconciler query -e {environment} asks as well, and --no-probes promotes all the same",
    )
