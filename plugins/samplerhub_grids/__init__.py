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
            "beta",
            "samplerhub_grids.beta:Beta",
            "Quantiles of a beta distribution in the process's own time, dense at both ends of the span.",
        ),
        Entry(
            "grid",
            "cosine",
            "samplerhub_grids.cosine:Cosine",
            "Uniform in the time of `vp-cosine`, whatever the process is.",
        ),
        Entry(
            "grid",
            "edm",
            "samplerhub_grids.edm:EDMGrid",
            "Uniform in a root of the noise level, rho^(1/exponent), for any process.",
            default=True,
        ),
        Entry(
            "grid",
            "equidistributed",
            "samplerhub_grids.equidistributed:Equidistributed",
            "Equal discretisation error in every step, from the Fisher information of the target, which is measured.",
        ),
        Entry(
            "grid",
            "explicit",
            "samplerhub_grids.explicit:Explicit",
            "Given nodes, from the largest noise level to the smallest.",
            files=((".json", "file"), (".npy", "file"), (".txt", "file")),
        ),
        Entry(
            "grid",
            "exponential",
            "samplerhub_grids.exponential:Exponential",
            "Uniform in the log of the noise level, and so in log-SNR.",
            aliases=("log-snr",),
        ),
        Entry(
            "grid",
            "iddpm",
            "samplerhub_grids.iddpm:IDDPMGrid",
            "Whole rows of iDDPM's table of noise levels, equally spaced but for rounding, for any process.",
        ),
        Entry(
            "grid",
            "leading",
            "samplerhub_grids.spacings:Leading",
            "Every k-th row of a discrete schedule, counted from the first: the start is one longer step.",
        ),
        Entry(
            "grid",
            "linspace",
            "samplerhub_grids.spacings:Linspace",
            "Whole rows of a discrete schedule, equally spaced from the last to the first.",
        ),
        Entry(
            "grid",
            "power",
            "samplerhub_grids.power:Power",
            "Uniform in a root of the process's own time, t^(1/exponent).",
        ),
        Entry(
            "grid",
            "learned",
            "samplerhub_grids.learned:LearnedGrid",
            "Nodes that were optimised through a sampler, for a given model and number of steps; read from a file.",
            files=((".grid.json", "file"),),
        ),
        Entry(
            "grid",
            "rectified",
            "samplerhub_grids.rectified:Rectified",
            "Uniform in the time u = rho/(rho + center) of the straight path from data to noise of that scale.",
        ),
        Entry(
            "grid",
            "trailing",
            "samplerhub_grids.spacings:Trailing",
            "Every k-th row of a discrete schedule, counted from the last, and the first row as the end.",
        ),
        Entry("grid", "uniform", "samplerhub_grids.uniform:Uniform", "Uniform in the process's own time t."),
        Entry(
            "grid",
            "vp",
            "samplerhub_grids.vp:VPGrid",
            "Uniform in the time of `vp`, the process with linear beta, whatever the process is.",
        ),
    ]
