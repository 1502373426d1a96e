"""The command line: ``samplerhub run | train | list | show | check | cite | plugins``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from traceback import walk_tb
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import typer

    from samplerhub.registry import Registry

COMPLETE = "_SAMPLERHUB_COMPLETE"
"""The variable in which a shell that completes says which shell it is."""
GONE = 141
"""Exit code where whoever read the output has gone: that of a command that SIGPIPE ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    A user's mistake is one message on stderr and exit code 2, an interrupt 130; a bug keeps its traceback.
    """
    try:
        return _command(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _command(arguments: Sequence[str]) -> int:
    """Run a command; its imports are in here, so that an interrupt among them is caught like any other."""
    from samplerhub.errors import SamplerhubError
    from samplerhub.registry import Registry

    # pydantic would look for plugins of its own in all distributions, and fail where one has broken metadata
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    registry, completing = Registry(), COMPLETE in os.environ
    try:
        registry = _discovered(completing)  # first: other people's plugins are asked while the rest is imported
        with _warnings_as_lines(shown=not completing):
            code, message = _dispatch(arguments, registry), ""
    except SamplerhubError as error:
        code, message = 2, str(error)
    if completing:  # whatever is said would stand in the middle of the line that is being typed
        return code

    from samplerhub.cli import render

    if registry.failed and arguments[:1] != ["plugins"] and "`samplerhub plugins`" not in message:
        failed = ", ".join(plugin.called for plugin in registry.failed)
        render.note(f"plugins that failed, see `samplerhub plugins`: {failed}")
    if message:
        render.error(message)
    return code


def _discovered(completing: bool) -> Registry:
    from samplerhub.registry import Registry

    if not completing:
        return Registry.discover()
    lenient = {name: value for name, value in os.environ.items() if name != "SAMPLERHUB_STRICT"}
    return Registry.discover(lenient, patient=False)


@contextmanager
def _warnings_as_lines(shown: bool) -> Iterator[None]:
    """Say each warning that is meant for the user in one line on stderr, once; none at all unless `shown`."""
    from samplerhub.deprecation import OldName

    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, UserWarning | FutureWarning):
            as_usual(message, category, filename, lineno, file, line)
        elif str(message) not in told:
            from samplerhub.cli import render
            from samplerhub.foreign import line as one_line

            told.add(str(message))
            render.note(f"warning: {one_line(str(message), 1000)}", "yellow")

    with warnings.catch_warnings():
        if shown:
            warnings.simplefilter("always", OldName)
        else:
            warnings.simplefilter("ignore")
        as_usual, warnings.showwarning = warnings.showwarning, show
        yield


def _dispatch(arguments: Sequence[str], registry: Registry) -> int:
    import typer

    from samplerhub.cli.booleans import written_out
    from samplerhub.cli.options import tidy
    from samplerhub.cli.output import Output, ReaderGone
    from samplerhub.errors import BrokenPlugin, InvalidSetting

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve each other where cores are shared
    arguments = tidy(arguments) or ["--help"]
    output = Output(sys.stdout)
    try:
        with redirect_stdout(output):
            app = _app(arguments, registry)
            code: int = app(written_out(arguments, app), prog_name="samplerhub", standalone_mode=False) or 0
            output.flush()
        return code
    except typer.TyperException as error:
        raise InvalidSetting(error.format_message()) from error
    except typer.Abort:
        raise KeyboardInterrupt from None
    except ReaderGone:
        return GONE
    except SystemExit as error:
        *_, (frame, number) = walk_tb(error.__traceback__)
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] == "typer":
            raise
        where = f"{module} ({frame.f_code.co_filename}:{number})"
        raise BrokenPlugin(f"the command was ended by {where}, which may raise an error but not exit") from error


def _app(arguments: Sequence[str], registry: Registry) -> typer.Typer:
    """Return the application; where a shell asks for completions, what has been typed is in the environment."""
    if COMPLETE in os.environ:
        from samplerhub.cli.completing import completing_app

        return completing_app(registry, os.environ)
    from samplerhub.cli.app import build_app

    return build_app(arguments, registry)
