"""The command line: ``samplerhub run | train | list | show | check | plugins``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

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
    import typer

    from samplerhub.cli import render
    from samplerhub.cli.app import build_app
    from samplerhub.cli.options import tidy
    from samplerhub.cli.output import Output, ReaderGone
    from samplerhub.errors import SamplerhubError
    from samplerhub.registry import Registry

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve each other where cores are shared
    arguments = tidy(arguments) or ["--help"]
    output = Output(sys.stdout)
    try:
        with redirect_stdout(output):
            app = build_app(arguments, Registry.discover())
            code = app(arguments, prog_name="samplerhub", standalone_mode=False) or 0
            output.flush()
        return code
    except SamplerhubError as error:
        message = str(error)
    except typer.TyperException as error:
        message = error.format_message()
    except typer.Abort:
        raise KeyboardInterrupt from None
    except ReaderGone:
        return GONE
    render.error(message)
    return 2
