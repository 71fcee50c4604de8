"""Fourier transforms, and the one place that knows of centring.

Files hold *centred* k-space: the zero frequency sits in the middle of the array and the image's
origin in the middle of the picture. Every transform between the two then needs two shifts, and in
a network with sixteen data-consistency steps the shifts cost more than the transforms. So the
measurement is moved once, at loading, to the *corner* layout,

    kspace' = fft2(ifft2c(kspace)),        mask' = ifftshift(mask),

in which the image keeps its natural pixel order and the plain, unshifted transform is the right
one. The identity is exact for odd sizes too. All transforms are orthonormal, so they are unitary
and noise keeps its variance.
"""

import torch
from torch import Tensor

AXES = (-2, -1)


def fft2c(image: Tensor) -> Tensor:
    """Centred orthonormal 2-D Fourier transform, image to k-space.

    Parameters
    ----------
    image : Tensor
        ``(..., height, width)`` complex, origin at the centre.

    Returns
    -------
    Tensor
        ``(..., height, width)`` complex, zero frequency at the centre. Equal to ``fastmri.fft2c``.
    """
    shifted = torch.fft.ifftshift(image, dim=AXES)
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=AXES)


def ifft2c(kspace: Tensor) -> Tensor:
    """Centred orthonormal inverse transform, k-space to image; the inverse of `fft2c`."""
    shifted = torch.fft.ifftshift(kspace, dim=AXES)
    return torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), dim=AXES)


def fft2(image: Tensor) -> Tensor:
    """Orthonormal transform of an image to *corner* k-space ``(..., height, width)``, no shifts."""
    return torch.fft.fft2(image, norm="ortho")


def ifft2(kspace: Tensor) -> Tensor:
    """Orthonormal transform of *corner* k-space ``(..., height, width)`` to image, no shifts."""
    return torch.fft.ifft2(kspace, norm="ortho")


def to_corner(kspace: Tensor) -> Tensor:
    """Move centred k-space ``(..., height, width)`` to the corner layout, once, at loading.

    Notes
    -----
    ``fft2(ifft2c(kspace))``: a shift of the samples and a linear phase, any size.
    """
    return fft2(ifft2c(kspace))


def to_centred(kspace: Tensor) -> Tensor:
    """Move corner k-space ``(..., height, width)`` back to the centred layout of the files."""
    return fft2c(ifft2(kspace))


def centre_crop(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut the middle ``(height, width)`` out of ``(..., height, width)``.

    Raises
    ------
    ValueError
        When the image is smaller than the crop.
    """
    height, width = image.shape[-2:]
    if size[0] > height or size[1] > width:
        raise ValueError(f"cannot crop {size[0]} x {size[1]} from an image of {height} x {width}")
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def crop_readout(kspace: Tensor, height: int) -> Tensor:
    """Remove readout oversampling: cut centred k-space ``(..., H, W)`` to ``height`` in the image.

    The readout is fully sampled, and only it is transformed, so columns never mix and this
    commutes exactly with leaving columns out. K-space that is not larger comes back as it is.
    """
    if kspace.shape[-2] <= height:
        return kspace
    shifted = torch.fft.ifftshift(kspace, dim=-2)
    lines = torch.fft.fftshift(torch.fft.ifft(shifted, dim=-2, norm="ortho"), dim=-2)
    cut = torch.fft.ifftshift(centre_crop(lines, (height, kspace.shape[-1])), dim=-2)
    return torch.fft.fftshift(torch.fft.fft(cut, dim=-2, norm="ortho"), dim=-2)
