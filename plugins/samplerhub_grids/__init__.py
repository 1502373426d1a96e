"""Discretisations of time."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the grids."""
    return [
        Entry(
            "grid",
            "angle",
            "samplerhub_grids.angle:AngleGrid",
            "Uniform in the angle atan(rho/center), dense where the noise level is near `center`, for any process.",
        ),
        Entry(
            "grid",
            "edm",
            "samplerhub_grids.edm:EDMGrid",
            "Uniform in a root of the noise level, rho^(1/exponent), for any process.",
            default=True,
        ),
        Entry(
            "grid", "exponential", "samplerhub_grids.exponential:Exponential", "Uniform in the log of the noise level."
        ),
        Entry(
            "grid",
            "rectified",
            "samplerhub_grids.rectified:Rectified",
            "Uniform in the time u = rho/(rho + center) of the straight path from data to noise of that scale.",
        ),
        Entry("grid", "uniform", "samplerhub_grids.uniform:Uniform", "Uniform in the process's own time t."),
    ]
