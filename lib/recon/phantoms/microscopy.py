"""A simulated cleared mouse cortex under a light-sheet microscope, drawn chunk by chunk.

Capillaries join the nodes of a jittered lattice, about three at each, and penetrating vessels run
down from the surface of the brain, their walls brighter than their lumen as lectin stains them.
Neurons lie in layers, each with a dendrite that points at the surface. The light sheet leaves
stripes, the optics blur more along their own axis than across, and photons are counted.

Everything is drawn from a hash of where it is, so a volume of any size is never held as a whole:
`Cortex` is an array that computes what is read of it, and what it gives does not depend on what
else is read. Densities are those of the literature on the mouse cortex in order of magnitude;
brightness and stripes were chosen by eye beside a measured volume.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from scipy import ndimage

from recon.errors import InputError
from recon.phantoms.cortex import capsules, draw, stream

__all__ = ["CHUNK", "Cortex", "expected_box"]

CHUNK = (16, 256, 256)
FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in standard deviations
# Photons a voxel
EMPTY, TISSUE = 4.0, 32.0


@dataclass(frozen=True)
class Cortex:
    """A volume of photon counts that is computed where it is read.

    Axes are ``(slice, depth, optical)``: the surface of the brain is crossed along ``depth``, the
    light sheet comes along it, and the point spread is widest along the last axis.

    Attributes
    ----------
    shape : tuple of int
        Voxels. A smaller volume is the beginning of a larger one.
    seed : int
    voxel : float
        Side of a voxel in um.
    blur : float
        Full width at half maximum of the point spread along the last axis in um; along the others
        it is one voxel.
    """

    shape: tuple[int, int, int]
    seed: int = 0
    voxel: float = 0.411
    blur: float = 2.2

    dtype = np.dtype(np.uint16)
    ndim = 3

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"shape is {self.shape}; a volume has three sides of a voxel or more.")

    @property
    def nbytes(self) -> int:
        """Bytes that the whole would take."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, where: Any) -> np.ndarray:
        """Counts, by whole numbers and slices without steps, one for each axis or fewer."""
        return self._assembled(where, _counted, self.dtype)

    def expected(self, where: Any) -> np.ndarray:
        """Mean counts, float32, without the photons' chance."""
        return self._assembled(where, expected_chunk, np.float32)

    def _assembled(self, where: Any, chunk: Any, dtype: Any) -> np.ndarray:
        where = where if isinstance(where, tuple) else (where,)
        where += (slice(None),) * (3 - len(where))
        ranges = []
        for part, n in zip(where, self.shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(n)
                if step != 1:
                    raise InputError("a simulated volume is read without steps.")
            else:
                start = range(n)[int(part)]
                stop = start + 1
            ranges.append((start, max(start, stop)))
        found = np.empty([stop - start for start, stop in ranges], dtype)
        touched = [
            range(a // c, -(-b // c)) if b > a else range(0)
            for (a, b), c in zip(ranges, CHUNK, strict=True)
        ]
        for index in product(*touched):
            here, there = [], []
            for i, c, (a, b) in zip(index, CHUNK, ranges, strict=True):
                low, high = max(a, i * c), min(b, (i + 1) * c)
                here.append(slice(low - a, high - a))
                there.append(slice(low - i * c, high - i * c))
            found[tuple(here)] = chunk(index, self.seed, self.voxel, self.blur)[tuple(there)]
        flat = tuple(slice(None) if isinstance(part, slice) else 0 for part in where)
        return found[flat]


@lru_cache(maxsize=96)  # 2 MB each: a slice of 2000 x 2000 crosses 64
def _counted(index: tuple[int, int, int], seed: int, voxel: float, blur: float) -> np.ndarray:
    """Counts of one chunk, uint16; the last chunks are kept for the slices beside."""
    mean = expected_chunk(index, seed, voxel, blur)
    counts = stream(seed, 0, index).poisson(mean)
    return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)


def expected_chunk(index: tuple[int, int, int], seed: int, voxel: float, blur: float) -> np.ndarray:
    """Mean photons of one chunk, float32 of shape `CHUNK`."""
    return expected_box(
        tuple(i * c for i, c in zip(index, CHUNK, strict=True)), CHUNK, seed, voxel, blur
    )


def expected_box(
    start: tuple[int, int, int],
    shape: tuple[int, int, int],
    seed: int,
    voxel: float,
    blur: float,
) -> np.ndarray:
    """Mean photons of any box of voxels: structures, light sheet, blur."""
    sigmas = (1 / FWHM, 1 / FWHM, blur / voxel / FWHM)
    halo = [int(np.ceil(4 * s)) for s in sigmas]
    places = [
        ((np.arange(a - h, a + n + h) + 0.5) * voxel).astype(np.float32)
        for a, n, h in zip(start, shape, halo, strict=True)
    ]
    below = places[1][None, :, None] - _surface(seed, places[0], places[2])
    inside = np.clip(below / 2 + 0.5, 0, 1)
    bright = _texture(seed, 1, places, (70, 70, 70)) * 0.15
    bright += _texture(seed, 2, places, (4, 4, 4)) * 0.18
    # Brighter towards the surface, as antibodies come from there.
    image = TISSUE * inside * (0.75 + 0.35 * np.exp(-np.maximum(below, 0) / 150)) * np.exp(bright)
    light = np.zeros_like(image)
    for capsule in capsules(seed, places):
        draw(light, places, capsule)
    image += light * inside
    stripes = _texture(seed, 3, places, (5, 400, 9)) * 0.07
    image = (image * (1 + stripes) + EMPTY).astype(np.float32)
    for axis, (sigma, h) in enumerate(zip(sigmas, halo, strict=True)):
        image = ndimage.gaussian_filter1d(image, sigma, axis, radius=h)
    cut = tuple(slice(h, h + n) for h, n in zip(halo, shape, strict=True))
    return np.ascontiguousarray(image[cut])


def _texture(seed: int, kind: int, places: list, spacing: tuple[float, ...]) -> np.ndarray:
    """Smooth random field of unit variance: values on a lattice, joined by cubic splines."""
    weights, lattice = [], []
    for x, h in zip(places, spacing, strict=True):
        first = int(np.floor(x[0] / h)) - 1
        count = int(np.floor(x[-1] / h)) + 3 - first
        t = np.abs(x[:, None] / h - (first + np.arange(count)))
        near, far = np.clip(1 - t, 0, None), np.clip(2 - t, 0, None)
        weights.append(((far**3 - 4 * near**3) / 6 / np.sqrt(0.4794)).astype(np.float32))
        lattice.append(first + np.arange(count))
    mixed = np.full((1, 1, 1), seed * 31 + kind, np.uint64)
    with np.errstate(over="ignore"):
        for axis, index in enumerate(lattice):
            shape = [1, 1, 1]
            shape[axis] = -1
            mixed = _mix(mixed ^ index.astype(np.int64).astype(np.uint64).reshape(shape))
    values = ((mixed >> np.uint64(40)).astype(np.float32) / 2**24 - 0.5) * np.float32(12**0.5)
    for axis, weight in enumerate(weights):
        values = np.moveaxis(np.tensordot(weight, values, (1, axis)), 0, axis)
    return values


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _surface(seed: int, slices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Depth in um at which the tissue begins, (slices, 1, columns)."""
    flat = [slices, np.zeros(1, np.float32), columns]
    slope = 45 * np.sin((columns + 60 * seed) / 300)[None, None]
    return 75 + slope + 12 * _texture(seed, 4, flat, (120, 1, 120))
