"""The engine of dask.distributed: workers on this machine, or on many."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the engine."""
    return [
        Entry(
            "engine",
            "dask",
            "samplerhub_dask.engine:DaskEngine",
            "The workers of a dask cluster: on this machine, or of a scheduler that is running.",
        )
    ]
