"""What a network of diffusers predicts, as noise and as data."""

from __future__ import annotations

from torch import Tensor

from samplerhub.errors import Mismatch

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def checked(prediction: object) -> str:
    """Return the name of a prediction.

    Raises:
        Mismatch: It is none that is known.
    """
    if prediction not in PREDICTIONS:
        raise Mismatch(f"prediction_type = {prediction!r} is not known; known: {', '.join(PREDICTIONS)}")
    return str(prediction)


def noise(prediction: str, output: Tensor, y: Tensor, rho: Tensor) -> Tensor:
    r"""Return eps from a network's output at y = x/alpha, shape (n, *d).

        v = alpha eps - sigma x_0  gives  eps = alpha (v + rho x),    x_0  gives  eps = (y - x_0)/rho
    with x = alpha y and alpha = 1/sqrt(1 + rho^2).

    References:
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022), arXiv:2202.00512
    """
    if prediction == "epsilon":
        return output
    if prediction == "sample":
        return (y - output) / rho
    alpha = scale(rho)
    return alpha * (output + rho * alpha * y)


def data(prediction: str, output: Tensor, y: Tensor, rho: Tensor) -> Tensor:
    """Return x_0 from a network's output at y, shape (n, *d)."""
    return output if prediction == "sample" else y - rho * noise(prediction, output, y, rho)


def scale(rho: Tensor) -> Tensor:
    """Return alpha = 1/sqrt(1 + rho^2), the scale of the data in a variance-preserving process."""
    return (1 + rho**2).rsqrt()
