"""Compressed sensing with known coils: equation 2 of Chen 2022, through sigpy.

``argmin_x |A x - y|^2 / 2 + lambda |Psi x|_1`` with A = D F S, the maps S from ESPIRiT, and Psi a
wavelet transform or finite differences (total variation).
"""

from collections.abc import Sequence

import numpy as np
import torch
from fastmri.data.subsample import temp_seed
from torch import Tensor

from recon.data.measurement import Measurement
from recon.learning.losses import combine, nmse
from recon.physics.coils import espirit_maps
from recon.physics.fourier import to_centred
from recon.physics.sampling import calibration_width

# Regularisation strengths that `tune` tries, for k-space scaled by its zero-filled mean.
GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def sensitivities_of(measurement: Measurement) -> Tensor:
    """ESPIRiT maps ``(coils, height, width)``: those that a measurement holds, or from its centre.

    The kernel is at most 6 wide and half as wide as the calibration centre where that is small.
    """
    if measurement.sensitivities is not None:
        return measurement.sensitivities
    mask = torch.fft.fftshift(measurement.mask.flatten())
    size = min(24, calibration_width(mask), measurement.kspace.shape[-2])
    kernel = min(6, max(2, size // 2))
    return espirit_maps(measurement.kspace, size, crop=0.9, kernel_width=kernel)


def compressed_sensing(
    measurement: Measurement,
    regularisation: float,
    prior: str = "wavelet",
    iterations: int = 100,
) -> Tensor:
    """Reconstruct one slice.

    Parameters
    ----------
    measurement : Measurement
        One slice (not a batch), at least two coils.
    regularisation : float
        lambda, relative to the mean of the zero-filled image.
    prior : {"wavelet", "tv"}
        Daubechies-4 wavelets (FISTA) or total variation (primal-dual).
    iterations : int
        Iterations of the solver.

    Returns
    -------
    Tensor
        Coil images ``(coils, height, width)`` complex: the image times its maps.

    Raises
    ------
    ValueError
        For an unknown prior, or a centre too small to find the coils.
    """
    from sigpy.mri.app import L1WaveletRecon, TotalVariationRecon

    apps = {"wavelet": L1WaveletRecon, "tv": TotalVariationRecon}
    if prior not in apps:
        raise ValueError(f"prior is {prior!r}; choose wavelet or tv")
    maps = sensitivities_of(measurement)
    kspace = to_centred(measurement.kspace).numpy()
    mask = torch.fft.fftshift(measurement.mask.flatten()).numpy()
    # sigpy finds its step size by a power iteration from NumPy's global random stream.
    with temp_seed(np.random, 0):
        image = apps[prior](
            kspace * mask,
            maps.numpy(),
            regularisation,
            weights=np.broadcast_to(mask, kspace.shape).astype(np.float32),
            max_iter=iterations,
            show_pbar=False,
        ).run()
    return maps * torch.from_numpy(np.asarray(image))


def batched(batch: Measurement, regularisation: float, **options) -> Tensor:
    """`compressed_sensing` for every slice of a batch: ``(batch, coils, height, width)``."""
    slices = [
        Measurement(name=name, **{key: value[i] for key, value in batch.tensors().items()})
        for i, name in enumerate(batch.name)
    ]
    return torch.stack([compressed_sensing(item, regularisation, **options) for item in slices])


def tune(
    measurements: Sequence[Measurement], grid: Sequence[float] = GRID, prior: str = "wavelet"
) -> tuple[float, dict[float, float]]:
    """Choose the regularisation with the least mean NMSE over validation slices.

    Returns
    -------
    best : float
    errors : dict
        NMSE of every strength tried.
    """
    errors = {}
    for strength in grid:
        values = []
        for item in measurements:
            image = combine(compressed_sensing(item, strength, prior), item.target.shape[-2:])
            values.append(nmse(image[None], item.target[None]).item())
        errors[strength] = float(np.mean(values))
    return min(errors, key=errors.get), errors
