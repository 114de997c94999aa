"""``reconciler promote``: carry what may travel from one environment's state to another's overlay."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import completion, inputs
from reconciler.cli import options as opt
from reconciler.cli.diff import sides_of
from reconciler.cli.output import answer, answer_json, tell
from reconciler.cli.probing import probe_all, probes_for
from reconciler.errors import ManifestError, ReconcilerError, RefusedError, UsageError

if TYPE_CHECKING:
    from reconciler.manifest.environments import Environment
    from reconciler.manifest.layers import Layers
    from reconciler.manifest.project import Project
    from reconciler.manifest.sides import Move, Pair, Side
    from reconciler.values import Address

_MOST_PASSES = 4


def promote(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="NAME",
            help="The environment to take from.",
            autocompletion=completion.environments,
        ),
    ],
    destination: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help="The environment whose overlay is written.",
            autocompletion=completion.environments,
        ),
    ],
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    project: opt.ProjectFile = None,
    check: Annotated[bool, typer.Option("--check", help="Only show what would be written.")] = False,
    no_probes: Annotated[
        bool, typer.Option("--no-probes", help="Do not ask the source what probes: say.")
    ] = False,
    output: opt.Output = opt.Format.TEXT,
    detailed_exitcode: opt.DetailedExitcode = False,
) -> int:
    """Write the values that may travel into the overlay of another environment, and print a pull request.

    What may travel stands under promote: in reconciler.yaml. The source must be converged (its plan is empty)
    and ready, and answer the probes of reconciler.yaml. Comments and order of the overlay stay. Nothing is
    applied.
    """
    from reconciler.engine.promotion import moves
    from reconciler.manifest.environments import choose

    settings = inputs.project_of(project)
    for name in (source, destination):
        choose(settings, name)
    if settings is None or not settings.promote:
        raise UsageError(
            "nothing may be promoted", fix="list under promote: in reconciler.yaml which fields may travel"
        )
    if source == destination:
        raise UsageError(f"--from and --to are both {source}", fix="name two environments")
    read = inputs.load_for(
        None,
        None,
        project,
        None,
        scope=opt.Scope.of([source], select, exclude, changed_since),
        keep_documents=True,
    )
    probes = () if no_probes else probes_for(read)
    checked_at = opt.taken_at()
    _converged(read, checked_at)
    answers = probe_all(read, probes)
    wanted = sides_of(read)
    work = Destination(settings, settings.environments[destination])
    found = moves(_pairs(work.sides({}), wanted), settings.promote)
    texts, files = work.written(wanted, settings.promote)
    missing = _missing(work.sides({}), wanted)
    if not check:
        for name, content in texts.items():
            _write(Path(name), content)
            tell(f"wrote {name}")
    if output is opt.Format.JSON:
        from reconciler.report.promotion import promotion_json

        answer_json(
            promotion_json(
                found,
                source,
                destination,
                files=files,
                missing=missing,
                checked_at=checked_at,
                is_written=bool(texts) and not check,
                probes=[one.to_json() for one in answers],
            )
        )
    else:
        from reconciler.report.promotion import promotion_text

        answer(
            promotion_text(
                found,
                source,
                destination,
                files=files,
                missing=missing,
                checked_at=checked_at,
                probes=list(dict.fromkeys(one.probe for one in answers)),
            )
        )
    return 2 if detailed_exitcode and texts else 0


def _pairs(left: Sequence[Side], right: Sequence[Side]) -> list[Pair]:
    from reconciler.engine.differences import pairs

    return [pair for pair in pairs(left, right) if pair.right is not None]


def _missing(left: Sequence[Side], right: Sequence[Side]) -> list[str]:
    return [str(pair.right.address) for pair in _pairs(left, right) if pair.left is None and pair.right]


def _converged(read: inputs.Input, taken_at: str) -> None:
    """Raises RefusedError unless everything selected is live as it is declared, and ready."""
    from reconciler.engine.planning import read_and_plan
    from reconciler.engine.safety import failures
    from reconciler.engine.snapshot import READ_PARALLELISM
    from reconciler.kinds import kind_of
    from reconciler.targets import connect, describe
    from reconciler.values import Status

    with connect(read.target, pool_size=READ_PARALLELISM, config_path=read.config_path) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        read.tell_warnings()
        seen, plan = read_and_plan(
            client, read.loaded.resources, read.plan_options(), target=read.target, taken_at=taken_at
        )
    if failed := failures(plan):
        raise failed
    unlike = [str(step.address) for step in plan.steps if step.calls]
    if unlike:
        raise RefusedError(
            f"{read.environment} is not converged: {', '.join(unlike)}",
            why="what is declared there was not applied, or somebody changed it: it proves nothing",
            fix=f"reconciler plan -e {read.environment} shows it; apply, then promote",
        )
    waiting = [
        str(address)
        for address, live in seen.resources.items()
        if not kind_of(address).is_assertion and kind_of(address).status(live.raw)[0] is not Status.READY
    ]
    if waiting:
        raise RefusedError(
            f"{read.environment} is not ready: {', '.join(waiting)}",
            why="its last update is still running, or it failed",
            fix=f"wait, or look with reconciler get -e {read.environment}",
        )


class Destination:
    """The environment that is written to: its documents with overlays as they are, or as they would be."""

    def __init__(self, project: Project, environment: Environment) -> None:
        self._project = project
        self._environment = environment
        self._layers: Layers | None = None

    def sides(self, texts: Mapping[str, str], *, is_draft: bool = False) -> list[Side]:
        """``texts``: overlay files as they would be; ``is_draft``: more edits follow."""
        from reconciler.manifest.document import load
        from reconciler.manifest.layers import Layers

        self._layers = Layers(self._project, self._environment, is_whole=True, instead=texts)
        loaded = load(
            self._project.manifests or ("manifests",),
            environ=os.environ,
            root=self._project.root,
            allow_unset=True,
            commands="skip",
            layers=self._layers,
            keep_documents=True,
            is_draft=is_draft,
        )
        return sides_of(
            inputs.Input(loaded, self._project, self._project.stack, environment=self._environment.name)
        )

    def written(
        self, wanted: Sequence[Side], allowed: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The overlay files as they must be (file → text), and which holds which address.

        A pass takes out of an overlay what it brings in, the next removes what then is left of the manifest.
        At the end everything that travels is the source's, and nothing else has changed. Raises
        ReconcilerError when that cannot be brought about.
        """
        from reconciler.engine.differences import pairs
        from reconciler.engine.promotion import beyond, moves

        before = self.sides({})
        texts: dict[str, str] = {}
        files: dict[str, str] = {}
        for _ in range(_MOST_PASSES):
            now = self.sides(texts, is_draft=True)
            left = [move for move in moves(_pairs(now, wanted), allowed) if move.travelling]
            if not left:
                break
            for move in left:
                name = self._edit(move, texts)
                files.setdefault(str(move.pair.address), name)
        else:
            raise _by_hand(str(left[0].pair.address), str(left[0].travelling[0].path))
        travelled = {
            move.pair.address: [one.path for one in move.travelling]
            for move in moves(_pairs(before, wanted), allowed)
        }
        try:
            after = self.sides(texts)
        except ManifestError as error:
            raise _not_valid(self._environment.name, error) from error
        for pair in pairs(before, after):
            assert pair.left is not None
            assert pair.right is not None
            for one in beyond(pair.left, pair.right, travelled.get(pair.address, ())):
                raise _by_hand(str(pair.address), str(one.path))
        return texts, files

    def _edit(self, move: Move, texts: dict[str, str]) -> str:
        """Make the edits of one move in the overlay that has the last word; gives its file."""
        from reconciler import schema
        from reconciler.engine.promotion import edits
        from reconciler.manifest.edit import added, edited

        address = move.pair.address
        # Lines are those of the text as it is by now: an edit before this one may have moved them.
        self.sides(texts, is_draft=True)
        assert self._layers is not None
        overlay = self._layers.last_of(address)
        if overlay is not None:
            name, line = overlay.file, overlay.line
            text = texts.get(name) or _text_of(Path(name))
        else:
            name = self._file_for(address)
            old = texts.get(name) or (_text_of(Path(name)) if Path(name).exists() else "")
            text = added(old, address)
            line = text.count("\n") - 2
        texts[name] = edited(text, line, edits(move), schema.spec_fields(address.kind))
        return name

    def _file_for(self, address: Address) -> str:
        """Where an overlay of this address goes that has none yet."""
        from reconciler.manifest.files import file_name

        if not self._environment.overlays:
            raise UsageError(
                f"environment {self._environment.name} has no overlays to write to",
                where=str(self._project.source),
                fix=f"write overlays: [overlays/{self._environment.name}] there, and make that folder",
            )
        last = Path(self._environment.overlays[-1])
        if not last.is_dir():
            return file_name(last)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", address.name)
        file = last / f"{name}.yaml"
        return file_name(last / f"{address.kind.lower()}-{name}.yaml" if file.exists() else file)


def _by_hand(address: str, path: str) -> ReconcilerError:
    return ReconcilerError(
        f"{address}: {path} cannot be brought about by its overlay alone",
        why="something else in the overlays has the last word there; nothing was written",
        fix="write it by hand, or take that part of the overlay out",
    )


def _not_valid(environment: str, error: ManifestError) -> ReconcilerError:
    # Lines would be those of a text that nobody has.
    told = "; ".join(f"{problem.path}: {problem.what}" for problem in error.problems)
    return ReconcilerError(
        f"what may travel, and nothing else, makes no valid manifests of {environment}",
        why=f"{told}; nothing was written",
        fix="let what belongs together travel together (promote: in reconciler.yaml), or write it by hand",
    )


def _text_of(path: Path) -> str:
    """A file with its own line ends."""
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _write(path: Path, content: str) -> None:
    try:
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(content, encoding="utf-8", newline="")
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"the overlay cannot be written: {error.strerror}", where=str(path)) from error
