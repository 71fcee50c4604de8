"""Receiver coils: combine them, compress them, map them."""

import contextlib
import io
import warnings

import numpy as np
import torch
from torch import Tensor

from recon.physics.fourier import to_centred


def rss(images: Tensor, dim: int = -3) -> Tensor:
    """Root of the sum of squares over the coils: equation 13 of Chen 2022.

    Parameters
    ----------
    images : Tensor
        ``(..., coils, height, width)`` complex or real.
    dim : int
        The coil axis.

    Returns
    -------
    Tensor
        ``(..., height, width)`` real. Its gradient at an exactly zero pixel is zero, where the
        plain root has none.
    """
    energy = (images.real**2 + images.imag**2 if images.is_complex() else images**2).sum(dim)
    positive = energy > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, energy, 1.0)), 0.0)


def compression_matrix(calibration: Tensor, virtual_coils: int) -> Tensor:
    """Coil compression matrix from the centre of k-space: section III-E of Chen 2022.

    The calibration samples ``y_calib`` (samples by coils) are factorised, ``y = U S V^H``, and the
    first columns of V form ``M_c``. An SVD leaves the phase of each column free; here it is chosen
    so that the largest calibration sample of every virtual coil is real and positive. Neither the
    order nor the phases of the real coils then reach a network that sees virtual coils as channels.

    Parameters
    ----------
    calibration : Tensor
        ``(..., coils, height, width)`` complex centre of k-space (for several slices, all of them).
    virtual_coils : int
        Number of columns kept. When there are fewer coils than that the matrix is padded with zero
        columns, so the missing virtual coils are exactly zero.

    Returns
    -------
    Tensor
        ``(coils, virtual_coils)`` complex, with orthonormal (or zero) columns.
    """
    coils = calibration.shape[-3]
    samples = calibration.movedim(-3, -1).reshape(-1, coils)
    _, vectors = torch.linalg.eigh(samples.mH @ samples)
    vectors = vectors.flip(-1)
    virtual = samples @ vectors
    largest = virtual.gather(0, virtual.abs().argmax(0, keepdim=True))
    vectors = vectors * torch.polar(torch.ones(1, coils), -largest.angle())
    matrix = torch.zeros(coils, virtual_coils, dtype=calibration.dtype)
    kept = min(coils, virtual_coils)
    matrix[:, :kept] = vectors[:, :kept]
    return matrix


def compress(kspace: Tensor, matrix: Tensor) -> Tensor:
    """Combine ``(..., coils, height, width)`` into virtual coils: ``y_comp = y M_c``.

    Linear over the coils alone, so it commutes with sampling, with the Fourier transform and with
    a change of layout.
    """
    return torch.einsum("...chw,cv->...vhw", kspace, matrix)


def espirit_maps(
    kspace: Tensor, calibration_width: int, crop: float = 0.95, kernel_width: int = 6
) -> Tensor:
    """Sensitivity maps by ESPIRiT (Uecker et al. 2014), through sigpy.

    Parameters
    ----------
    kspace : Tensor
        ``(coils, height, width)`` complex, corner layout; only its centre is read.
    calibration_width : int
        Side of the fully sampled centre, at least ``kernel_width + 2``.
    crop : float
        Pixels whose eigenvalue is below this are outside the body: their maps are zero.
    kernel_width : int
        Side of the k-space kernels.

    Returns
    -------
    Tensor
        ``(coils, height, width)`` complex; the sum of squares over coils is 1 in the body, 0 out.

    Raises
    ------
    ValueError
        When the calibration region is too small to hold kernels.
    """
    with warnings.catch_warnings():
        # numba compiles on import, so only when maps are wanted; tqdm asks for widgets then.
        warnings.simplefilter("ignore")
        from sigpy.mri.app import EspiritCalib

    if calibration_width < kernel_width + 2:
        raise ValueError(
            f"the fully sampled centre is {calibration_width} columns wide; ESPIRiT needs at least "
            f"{kernel_width + 2}: raise center_fraction"
        )
    centred = to_centred(kspace).cpu().numpy().astype(np.complex64)
    peak = float(np.abs(centred).max())
    if peak == 0:
        return torch.zeros_like(kspace)
    with contextlib.redirect_stdout(io.StringIO()):
        maps = EspiritCalib(
            centred / peak,
            calib_width=calibration_width,
            kernel_width=kernel_width,
            thresh=0.02,
            crop=crop,
            max_iter=30,
            show_pbar=False,
        ).run()
    return torch.from_numpy(np.ascontiguousarray(maps)).to(kspace)


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(coils, h, w)`` of the central k-space, on the grid ``(height, width)`` of all of it.

    Both grids cover the same field of view and have their origin in the middle (at ``n // 2``), so
    a fine pixel lies at ``(i - height // 2) h / height + h // 2`` of the coarse grid. Linear in
    between, constant beyond the last coarse pixel.
    """
    for axis, fine in zip((-2, -1), size, strict=True):
        coarse = maps.shape[axis]
        place = (torch.arange(fine) - fine // 2) * (coarse / fine) + coarse // 2
        place = place.clamp(0, coarse - 1)
        below = place.floor().long()
        above = (below + 1).clamp_max(coarse - 1)
        weight = (place - below).unsqueeze(-1) if axis == -2 else place - below
        maps = torch.lerp(
            maps.index_select(axis, below), maps.index_select(axis, above), weight.to(maps.dtype)
        )
    return maps
