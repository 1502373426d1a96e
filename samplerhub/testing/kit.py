"""Components by name: what a registered component is checked with, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from samplerhub.assembly import build
from samplerhub.capabilities import PLAYERS
from samplerhub.config import Choice
from samplerhub.errors import BrokenPlugin, InvalidSetting, SamplerhubError, UnusableFile
from samplerhub.plugin import ROLES
from samplerhub.protocols import Target
from samplerhub.registry import Registered, Registry, among
from samplerhub.testing import component, convergence, features, grid, metric, model, prior
from samplerhub.testing.catalogue import CHECKS, EVERY
from samplerhub.testing.check import Case, Finding, examine, raised, skipped
from samplerhub.testing.engine import Executed
from samplerhub.testing.process import Processed
from samplerhub.testing.reference import BellsTarget
from samplerhub.testing.report import Report
from samplerhub.testing.target import Sampled
from samplerhub.testing.trainer import Trained, shortened

Observe = Callable[[Finding], None]
BELLS: Mapping[str, Target] = {"": BellsTarget()}
"""What priors and trainers are tried on where no target is named: they take long, or fit anything."""
TRIED_ON: Mapping[str, tuple[str, ...]] = {
    "process": (),
    "target": (),
    "model": ("target",),
    "sampler": ("process",),
    "grid": ("process",),
    "prior": ("process", "target"),
    "features": ("target",),
    "metric": ("target",),
    "trainer": ("target",),
    "engine": (),
}
"""Roles of what the components of a role are tried on."""


@dataclass(frozen=True)
class Kit:
    """The conformance kit for what is installed: components are tried on each other."""

    registry: Registry
    on: Collection[str] = ()
    """Names of processes and targets on which components are tried; by default all that can be made."""
    _tried_on: dict[str, tuple[dict[str, Any], dict[str, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        known = [self.registry.spelled(r) for role in ("process", "target") for r in self.registry.entries(role)]
        for name in self.on:
            if name not in known:
                raise InvalidSetting(f"no process and no target is named {name!r}{among(name, known)}")

    @cached_property
    def processes(self) -> Mapping[str, Any]:
        """The processes that can be made without arguments and pass their own checks."""
        return self._sound("process")[0]

    @cached_property
    def targets(self) -> Mapping[str, Any]:
        """The targets that can be made without arguments, whose files are here, and that pass their own checks."""
        return self._sound("target")[0]

    def broken(self, role: str) -> Mapping[str, str]:
        """Return the processes or the targets on which nothing is tried, by name, and what is wrong with each."""
        return self._sound(role)[1]

    def named_in_vain(self, role: str) -> list[str]:
        """Return the names in `on` that mean nothing for a role: it is not tried on them."""
        used = {self.registry.spelled(r) for kind in TRIED_ON[role] for r in self.registry.entries(kind)}
        return [name for name in self.on if name not in used]

    def _named(self, role: str) -> list[str]:
        """Return the names in `on` that are of this role."""
        return [name for name in map(self.registry.spelled, self.registry.entries(role)) if name in self.on]

    def _sound(self, role: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the components that are named in `on`, or all, and apart from them what is wrong with the others.

        Raises:
            SamplerhubError: One that is named cannot be made, or does not pass its own checks.
        """
        if role not in self._tried_on:
            sound: dict[str, Any] = {}
            broken: dict[str, str] = {}
            for name in self._named(role) or [self.registry.spelled(r) for r in self.registry.entries(role)]:
                try:
                    made, wrong = self._examined(role, name)
                except SamplerhubError:  # it needs arguments or files; that is said where it is checked itself
                    if name in self.on:
                        raise
                    continue
                if wrong and name in self.on:
                    raise BrokenPlugin(f"{role} {name} is broken, and nothing can be tried on it: {wrong}")
                if wrong:
                    broken[name] = f"{role} {name} is broken: {wrong}"
                else:
                    sound[name] = made
            self._tried_on[role] = sound, broken
        return self._tried_on[role]

    def _examined(self, role: str, name: str) -> tuple[Any, str]:
        """Return a component with default fields, and what is wrong with it, empty if nothing is."""
        try:
            made = build(role, Choice(name=name), self.registry)
        except SamplerhubError:
            raise
        except Exception as error:
            return None, raised(error)
        found = list(examine(CHECKS[role], self.cases(role, made)))
        wrong = next((f"{f.check} failed: {f.measured}" for f in found if f.failed), "")
        if not wrong and not any(f.passed for f in found):
            raise UnusableFile(f"{role} {name}: {found[0].measured}")
        return made, wrong

    def check(
        self, role: str, name: str, observe: Observe | None = None, required: Mapping[str, object] | None = None
    ) -> Report:
        """Check a component and return what was found.

        Args:
            role: What it plays.
            name: Its name.
            observe: Called with each finding as it comes.
            required: Values for fields that have no default.

        Raises:
            UnknownComponent: No component has that name.
        """
        registered = self.registry.find(role, name)
        findings, reason = [], ""
        steps = self._findings(registered, required or {})
        while True:
            try:
                finding = next(steps)
            except StopIteration as end:
                reason = end.value or ""
                break
            findings.append(finding)
            if observe:
                observe(finding)
        shown = self.registry.spelled(registered)
        return Report(role, shown, registered.distribution, registered.version, tuple(findings), reason)

    def _findings(self, registered: Registered, required: Mapping[str, object]) -> Any:
        """Yield findings; return why the role could not be checked, or nothing."""
        entry, name = registered.entry, self.registry.spelled(registered)
        try:
            loaded = self.registry.load(entry.role, name)
        except BrokenPlugin as error:
            yield Finding(
                "component-loads",
                "It can be imported.",
                "",
                "a class derived from samplerhub.Component",
                str(error),
                "failed",
                0.0,
                'a target in the entry that is not "package.module:Class", or a library that is not declared',
            )
            return ""
        record = component.Record(loaded, entry.summary, entry.role, required)
        about = []
        for finding in examine(EVERY, [Case("", record)]):
            about.append(finding)
            yield finding
        missing = [field for field, f in loaded.model_fields.items() if f.is_required() and field not in required]
        if missing:
            reason = f"it cannot be made without {', '.join(missing)}"
            yield from (skipped(one, "", reason) for one in CHECKS[entry.role])
            return reason
        try:
            made: Any = (
                loaded.model_validate(dict(required))
                if required
                else build(entry.role, Choice(name=name), self.registry)
            )
        except SamplerhubError as error:
            yield from (skipped(one, "", str(error)) for one in CHECKS[entry.role])
            return str(error)
        except Exception as error:  # the checks above have failed of it
            yield from (skipped(one, "", raised(error)) for one in CHECKS[entry.role])
            return ""
        if not isinstance(made, PLAYERS[entry.role]):
            yield from (skipped(one, "", "component-role failed") for one in CHECKS[entry.role])
            return ""
        tried = False
        reasons = []
        for finding in examine(CHECKS[entry.role], self.cases(entry.role, made)):
            tried |= finding.state != "skipped"
            reasons.append(finding.measured)
            yield finding
        for kind in TRIED_ON[entry.role] if tried or not reasons else ():
            yield from (skipped(CHECKS[entry.role][0], one, why) for one, why in self.broken(kind).items())
        if tried:
            return ""
        if not reasons:
            reasons = [f"no {'target' if entry.role in ('model', 'metric') else 'process'} that is here suits it"]
            yield from (skipped(one, "", reasons[0]) for one in CHECKS[entry.role])
        return reasons[0]

    def cases(self, role: str, made: Any) -> Iterator[Case]:
        """Yield what the checks of a role are made with."""
        if role == "process":
            yield Case("", Processed(made))
        elif role == "target":
            yield Case("", Sampled(made))
        elif role == "model":
            yield from model.cases(made, self.targets)
        elif role == "sampler":
            yield from convergence.cases(made, self.processes)
        elif role == "grid":
            yield from grid.cases(made, self.processes)
        elif role == "prior":
            yield from prior.cases(made, self.processes, self.targets if self._named("target") else BELLS)
        elif role == "features":
            yield from features.cases(made, self.targets)
        elif role == "metric":
            yield from metric.cases(made, self.targets)
        elif role == "trainer":
            for name, target in (self.targets if self._named("target") else BELLS).items():
                yield Case(name, Trained(shortened(made), target))
        elif role == "engine":
            yield Case("", Executed(made))
        else:
            raise InvalidSetting(f"the kit has no checks for role {role!r}{among(role, CHECKS)}")


def named(registry: Registry, role: str | None = None) -> list[tuple[str, str]]:
    """Return role and name of every registered component, of one role or of all."""
    return [(one, registry.spelled(r)) for one in ([role] if role else ROLES) for r in registry.entries(one)]
