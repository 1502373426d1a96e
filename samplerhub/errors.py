"""What can go wrong through no fault of the code: each error says what, the value, what is allowed and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samplerhub.deprecation import moved


class SamplerhubError(Exception):
    """Something that the user can put right: shown as one message, without a traceback, exit code 2."""


class UnknownComponent(SamplerhubError):
    """No component, or more than one, has the name that was asked for."""


class BrokenPlugin(SamplerhubError):
    """A plugin or one of its components cannot be loaded."""


class InvalidSetting(SamplerhubError):
    """A field or an option has a value that is not allowed."""


class Mismatch(SamplerhubError):
    """Components that are fine alone do not fit together: shapes, unmet needs, missing capabilities."""


class NotFinite(SamplerhubError):
    """The state of a run contains NaN or infinity."""


class UnusableFile(SamplerhubError):
    """A file cannot be read or written, or does not hold what it should."""


class WorkerLost(SamplerhubError):
    """The process or the machine that did a job was lost, and the next one that tried it too."""


if not TYPE_CHECKING:  # mypy would take any name for one of the module's

    def __getattr__(name: str) -> object:
        return moved(__name__, name)
