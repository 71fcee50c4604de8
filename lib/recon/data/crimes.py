"""Data crimes: k-space made from finished pictures, as files like any others.

A picture archive holds pictures that a scanner has combined, interpolated, filtered and compressed.
Their Fourier transform is no measurement, and a method that is tested on it looks better than it is
(Shimron et al. 2022). Every function here takes a `Volume` and returns one that a victim of that
processing would hold: k-space *and* target come from the processed picture. `commit` writes such
volumes as fastMRI files into the cache, so that the usual loaders read them.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image
from skimage.restoration import denoise_nl_means, estimate_sigma

from recon.data.fastmri import Volume, list_volumes, make_target, read_full, volume_shape
from recon.data.measurement import seed_of
from recon.data.simulate import fill
from recon.paths import cache_dir
from recon.phantoms.scanner import emulate_single_coil
from recon.results.fingerprints import cell_code

__all__ = [
    "Recipe",
    "commit",
    "denoised",
    "jpeg_compressed",
    "magnitude_only",
    "one_coil",
    "recipes",
    "variable_density",
    "variable_density_mask",
    "zero_padded",
]

AXES = (-2, -1)


def _volume_of(volume: Volume, pictures: np.ndarray) -> Volume:
    """A volume whose k-space is the Fourier transform of pictures ``(slices, h, w)``."""
    shifted = scipy.fft.ifftshift(pictures.astype(np.float32), axes=AXES)
    kspace = scipy.fft.fftshift(scipy.fft.fft2(shifted, norm="ortho"), axes=AXES)
    return replace(
        volume,
        kspace=kspace[:, None].astype(np.complex64),
        target=pictures.astype(np.float32),
        crop=pictures.shape[1:],
        padding=(0, 0),
        single_coil=True,
        mask=None,
        attributes=dict(volume.attributes),
    )


def one_coil(volume: Volume) -> Volume:
    """The honest single-coil scan: coils combined by one weight each, phase and noise kept.

    Linear in what was measured, so k-space stays k-space (`emulate_single_coil`); a volume of one
    coil stays as it is.
    """
    if volume.kspace.shape[1] == 1:
        return replace(volume, single_coil=True)
    kspace = emulate_single_coil(volume.kspace)[:, None]
    target = make_target(kspace, volume.crop)
    return replace(volume, kspace=kspace, target=target, single_coil=True)


def magnitude_only(volume: Volume) -> Volume:
    """The first crime: k-space of the RSS picture; phase, coils and padding are forgotten.

    The picture is real, so its k-space is conjugate symmetric: half of it tells all of it.
    """
    return _volume_of(volume, make_target(volume.kspace, volume.crop))


def zero_padded(volume: Volume, factor: float) -> Volume:
    """K-space with zeros around it: the picture interpolated by ``factor`` in both directions.

    Scanners do this to make pictures look finer. The field of view and the magnitudes stay; the
    padding is *not* declared in the file, which is the crime. Sizes are rounded.

    Parameters
    ----------
    volume : Volume
    factor : float
        At least 1.

    Raises
    ------
    ValueError
        For a factor below 1.
    """
    if factor < 1:
        raise ValueError(f"factor is {factor}; padding makes k-space larger, so take 1 or more")
    old = volume.kspace.shape[-2:]
    new = tuple(round(n * factor) for n in old)
    top, left = (b // 2 - a // 2 for a, b in zip(old, new, strict=True))
    kspace = np.zeros((*volume.kspace.shape[:2], *new), np.complex64)
    gain = np.float32(np.sqrt(new[0] * new[1] / (old[0] * old[1])))
    kspace[..., top : top + old[0], left : left + old[1]] = gain * volume.kspace
    crop = tuple(round(n * factor) for n in volume.crop)
    return replace(
        volume,
        kspace=kspace,
        target=make_target(kspace, crop),
        crop=crop,
        padding=(0, 0),
        mask=None,
    )


def jpeg_compressed(volume: Volume, quality: int) -> Volume:
    """K-space of the picture after JPEG compression, each slice to its own 8-bit grey scale.

    Parameters
    ----------
    volume : Volume
    quality : int
        As Pillow counts it: 1 (small) to 100 (good).
    """
    pictures = np.empty((len(volume.kspace), *volume.crop), np.float32)
    for i, picture in enumerate(make_target(volume.kspace, volume.crop)):
        top = float(picture.max()) or 1.0
        stored = io.BytesIO()
        grey = np.round(255 / top * picture).astype(np.uint8)
        Image.fromarray(grey).save(stored, format="JPEG", quality=quality)
        pictures[i] = np.asarray(Image.open(stored), np.float32) * (top / 255)
    return _volume_of(volume, pictures)


def denoised(volume: Volume, strength: float = 1.0) -> Volume:
    """K-space of the picture after a non-local means filter (Buades et al. 2005).

    Parameters
    ----------
    volume : Volume
    strength : float
        Cut-off of the filter in standard deviations of the noise, which is estimated from the
        finest wavelets of each picture.
    """
    pictures = np.empty((len(volume.kspace), *volume.crop), np.float32)
    for i, picture in enumerate(make_target(volume.kspace, volume.crop)):
        top = float(picture.max()) or 1.0
        sigma = float(estimate_sigma(picture / top))
        options = {"patch_size": 5, "patch_distance": 6, "sigma": sigma, "fast_mode": True}
        pictures[i] = top * denoise_nl_means(picture / top, h=strength * sigma, **options)
    return _volume_of(volume, np.maximum(pictures, 0))


def variable_density_mask(
    width: int, accel: float, center_fraction: float, power: float, seed: int
) -> np.ndarray:
    """Columns drawn with a density that falls from the centre of the grid to its edges.

    Parameters
    ----------
    width : int
        Columns of the grid, padded or not: the mask cannot know.
    accel : float
        ``round(width / accel)`` columns are measured, the centre among them.
    center_fraction : float
        Share of the columns that is fully sampled at the centre.
    power : float
        Density ``(1 - r)^power``, r from 0 at the centre to 1 at the edge; 0 is uniform.
    seed : int

    Returns
    -------
    np.ndarray
        ``(width,)`` bool.
    """
    centre = min(max(1, round(width * center_fraction)), round(width / accel))
    left = (width - centre + 1) // 2
    mask = np.zeros(width, bool)
    mask[left : left + centre] = True
    radius = np.abs(np.arange(width) - width // 2) / (width / 2 + 1)
    weights = np.where(mask, 0, (1 - radius) ** power)
    count = round(width / accel) - centre
    rng = np.random.default_rng(seed)
    mask[rng.choice(width, count, replace=False, p=weights / weights.sum())] = True
    return mask


def variable_density(
    volume: Volume, accel: float, center_fraction: float, power: float, seed: int
) -> Volume:
    """The same volume with a mask of its own, drawn by `variable_density_mask` for its name."""
    own = seed_of(seed, "density", volume.name)
    width = volume.kspace.shape[-1]
    return replace(volume, mask=variable_density_mask(width, accel, center_fraction, power, own))


@dataclass(frozen=True)
class Recipe:
    """A data set made from scans, step by step.

    Attributes
    ----------
    label : str
        Name in print.
    steps : tuple
        Functions of a volume, applied in order; none leaves the scan as it is.
    honest : str
        The recipe whose test a user's data stand for.
    before : str
        The recipe that lacks this crime and has all others.
    published : bool
        Whether the comparison with `before` is one that Shimron et al. (2022) made.
    """

    label: str
    steps: tuple[Callable[[Volume], Volume], ...]
    honest: str = "singlecoil"
    before: str = "magnitude"
    published: bool = False


def recipes(accel: float, center_fraction: float, power: float, seed: int) -> dict[str, Recipe]:
    """Every data set of the chapter, by name; names in ``_vd`` bring variable-density masks."""
    made = {
        "multicoil": Recipe("honest, multi-coil", (), "multicoil", "multicoil"),
        "singlecoil": Recipe("honest, single coil", (one_coil,), before="singlecoil"),
        "phase": Recipe("phase lost", (one_coil, magnitude_only), before="singlecoil"),
        "magnitude": Recipe("phase and coils lost", (magnitude_only,), before="singlecoil"),
    }
    for factor in (1.25, 1.5, 2):
        steps = (partial(zero_padded, factor=factor), magnitude_only)
        made[f"pad_{100 * factor:.0f}"] = Recipe(f"… padded {factor:g}x", steps, published=True)
    for quality in (20, 50, 75, 100):
        steps = (magnitude_only, partial(jpeg_compressed, quality=quality))
        made[f"jpeg_{quality}"] = Recipe(f"… JPEG {quality}", steps, published=True)
    made["denoised"] = Recipe("… denoised", (magnitude_only, denoised))
    padded, pressed = partial(zero_padded, factor=1.5), partial(jpeg_compressed, quality=75)
    made["all"] = Recipe("… 1.5x, denoised, JPEG 75", (padded, magnitude_only, denoised, pressed))
    density = partial(
        variable_density, accel=accel, center_fraction=center_fraction, power=power, seed=seed
    )
    for name in ("singlecoil", "magnitude", "pad_125", "pad_150", "pad_200", "all"):
        one = made[name]
        made[f"{name}_vd"] = replace(
            one,
            label=f"{one.label}, variable density",
            steps=(*one.steps, density),
            honest=f"{one.honest}_vd",
            before=f"{one.before}_vd",
        )
    return made


def _steps_in_words(recipe: Recipe) -> list:
    return [[getattr(s, "func", s).__name__, getattr(s, "keywords", {})] for s in recipe.steps]


def commit(paths: Sequence[Path], name: str, recipe: Recipe, slices: int = 0) -> list[Path]:
    """Files of a processed data set, made from scans now as far as they are not there yet.

    Parameters
    ----------
    paths : sequence of Path
        Fully sampled fastMRI files.
    name : str
        Of the recipe; the cache's folder bears it.
    recipe : Recipe
    slices : int
        Keep this many slices in the middle of every scan; 0 keeps all.

    Returns
    -------
    list of Path
        One file a scan, of the scan's name.
    """
    if not recipe.steps and not slices:
        return list(paths)
    here = Path(__file__).parent
    code = [cell_code((here / f"{m}.py").read_text()) for m in ("crimes", "fastmri", "format")]
    files = [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths]
    made_of = json.dumps([_steps_in_words(recipe), slices, files, code])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:10]
    makers = {path.stem: partial(_make, path, recipe, slices) for path in paths}
    folder = cache_dir() / "crimes" / f"{name}-{digest}"
    return list_volumes(fill(folder, makers, f"Committing {name}"))


def _make(path: Path, recipe: Recipe, slices: int) -> Volume:
    count = volume_shape(path)[0]
    first = (count - slices) // 2 if 0 < slices < count else 0
    volume = read_full(path, slice(first, first + slices) if slices else None)
    for step in recipe.steps:
        volume = step(volume)
    return volume
