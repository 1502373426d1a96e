"""Distributions of data."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the targets."""
    return [
        Entry(
            "target",
            "array",
            "samplerhub_targets.array:Array",
            "Data of one's own: the rows of an array in a .npy or .npz file.",
            files=((".npy", "file"), (".npz", "file")),
        ),
        Entry(
            "target",
            "checkerboard",
            "samplerhub_targets.checkerboard:Checkerboard",
            "A checkerboard in the plane, uniform on its dark squares, score and density in closed form.",
        ),
        Entry(
            "target",
            "digits",
            "samplerhub_targets.digits:Digits",
            "1,797 real 8x8 images of handwritten digits, scaled to [-1, 1].",
            default=True,
        ),
        Entry(
            "target",
            "fashion-mnist",
            "samplerhub_targets.fashion_mnist:FashionMnist",
            "70,000 images of clothes, 28x28 grey pixels, scaled to [-1, 1].",
        ),
        Entry(
            "target",
            "gaussian",
            "samplerhub_targets.gaussian:Gaussian",
            "A Gaussian N(mean, covariance) of any dimension, everything in closed form.",
        ),
        Entry(
            "target",
            "images",
            "samplerhub_targets.images:Images",
            "Images of one's own: a folder of them, or an array in a .npz, .npy or .safetensors file.",
            files=((".safetensors", "source"),),
        ),
        Entry(
            "target",
            "lattice",
            "samplerhub_targets.lattice:Lattice",
            "Gaussians on a square lattice in the plane: 25 of them, of equal weight.",
            aliases=("grid25",),
        ),
        Entry(
            "target",
            "mixture",
            "samplerhub_targets.mixture:Mixture",
            "A mixture of Gaussians of any dimension, score and density in closed form.",
        ),
        Entry(
            "target",
            "moons",
            "samplerhub_targets.moons:Moons",
            "Two interleaving half circles in the plane, smeared by noise, score and density exact.",
        ),
        Entry(
            "target",
            "plane",
            "samplerhub_targets.plane:Plane",
            "Two Gaussians in the plane, a small wide one and a large narrow one.",
        ),
        Entry(
            "target",
            "random-mixture",
            "samplerhub_targets.random_mixture:RandomMixture",
            "A mixture of Gaussians drawn at random, in any number of dimensions.",
        ),
        Entry(
            "target",
            "ring",
            "samplerhub_targets.ring:Ring",
            "Gaussians on a ring in the plane: 8 of them, of equal weight.",
        ),
        Entry(
            "target",
            "spiral",
            "samplerhub_targets.spiral:Spiral",
            "An Archimedean spiral in the plane, smeared by noise, score and density exact.",
        ),
        Entry(
            "target",
            "student-t",
            "samplerhub_targets.student_t:StudentT",
            "A mixture of Student's t-distributions, with heavy tails, score and density exact.",
        ),
        Entry(
            "target",
            "uniform",
            "samplerhub_targets.uniform:Uniform",
            "A mixture of uniform laws on boxes of any dimension, score and density in closed form.",
        ),
    ]
