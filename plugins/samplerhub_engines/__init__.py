"""Engines: what executes blocks and runs on this machine."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the engines."""
    return [
        Entry(
            "engine",
            "process",
            "samplerhub_engines.process:ProcessEngine",
            "Several processes of this machine at a time.",
            default=True,
        ),
        Entry(
            "engine",
            "serial",
            "samplerhub_engines.serial:SerialEngine",
            "One job after the other, in this process.",
        ),
    ]
