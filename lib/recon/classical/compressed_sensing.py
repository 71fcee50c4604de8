"""Compressed sensing with known coils: equation 2 of Chen 2022, through sigpy.

``argmin_x |A x - y|^2 / 2 + lambda |Psi x|_1`` with A = D F S, the maps S from ESPIRiT, and Psi a
wavelet transform or finite differences (total variation).

Nothing is learned, so nothing changes from run to run: reconstructions are kept in the cache, eight
bytes a pixel of each slice and strength.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.data.cache import kept_array
from recon.data.measurement import Measurement
from recon.learning.losses import combine, nmse
from recon.paths import cache_dir
from recon.physics import coils, fourier
from recon.physics.coils import espirit_maps, rss
from recon.physics.fourier import to_centred
from recon.physics.sampling import calibration_width
from recon.results.fingerprints import cell_code

# Regularisation strengths that `tune` tries, for k-space scaled by its zero-filled mean.
GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
# At the strengths that `tune` picks, the objective is then within 0.05 % of its value after 200.
ITERATIONS = 60


def sensitivities_of(measurement: Measurement) -> Tensor:
    """Maps ``(coils, height, width)``: those that a measurement holds, or ESPIRiT's of its centre.

    A single coil has the map 1. The kernel is at most 6 wide, and half as wide as the calibration
    centre where that is small.
    """
    if measurement.sensitivities is not None:
        return measurement.sensitivities
    if measurement.kspace.shape[-3] == 1:
        return torch.ones_like(measurement.kspace)
    mask = torch.fft.fftshift(measurement.mask.flatten())
    size = min(24, calibration_width(mask), measurement.kspace.shape[-2])
    kernel = min(6, max(2, size // 2))
    kspace = measurement.kspace
    found = _kept(
        lambda: espirit_maps(kspace, size, crop=0.9, kernel_width=kernel).numpy(),
        kspace,
        ("maps", size, kernel),
    )
    return torch.from_numpy(found)


def compressed_sensing(
    measurement: Measurement,
    regularisation: float,
    prior: str = "wavelet",
    iterations: int = ITERATIONS,
) -> Tensor:
    """Reconstruct one slice.

    Parameters
    ----------
    measurement : Measurement
        One slice (not a batch).
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
    if prior not in ("wavelet", "tv"):
        raise ValueError(f"prior is {prior!r}; choose wavelet or tv")
    device = measurement.kspace.device
    measurement = measurement.to(torch.device("cpu"))  # sigpy's door; it knows no torch
    maps = sensitivities_of(measurement)
    image = _kept(
        lambda: _solve(measurement, maps, regularisation, prior, iterations),
        measurement.kspace,
        measurement.mask,
        maps,
        (float(regularisation), prior, iterations),
    )
    return (maps * torch.from_numpy(image)).to(device)


def _solve(
    measurement: Measurement, maps: Tensor, regularisation: float, prior: str, iterations: int
) -> np.ndarray:
    """The image ``(height, width)`` complex64 that minimises equation 2."""
    with warnings.catch_warnings():
        # numba compiles on import, so only when it is wanted; tqdm asks for widgets then.
        warnings.simplefilter("ignore")
        from sigpy.mri.app import L1WaveletRecon, TotalVariationRecon

    kspace = to_centred(measurement.kspace).numpy()
    mask = torch.fft.fftshift(measurement.mask.flatten()).numpy()
    # D F S enlarges no image by more than the largest RSS of the maps, finite differences of two
    # directions none by more than the root of 8. sigpy would look for these bounds by 30 power
    # iterations from a random image: half as much work again, and a step that is a little too long.
    bound = max(float(rss(maps).max()) ** 2, 1e-6)
    wavelet = prior == "wavelet"
    steps = {"alpha": 1 / bound} if wavelet else {"tau": 1 / (bound + 8), "sigma": 1}
    image = (L1WaveletRecon if wavelet else TotalVariationRecon)(
        kspace * mask,
        maps.numpy(),
        regularisation,
        weights=np.broadcast_to(mask, kspace.shape).astype(np.float32),
        max_iter=iterations,
        show_pbar=False,
        **steps,
    ).run()
    return np.asarray(image, dtype=np.complex64)


def _kept(compute: Callable[[], np.ndarray], *parts: Tensor | tuple) -> np.ndarray:
    """An array of the cache, or what ``compute`` returns, which is then kept.

    Parameters
    ----------
    compute : callable
        Makes the array, complex64.
    *parts : Tensor or tuple
        All that the array depends on, but for the code.
    """
    digest = hashlib.sha256(_made_by().encode())
    for part in parts:
        digest.update(repr(part if isinstance(part, tuple) else (part.shape, part.dtype)).encode())
        if not isinstance(part, tuple):
            digest.update(part.contiguous().numpy().tobytes())
    name = digest.hexdigest()[:32]
    path = cache_dir() / "compressed_sensing" / name[:2] / f"{name}.npy"
    return kept_array(path, compute)


@cache
def _made_by() -> str:
    """The code that a kept array depends on, without comments, and sigpy's version."""
    sources = [Path(str(module)) for module in (__file__, coils.__file__, fourier.__file__)]
    code = [cell_code(path.read_text(encoding="utf-8")) for path in sources]
    return repr([*code, version("sigpy")])


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


def tuned(
    slices: Sequence[Measurement], count: int = 8, grid: Sequence[float] = GRID
) -> tuple[Callable[[Measurement], Tensor], dict[float, float]]:
    """`batched` at the strength that is best on ``count`` slices, taken evenly from all.

    Parameters
    ----------
    slices : sequence of Measurement
        Of the training set: a strength chosen on test slices would flatter the method.

    Returns
    -------
    method : callable
        Batch to coil images, as `recon.learning.metrics.evaluate_methods` takes it.
    errors : dict
        See `tune`.
    """
    chosen = range(0, len(slices), max(1, len(slices) // count))[:count]
    best, errors = tune([slices[i] for i in chosen], grid)
    return partial(batched, regularisation=best), errors
