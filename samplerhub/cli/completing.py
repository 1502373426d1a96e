"""Shell completion: typer knows commands and options; here are the names of components and their fields.

The options of a command depend on the components that it names. Their fields are read from the source, so that nothing
is imported that takes time (`samplerhub.cli.source`).
"""

from __future__ import annotations

import copy
import inspect
import shlex
import textwrap
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samplerhub.cli.app import build_app
from samplerhub.cli.options import Scan, scan, tidy
from samplerhub.cli.source import SourceField, fields
from samplerhub.errors import SamplerhubError
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry

NAMED = ("show", "check")
"""Commands whose arguments are a role and a name."""
LINE = 60
"""Letters of an explanation: typer writes lines of 80, and a shell takes a second line for another completion."""
Complete = Callable[[str], list[tuple[str, str]]]


def completing_app(registry: Registry, environment: MutableMapping[str, str]) -> typer.Typer:
    """Return the application as the shell's completion needs it.

    Args:
        registry: What is installed.
        environment: Where the shell says what has been typed; the words of bash are put together again in it.
    """
    words, incomplete = _typed(environment)
    command, rest = (words[0], words[1:]) if words else ("", [])
    app = build_app([command, "--help"], registry)
    given = scan([*tidy(rest), "--help"])  # with --help a value that is missing is no mistake
    for info in app.registered_commands:
        if info.callback and command in (info.name, (info.callback.__name__.replace("_", "-"))):
            info.callback = _completed(info.callback, command, given, "." in incomplete, registry)
    return app


def _completed(
    callback: Callable[..., Any], command: str, given: Scan, dotted: bool, registry: Registry
) -> Callable[..., Any]:
    """Return a command that stands in for another, with the fields of the components that are named."""
    own = list(inspect.signature(callback, eval_str=True).parameters.values())
    reserved = {spelling for one in own for spelling in _spellings(one)}
    role, _ = _subject(given)

    def sources() -> Iterator[tuple[str, Complete]]:
        for one in own:
            option = one.name if one.kind is one.KEYWORD_ONLY else ""
            if option in ROLES:
                yield one.name, _names(registry, option)
            elif one.name == "role":
                yield one.name, lambda _: list(ROLES.items())
            elif one.name == "name" and command in NAMED and role in ROLES:
                yield one.name, _names(registry, role)

    complete = dict(sources())
    chosen = list(_chosen([one.name for one in own], command, given, registry))
    bare = [field.name for _, field in chosen]

    def parameters() -> Iterator[inspect.Parameter]:
        for one in own:
            marked = getattr(one.annotation, "__metadata__", ())
            yield one.replace(annotation=_annotated(one.annotation, complete.get(one.name))) if marked else one
        for prefix, field in chosen:
            long, short = f"--{prefix}.{_kebab(field.name)}", f"--{_kebab(field.name)}"
            unique = bare.count(field.name) == 1 and short not in reserved
            yield _option(long, field, registry, hidden=unique and not dotted)
            if unique:
                yield _option(short, field, registry, hidden=dotted)

    def stand_in() -> None:
        """Is never called."""

    stand_in.__name__, stand_in.__doc__ = callback.__name__, callback.__doc__
    stand_in.__signature__ = inspect.Signature(list(parameters()))  # type: ignore[attr-defined]
    return stand_in


def _chosen(
    parameters: Sequence[str], command: str, given: Scan, registry: Registry
) -> Iterator[tuple[str, SourceField]]:
    """Yield the fields of the components that the line names, or the file on it, with the words before them."""
    names = [(role, name) for role in ROLES if role in parameters for name in given.values(f"--{role}")[-1:]]
    names = [one for one in names if one[0] != "metric"]
    metrics = given.values("--metric") if "metric" in parameters else []
    role, name = _subject(given)
    if command in NAMED and role in ROLES and name:
        names.append((role, name))
    elif "file" in parameters:
        there = dict(_in_files(given))
        metrics = metrics or there.pop("metric", [])
        names += [(role, found[0]) for role, found in there.items() if role not in dict(names) and found]
    for role, name in names:
        yield from _fields(role, name, role, given, registry)
    for name in metrics:
        prefix = "metric" if len(metrics) == 1 else f"metric.{name.rpartition(':')[2]}"
        yield from _fields("metric", name, prefix, given, registry)


def _fields(role: str, name: str, prefix: str, given: Scan, registry: Registry) -> Iterator[tuple[str, SourceField]]:
    """Yield the fields of a component and of the parts that are named."""
    try:
        target = registry.find(role, name).entry.target
    except SamplerhubError:
        return  # a name that is still being typed, or a file
    for field in fields(target):
        yield prefix, field
        if field.part in ROLES:
            where = f"{prefix}.{_kebab(field.name)}"
            for part in (given.values(f"--{where}") or given.values(f"--{_kebab(field.name)}"))[-1:]:
                yield from _fields(field.part, part, where, given, registry)


def _in_files(given: Scan) -> Iterator[tuple[str, list[str]]]:
    """Yield the names that the experiment file or manifest on the line has, by role; none where it has a mistake."""
    from samplerhub.config import RunConfig, read_manifest

    try:
        for text in given.values("--from")[-1:]:
            manifest = read_manifest(Path(text))
            yield from ((role, [str(one.name)]) for role, one in manifest.components.items())
            yield "metric", [str(one.name) for one in manifest.metrics.values()]
        for text in given.positional[:1]:
            config = RunConfig.from_toml(Path(text))
            yield from ((role, [one.name]) for role, one in config.components.items() if one.name)
            yield "metric", [one.name for one in config.metrics or () if one.name]
    except SamplerhubError:
        return  # the command itself will say what is wrong with the file


def _names(registry: Registry, role: str) -> Complete:
    """Return what completes the names of a role."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        found = [(registry.spelled(one), one.entry) for one in registry.entries(role)]
        aliases = {alias: f"{name}: {entry.summary}" for name, entry in found for alias in entry.aliases}
        return [*(aliases | {name: entry.summary for name, entry in found}).items()]

    return complete


def _option(spelling: str, field: SourceField, registry: Registry, *, hidden: bool) -> inspect.Parameter:
    """Return a field as an option."""
    complete = _names(registry, field.part) if field.part in ROLES else lambda _: [(one, "") for one in field.choices]
    kind = Annotated[str | None, typer.Option(spelling, help=field.help, hidden=hidden)]
    name = "field__" + spelling.removeprefix("--").replace(".", "__").replace("-", "_")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotated(kind, complete))


def _annotated(annotation: Any, complete: Complete | None) -> Any:
    """Return the annotation of a parameter whose values are completed, and whose help stands in one line."""
    info = copy.copy(annotation.__metadata__[0])
    info.help = _short(info.help or "")
    if complete is not None:

        def autocompletion(incomplete: str) -> list[tuple[str, str]]:
            return [(value, _short(text)) for value, text in complete(incomplete)]

        info.autocompletion = autocompletion
    return Annotated[annotation.__origin__, info]


def _spellings(parameter: inspect.Parameter) -> list[str]:
    """Return how a parameter of a command is spelled."""
    marks = getattr(parameter.annotation, "__metadata__", ())
    declared = [spelling for mark in marks for spelling in (getattr(mark, "param_decls", None) or ())]
    return declared or [f"--{_kebab(parameter.name)}"]


def _subject(given: Scan) -> tuple[str, str]:
    """Return the role and the name among the arguments of ``show ROLE NAME``."""
    role, name = (*given.positional, "", "")[:2]
    return role, name


def _typed(environment: MutableMapping[str, str]) -> tuple[list[str], str]:
    """Return the words before the one that is completed, and that one.

    bash takes a word apart at ``=`` and ``:``. It is put together again in the environment, where typer reads it.
    """
    if "COMP_WORDS" in environment:
        words, current = _joined(_split(environment["COMP_WORDS"]), int(environment.get("COMP_CWORD", 0)))
        environment["COMP_WORDS"] = "\n".join(map(shlex.quote, words))
        environment["COMP_CWORD"] = str(current)
        return words[1:current], (*words, "")[current] if current <= len(words) else ""
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)[1:]
    whole = not words or line.endswith(" ")
    return (words, "") if whole else (words[:-1], words[-1])


def _joined(words: Sequence[str], current: int) -> tuple[list[str], int]:
    """Return the words that are one put together, and the place of the current one.

    The current word is left as it is after a colon: bash replaces only what stands behind it.
    """
    found: list[str] = []
    place = current
    for i, word in enumerate(words):
        before = found[-1] if found else ""
        value = before.startswith("--") and (word == "=" if "=" not in before else before.endswith("="))
        if value or (i < current and before and (word == ":" or before.endswith(":"))):
            found[-1] += word
        else:
            found.append(word)
        if i == current:
            place = len(found) - 1
    return found, place if current < len(words) else len(found)


def _split(line: str) -> list[str]:
    """Return the words of a line as a shell reads them; a quote that is still open ends with the line."""
    for close in ("", "'", '"'):
        try:
            return shlex.split(line + close)
        except ValueError:
            continue
    return line.split()


def _short(text: str) -> str:
    """Return text that stands in one line beside what it explains, brackets being brackets and no markup."""
    return textwrap.shorten(text.replace("\\[", "["), LINE, placeholder=" ...").replace("[", r"\[")


def _kebab(name: str) -> str:
    return name.replace("_", "-")
