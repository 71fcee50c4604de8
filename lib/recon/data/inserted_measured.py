"""Lesions put into scans that were measured: what is left where no body can be scanned again.

The coils' maps and the phase of the object are estimated from the scan itself, the lesion is seen
through them, and its k-space is added. So the lesion is exact, the coils are not, and there is no
second scan. Nor is it known which tissue is where: lesions lie where the picture is bright and
even.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from recon.data.fastmri import Volume, make_target, read_full
from recon.data.inserted import Pair, middle_slices
from recon.data.maps import coil_maps
from recon.data.simulate import fill
from recon.paths import cache_dir
from recon.phantoms.lesions import Lesion, Wish, place, profile
from recon.physics.fourier import centre_crop, crop_readout, fft2c, ifft2c
from recon.results.fingerprints import code_sha256

__all__ = ["KIND", "even_tissue", "inserted_into"]

KIND = "even_tissue"
CALIBRATION = 24  # side of the centre that the coils' maps come from


def even_tissue(image: np.ndarray, least: float = 0.15) -> np.ndarray:
    """Where a lesion may lie: signal that varies little, at least this share of its level.

    Returns
    -------
    np.ndarray
        ``(height, width)`` float32, 0 or 1.
    """
    image = np.asarray(image, np.float64)
    signal = image[image > 0.05 * image.max()]
    level = float(np.percentile(signal, 95)) if signal.size else 1.0
    mean = ndimage.uniform_filter(image, 9)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(image**2, 9) - mean**2, 0))
    return ((mean > least * level) & (spread < 0.15 * mean)).astype(np.float32)


def inserted_into(
    files: Sequence[Path],
    sizes: Sequence[float],
    contrasts: Sequence[float],
    draws: int = 1,
    slices: int = 1,
    seed: int = 0,
) -> list[Pair]:
    """Measured scans, and copies of their middle slices with lesions, made now where they lack.

    Parameters
    ----------
    files : sequence of Path
        Fully sampled fastMRI-format files of several coils.
    sizes, contrasts, draws, slices, seed
        As for `recon.data.inserted.inserted_pairs`; contrasts are over the 95th percentile of the
        picture's signal, and every second lesion is dark.

    Returns
    -------
    list of Pair
        Without a second scan.
    """
    asked = [sorted(map(float, sizes)), sorted(map(float, contrasts)), slices, seed]
    origin = [(path.name, path.stat().st_size) for path in files]
    made_of = [asked, origin, str(files[0].resolve().parent), code_sha256(Path(__file__))]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:10]
    folder = cache_dir() / "inserted" / f"measured-{digest}" / "multicoil"
    wishes = [Wish(KIND, d, c) for d in sorted(sizes, reverse=True) for c in contrasts]
    pairs, makers = [], {}
    for path in files:
        names = [f"{path.stem}_lesions{draw}" for draw in range(draws)]
        for draw, name in enumerate(names):
            makers[name] = partial(_with_lesions, path, name, wishes, slices, (seed, draw))
        pairs.append(Pair(path, None, tuple(folder / f"{name}.h5" for name in names)))
    fill(folder, makers, "Lesions in measured scans")
    return pairs


def _with_lesions(
    path: Path, name: str, wishes: list[Wish], slices: int, draw: tuple[int, int]
) -> Volume:
    """The middle slices of a scan, with lesions."""
    volume = read_full(path)
    numbers = middle_slices(len(volume.kspace), slices)
    kspace, lesions = volume.kspace[numbers], []
    own = int(hashlib.sha256(path.stem.encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng([own, *draw])
    left, right = volume.padding
    for k, i in enumerate(numbers):
        part, found = _lesions_of(volume, path, i, wishes, rng)
        part[..., :left] = 0
        part[..., part.shape[-1] - right :] = 0
        kspace[k] += part
        lesions += found
    about = {"lesions": json.dumps([asdict(x) for x in lesions])}
    keep = ("simulated", "pixel_mm")
    about |= {key: volume.attributes[key] for key in keep if key in volume.attributes}
    target = make_target(kspace, volume.crop)
    return replace(volume, name=name, kspace=kspace, target=target, attributes=about)


def _lesions_of(
    volume: Volume, path: Path, i: int, wishes: list[Wish], rng: np.random.Generator
) -> tuple[np.ndarray, list[Lesion]]:
    """What the scan's own coils see of lesions in a slice, ``(coils, H, W)``, and the lesions."""
    full = torch.from_numpy(volume.kspace[i])
    images = ifft2c(crop_readout(full, volume.crop[0]))
    maps = coil_maps(path, i, 0, CALIBRATION)
    combined = (maps.conj() * images).sum(0).numpy()
    phase = np.angle(ndimage.gaussian_filter(combined, 1.0))
    picture = np.sqrt((images.abs() ** 2).sum(0).numpy())
    level = float(np.percentile(picture[picture > 0.05 * picture.max()], 95))
    height, width = picture.shape
    high, wide = (min(a, b) for a, b in zip(volume.crop, picture.shape, strict=True))
    top, side = (height - high) // 2, (width - wide) // 2
    window = (top, top + high, side, side + wide)
    deepest = max(wish.contrast for wish in wishes)  # dark lesions leave some signal
    hosts = {KIND: even_tissue(picture, max(0.15, 1.2 * deepest))}
    found = place(hosts, wishes, rng, window, number=i, own_rows=True)
    found = [replace(x, contrast=x.contrast * (-1) ** k) for k, x in enumerate(found)]
    grown = np.zeros(picture.shape, np.float32)
    for x in found:
        grown += level * x.contrast * profile(picture.shape, (x.row, x.column), x.diameter)
    seen = maps * torch.from_numpy((grown * np.exp(1j * phase)).astype(np.complex64))
    whole = torch.zeros_like(full)
    centre_crop(whole, (height, width))[:] = seen
    kspace = fft2c(whole).numpy()
    return kspace, [replace(x, row=x.row - top, column=x.column - side) for x in found]
