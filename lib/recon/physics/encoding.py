"""The encoding operator A of equation 1 (Chen 2022), ``y = A x + noise``, and its adjoint.

``A = D F S``: multiply the image by each coil's sensitivity (S), transform (F), keep the measured
columns (D). PC-RNN leaves S out and works on the stack of coil images; the methods that know the
coils use all three. Layout: corner k-space, mask in the corner layout (``ifftshift``).
"""

import torch
from torch import Tensor

from recon.physics.fourier import fft2, ifft2


def encode(image: Tensor, sensitivities: Tensor, mask: Tensor) -> Tensor:
    """A x: what the coils measure of an image.

    Parameters
    ----------
    image : Tensor
        ``(..., height, width)`` complex.
    sensitivities : Tensor
        ``(..., coils, height, width)`` complex.
    mask : Tensor
        Bool, broadcastable to ``(..., coils, height, width)``.

    Returns
    -------
    Tensor
        ``(..., coils, height, width)`` complex, exactly zero where the mask is false.
    """
    return fft2(sensitivities * image.unsqueeze(-3)) * mask


def adjoint(kspace: Tensor, sensitivities: Tensor, mask: Tensor) -> Tensor:
    """A^H y: the coil-combined zero-filled image ``(..., height, width)`` of masked k-space."""
    return (sensitivities.conj() * ifft2(kspace * mask)).sum(dim=-3)


def data_consistency(image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
    """Put the measured samples back: equation 11 of Chen 2022.

    ``sigma(x, y, D) = F^-1 [D y + (1 - D) F x]``.

    Parameters
    ----------
    image : Tensor
        ``(..., coils, height, width)`` complex.
    kspace : Tensor
        Measured k-space, same shape, corner layout; what it holds off the mask is ignored.
    mask : Tensor
        Bool, broadcastable.

    Returns
    -------
    Tensor
        The nearest image (in the sense of least squares) whose k-space agrees with every measured
        sample.
    """
    return ifft2(torch.where(mask, kspace, fft2(image)))
