"""One check of drift: the last verdict taken, or the live side read and judged, and what was seen kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import options as opt
from reconciler.cli.output import answer, everything_known, is_ascii, sum_up, tell, wants_colour, width_of
from reconciler.cli.pruning import prune_of
from reconciler.cli.recording import home
from reconciler.errors import UserError

if TYPE_CHECKING:
    from reconciler.cli import inputs
    from reconciler.cli.drift_files import Ground, Verdict
    from reconciler.cli.reports import Reports
    from reconciler.engine.drift import Term
    from reconciler.engine.drift_cache import Cache
    from reconciler.engine.drift_reading import Look
    from reconciler.engine.options import PlanOptions
    from reconciler.values import Address, Plan
    from reconciler.verdict import Drift, Reading

__all__ = ["Asked", "check", "unchanged"]

_POOL: Final = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks. ``keeps``: the verdict may be kept for the next check."""

    words: dict[str, Any]
    fast: bool
    max_age: float
    keeps: bool

    @property
    def verdict_file(self) -> Path:
        """Where this very check keeps its verdict."""
        from reconciler.cli.drift_files import verdict_path

        project = self.words["project"]
        where = (Path(project).parent if project else Path()) / ".reconciler"
        look = (width_of(sys.stdout), wants_colour(sys.stdout), is_ascii(sys.stdout))
        named = os.environ.get("MLFLOW_DEPLOYMENTS_TARGET")
        return verdict_path(where, {**self.words, "look": look, "default_target": named})


class Ahead:
    """A client whose LIST has been asked for already: it is not asked twice."""

    def __init__(self, client: Any, listed: Any) -> None:
        self._client = client
        self._listed = listed

    def list_endpoints(self) -> Any:
        """What LIST gave."""
        return self._listed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def unchanged(asked: Asked, open_clients: ExitStack) -> int | Ahead | None:
    """0 when the last verdict still stands: files, references and the whole of LIST are what they were.

    Where it is LIST that changed: the client that asked for it. None where nothing was asked.
    """
    from dataclasses import replace

    from reconciler.cli.drift_files import Verdict, digest_of_list, program, write_verdict

    path = asked.verdict_file
    if not path.is_file():
        return None
    this = program()
    verdict = Verdict.load(path, this)
    if verdict is None or not verdict.stands():
        return None
    from reconciler.engine import moments
    from reconciler.targets import connect, describe

    now = moments.now()
    passed = moments.age(verdict.read_at, now)
    if passed is None or passed > asked.max_age:
        return None
    client = open_clients.enter_context(connect(verdict.target, pool_size=_POOL))
    if (getattr(client, "host", "") or "") != verdict.host:
        return None
    aside = f", environment {verdict.environment}" if verdict.environment else ""
    tell(f"target: {describe(verdict.target, client)}{aside}")
    listed = client.list_endpoints()
    if digest_of_list(listed) != verdict.listed:
        return Ahead(client, listed)
    answer(verdict.answer)
    sum_up(verdict.summary)
    write_verdict(path, replace(verdict, seen_at=now), this, everything_known())
    return 0


def check(
    asked: Asked, reports: Reports, scope: opt.Scope, ahead: Ahead | None, open_clients: ExitStack
) -> int:
    from reconciler.cli import inputs
    from reconciler.engine.drift import parse_kinds
    from reconciler.targets import connect, describe

    words = asked.words
    kinds = parse_kinds(words["fail_on"] or ())
    files = _files_before(words) if asked.keeps else None
    client: Any = ahead or inputs.read_ahead(words["target"], words["project"], scope)
    read = inputs.load_for(
        words["target"],
        words["paths"],
        words["project"],
        words["stack"],
        scope=scope,
        allow_commands=words["allow_commands"],
        is_told=ahead is not None,
        config_path=words["config_path"],
    )
    try:
        options = read.plan_options(prune=words["prune"])
        if not options.prune:  # else they may be about what no manifest declares
            _terms(words, [resource.address for resource in read.loaded.resources])
    except UserError:
        if ahead is None:
            tell(f"target: {read.target}")
        raise
    if ahead is None:
        client = client or connect(read.target, pool_size=_POOL, config_path=read.config_path)
        client = open_clients.enter_context(client)
        tell(f"target: {describe(read.target, client)}{read.aside}")
    read.tell_warnings()
    made = Check(asked, read, client, options)
    found = made.found(kinds)
    reports.drift(found)
    if asked.keeps:
        made.keep_verdict(found, files)
    return 2 if found.fails else 0


def _terms(words: Mapping[str, Any], known: Sequence[Address]) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """``--ignore`` and ``--only``. Raises UsageError for a term that fits nothing of what is known."""
    from reconciler.engine.drift import parse_terms

    ignore = parse_terms(words["ignore"] or (), "--ignore", known)
    return ignore, parse_terms(words["only"] or (), "--only", known)


def _files_before(words: Mapping[str, Any]) -> tuple[Ground, str] | None:
    """The files of this run with their digest, before they are read: a verdict stands on no later ones."""
    from reconciler.cli import inputs
    from reconciler.cli.drift_files import ground_of
    from reconciler.manifest.files import PROJECT_FILE

    settings = inputs.project_of(words["project"])
    named = words["paths"] or (list(settings.manifests) if settings else [])
    overlays = [one for e in (settings.environments.values() if settings else ()) for one in e.overlays]
    project = words["project"] or (PROJECT_FILE if settings else "")
    ground = ground_of(project, [*(named or ["manifests"]), *overlays])
    return None if ground is None else (ground, ground.files_digest())


class Check:
    """One check of one target: reads, judges, and keeps what it saw."""

    def __init__(self, asked: Asked, read: inputs.Input, client: Any, options: PlanOptions) -> None:
        from reconciler.engine import moments

        self._asked = asked
        self._read = read
        self._client = client
        self._options = options
        self._host = getattr(client, "host", "") or ""
        self._now = moments.now()
        self._look: Look | None = None
        self._cache_path, self._stamp = Path(), ""

    def found(self, kinds: frozenset[str]) -> Drift:
        """What drifted. Raises TargetError when the live side cannot be read."""
        from reconciler.cli.drift_files import cache_path, load_cache, reader, save_cache
        from reconciler.engine.drift import sifted
        from reconciler.engine.drift_cache import Cache, Sighting, kept, sighted
        from reconciler.engine.drift_since import after_runs, converged_runs, since, told_paths
        from reconciler.verdict import Drift, Drifted, kind_of_drift

        read, now = self._read, self._now
        path = cache_path(home(read), read.target, self._host, read.environment, read.stack)
        this = reader()
        found = load_cache(path, target=read.target, program=this, now=now)
        plan, reading, unseen, lives, held, listed = self._seen(found.cache)
        cache = self._with_verdict(found.cache)
        whole = {step.address: step for step in plan.steps if kind_of_drift(step)}
        runs = converged_runs(
            home(read) / "runs", whole, host=self._host, target=read.target, environment=read.environment
        )
        before = after_runs(cache.seen, runs)
        ids = {address: str(live.raw.get("id", "")) for address, live in lives.items()}
        clean = [step.address for step in plan.steps if step.address not in whole]
        paths = {address: told_paths(step) for address, step in whole.items()}
        after = sighted(before, paths, clean, ids, now)
        sieved, aside = sifted(plan, *_terms(self._asked.words, [step.address for step in plan.steps]))
        drifted = tuple(
            Drifted(
                step,
                kind,
                not kinds or kind in kinds,
                since(
                    step,
                    before.get(step.address, Sighting()),
                    after[step.address],
                    runs.get(step.address),
                    lives.get(step.address),
                ),
            )
            for step in sieved.steps
            if (kind := kind_of_drift(step))
        )
        looked = {step.address for step in plan.steps}
        everything = Cache(cache.salt, kept(cache, held, looked, listed), after)
        trouble, self._stamp = save_cache(
            found, everything, target=read.target, program=this, redactor=everything_known()
        )
        self._cache_path = path
        if trouble:
            tell(f"warning: what this check saw cannot be kept: {trouble}")
        return Drift(sieved, drifted, aside, unseen, reading, now, read.environment)

    def _with_verdict(self, cache: Cache) -> Cache:
        """The cache, with what checks have seen since that took its verdict for theirs."""
        from dataclasses import replace

        from reconciler.cli.drift_files import Verdict
        from reconciler.engine.moments import is_after
        from reconciler.values import Address

        verdict = Verdict.load(self._asked.verdict_file, None) if self._asked.keeps else None
        if verdict is None or not is_after(self._now, verdict.seen_at):
            return cache
        told = {
            address: replace(one, clean_at=verdict.seen_at)
            for address in map(Address.parse, verdict.addresses)
            if (one := cache.seen.get(address)) and one.clean_at and not one.fields
            if is_after(verdict.seen_at, one.clean_at)
        }
        return replace(cache, seen={**cache.seen, **told})

    def _seen(self, cache: Cache) -> tuple[Plan, Reading, Any, Any, Any, Any]:
        """The plan, how it was looked at, and what may be kept of it."""
        from reconciler.engine.drift_reading import can_be_fast, look
        from reconciler.values import Address
        from reconciler.verdict import Reading

        read, desired = self._read, self._read.loaded.resources
        options = self._options
        if can_be_fast(desired):
            self._look = seen = look(
                self._client,
                desired,
                options,
                cache,
                target=read.target,
                now=self._now,
                fast=self._asked.fast,
                max_age=self._asked.max_age,
                prune=prune_of(read, options),
            )
            listed = [Address("Endpoint", name) for name in seen.entries]
            return seen.plan, seen.reading, seen.unseen, seen.snapshot.resources, seen.held, listed
        from reconciler.engine.planning import read_and_plan

        snapshot, plan = read_and_plan(
            self._client,
            desired,
            options,
            target=read.target,
            taken_at=self._now,
            prune=prune_of(read, options),
        )
        why = self._why_full(read.target, read.config_path) if self._asked.fast else ""
        if why:
            tell(f"--refresh fast: {why}")
        return plan, Reading("full", len(snapshot.resources), 0, why), (), snapshot.resources, {}, ()

    @staticmethod
    def _why_full(target: str, config_path: str) -> str:
        from reconciler.targets import family

        if family(target, config_path) == "plugin":
            return "a plugin tells no times of its target, so all of it was read"
        return "the lists of this target hold everything, so all of it was read"

    def keep_verdict(self, found: Drift, files: tuple[Ground, str] | None) -> None:
        """For the next check: that nothing drifted, and on what that stands; else that nothing is known."""
        from reconciler.cli.drift_files import program, write_verdict

        verdict = self._verdict(found, files) if files else None
        write_verdict(self._asked.verdict_file, verdict, program(), everything_known())

    def _verdict(self, found: Drift, files: tuple[Ground, str]) -> Verdict | None:
        import secrets
        from dataclasses import replace

        from reconciler.cli.drift_files import Verdict, digest_of_list
        from reconciler.engine.drift_cache import is_moving
        from reconciler.engine.drift_reading import unseen
        from reconciler.report.drift import drift_text, headline
        from reconciler.verdict import Reading

        look, read = self._look, self._read
        if look is None or found.drifted or not look.oldest or read.loaded.warnings or read.loaded.opened:
            return None
        if any(is_moving(entry) for entry in look.entries.values()):
            return None
        is_allowed = self._asked.words["allow_commands"]
        if is_allowed or (is_allowed is None and read.project and read.project.allow_commands):
            return None  # what a command gives today is known when it has run
        ground, digest = files
        ground = replace(ground, variables=tuple(dict.fromkeys((*ground.variables, *read.loaded.looked_up))))
        salt = secrets.token_hex(16)
        there = [look.held[address] for address in look.snapshot.resources]
        text = drift_text(  # as the next check says it, which reads nothing in detail
            replace(
                found,
                reading=Reading("fast", 0, len(there)),
                unseen=unseen(read.loaded.resources, look.held),
            ),
            colour=wants_colour(sys.stdout),
            width=width_of(sys.stdout),
            ascii_only=is_ascii(sys.stdout),
        )
        return Verdict(
            target=read.target,
            host=self._host,
            environment=read.environment,
            cache=str(self._cache_path),
            stamp=self._stamp,
            addresses=tuple(str(step.address) for step in found.plan.steps),
            ground=ground,
            files=digest,
            values=ground.values_digest(salt),
            salt=salt,
            listed=digest_of_list(list(look.entries.values())),
            read_at=look.oldest,
            seen_at=self._now,
            answer=text,
            summary=headline(found),
        )
