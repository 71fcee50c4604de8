"""SENSE: the image that explains what several coils measured (Pruessmann et al. 1999, 2001).

``(A^H A + lambda I) x = b`` with the encoding operator ``A = D F S``, by conjugate gradients. With
``b = A^H y`` that is SENSE with Tikhonov's regularisation, which nothing has to be learned for.
"""

import torch
from torch import Tensor

from recon.physics.encoding import adjoint, encode


def solve(
    right: Tensor, sensitivities: Tensor, mask: Tensor, weight: Tensor, start: Tensor, turns: int
) -> Tensor:
    """Conjugate gradients on ``(A^H A + weight) x = right``, each slice of the batch on its own.

    Parameters
    ----------
    right, start : Tensor
        ``(batch, height, width)`` complex.
    sensitivities : Tensor
        ``(batch, coils, height, width)`` complex, corner layout.
    mask : Tensor
        Bool, broadcastable to the coils.
    weight : Tensor
        lambda, a positive scalar.
    turns : int
        Iterations.

    Returns
    -------
    Tensor
        x after that many iterations, differentiable in everything but the mask.
    """

    def normal(x: Tensor) -> Tensor:
        return adjoint(encode(x, sensitivities, mask), sensitivities, mask) + weight * x

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a.conj() * b).real.sum((-2, -1), keepdim=True)

    x, residual = start, right - normal(start)
    direction, size = residual, dot(residual, residual)
    for _ in range(turns):
        image = normal(direction)
        # A slice that is solved already has nothing to divide by.
        step = size / dot(direction, image).clamp_min(1e-12)
        x, residual = x + step * direction, residual - step * image
        new = dot(residual, residual)
        direction, size = residual + new / size.clamp_min(1e-12) * direction, new
    return x


def sense(
    kspace: Tensor, mask: Tensor, sensitivities: Tensor, weight: float, turns: int = 30
) -> Tensor:
    """The image ``(batch, 1, height, width)`` of regularised SENSE.

    Parameters
    ----------
    kspace, sensitivities : Tensor
        ``(batch, coils, height, width)`` complex, corner layout.
    mask : Tensor
        Bool, broadcastable.
    weight : float
        lambda, above 0; 1 is the weight of a sample that every coil sees.
    turns : int
        Iterations.

    Raises
    ------
    ValueError
        For a weight that is not positive.
    """
    if not weight > 0:
        raise ValueError(f"weight is {weight}, but must be above 0")
    first = adjoint(kspace, sensitivities, mask)
    weight = torch.as_tensor(weight, dtype=first.real.dtype)
    return solve(first, sensitivities, mask, weight, first, turns).unsqueeze(1)
