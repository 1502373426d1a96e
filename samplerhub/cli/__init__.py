"""The command line: ``samplerhub run | train | list | show | plugins``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from samplerhub.errors import SamplerhubError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    A user's mistake is one message on stderr and exit code 2, an interrupt 130; a bug keeps its traceback.
    """
    import typer

    from samplerhub.cli.app import build_app
    from samplerhub.cli.options import tidy
    from samplerhub.registry import Registry

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve each other where cores are shared
    arguments = tidy(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        app = build_app(arguments, Registry.discover())
        return app(arguments, prog_name="samplerhub", standalone_mode=False) or 0
    except SamplerhubError as error:
        message = str(error)
    except typer.TyperException as error:
        message = error.format_message()
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    from samplerhub.cli import render

    render.error(message)
    return 2
