"""Sensitivity maps of the coils of a slice, computed once and kept in the cache."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.data.cache import kept_array
from recon.data.fastmri import read_volume
from recon.data.measurement import calibration_region
from recon.errors import InputError
from recon.paths import cache_dir
from recon.physics import coils
from recon.physics.fourier import centre_crop, crop_readout, to_corner
from recon.results.fingerprints import code_sha256

GRID = 32  # maps are as smooth as the coils: a finer grid explains the images no better


def coil_maps(path: Path, number: int, virtual_coils: int, calibration: int) -> Tensor:
    """ESPIRiT maps of a slice's (virtual) coils from the centre of its k-space alone.

    Parameters
    ----------
    path : Path
        fastMRI-format file.
    number : int
        Slice.
    virtual_coils : int
        As for `recon.data.measurement.measure`; 0 keeps the coils as they are.
    calibration : int
        Side of the fully sampled centre: no sample outside it is read.

    Returns
    -------
    Tensor
        ``(coils, height, width)`` complex64 of unit sum of squares in every pixel, outside the body
        too, where what they hold is arbitrary. A single coil has the map 1.

    Raises
    ------
    InputError
        When the centre is too small to find coils, or the cache cannot be written.
    """
    volume = read_volume(path, slice(number, number + 1))
    kspace = crop_readout(torch.from_numpy(volume.kspace[0]), volume.crop[0])
    if (virtual_coils or len(kspace)) == 1:
        return torch.ones(1, *kspace.shape[-2:], dtype=torch.complex64)

    def compute() -> np.ndarray:
        name = f"{volume.name}, slice {number}"
        return _compute(kspace, virtual_coils, calibration, name).numpy()

    coarse = kept_array(_kept(path, number, virtual_coils, calibration), compute)
    maps = coils.enlarge(torch.from_numpy(coarse), tuple(kspace.shape[-2:]))
    return maps / coils.rss(maps).clamp_min(1e-6)


def _compute(kspace: Tensor, virtual_coils: int, calibration: int, name: str) -> Tensor:
    """Maps on the coarse grid, from the centre of centred ``(coils, height, width)``."""
    centre = centre_crop(kspace, tuple(min(GRID, n) for n in kspace.shape[-2:]))
    if virtual_coils:
        region = calibration_region(kspace, calibration)
        centre = coils.compress(centre, coils.compression_matrix(region, virtual_coils))
    # Fewer coils than asked for leave zero channels: they have no map.
    there = centre.abs().amax((-2, -1)) > 0
    if there.sum() < 2:
        return there[:, None, None] * torch.ones_like(centre)
    # The kernel must fit into a small centre several times.
    kernel = min(6, max(2, calibration // 2))
    maps = torch.zeros_like(centre)
    try:
        maps[there] = coils.espirit_maps(to_corner(centre[there]), calibration, 0, kernel)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    return maps


def _kept(path: Path, number: int, virtual_coils: int, calibration: int) -> Path:
    """File of the cache that holds these maps."""
    code = code_sha256(Path(__file__), Path(coils.__file__))
    state = path.stat()  # a file that was written anew may hold another scan of the same size
    parts = [path.resolve().parent, state.st_size, state.st_mtime_ns]
    parts += [virtual_coils, calibration, code]
    digest = hashlib.sha256(repr(list(map(str, parts))).encode()).hexdigest()[:16]
    return cache_dir() / "maps" / digest / f"{path.stem}-{number}.npy"
