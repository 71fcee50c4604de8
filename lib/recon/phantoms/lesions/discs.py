"""A lesion: a disc seen as sharply as the full scan can see anything, and no sharper.

Its spectrum ends inside the acquired k-space. Whatever a reconstruction then lacks of it was lost
to the columns left out, not to the size of the voxels.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.special import j1

__all__ = ["Lesion", "profile", "reach", "template"]


@dataclass(frozen=True)
class Lesion:
    """A lesion in its place; ``contrast`` is negative where it is darker than its host."""

    kind: str
    slice: int
    row: int  # of the picture
    column: int
    diameter: float  # pixels of the picture
    contrast: float  # peak, in units of the picture's reference level


def profile(
    shape: tuple[int, int], centre: tuple[float, float], diameter: float, finer: int = 1
) -> np.ndarray:
    """A band-limited disc with peak 1.

    The transform of a disc of diameter d is ``d J1(pi d f) / (2 f)``; a raised cosine lets it fall
    to zero at half a cycle a pixel, the highest frequency of the full scan. So even a point is two
    pixels wide at half its height.

    Parameters
    ----------
    shape : (rows, columns)
        Of the grid.
    centre : (row, column)
        In samples of the grid, fractions allowed.
    diameter : float
        Pixels of the picture.
    finer : int
        Samples of the grid to a pixel of the picture, in both directions.

    Returns
    -------
    np.ndarray
        ``shape`` float32.
    """
    down = scipy.fft.fftfreq(shape[0])[:, None]
    across = scipy.fft.rfftfreq(shape[1])
    f = finer * np.hypot(down, across)  # cycles a pixel
    near = np.maximum(f, 1e-6)
    disc = diameter * j1(np.pi * diameter * near) / (2 * near)
    window = np.where(f < 0.5, 0.5 * (1 + np.cos(2 * np.pi * f)), 0)
    shift = np.exp(-2j * np.pi * (down * centre[0] + across * centre[1]))
    peak = scipy.fft.irfft2(disc * window, shape).max()  # of the disc in the middle of a sample
    return (scipy.fft.irfft2(disc * window * shift, shape) / peak).astype(np.float32)


def template(diameter: float) -> np.ndarray:
    """The same disc on the picture's own pixels: ``(side, side)`` float32, side odd, peak 1."""
    side = 2 * reach(diameter) + 1
    wide = 64
    whole = profile((wide, wide), (wide // 2, wide // 2), diameter)
    part = slice(wide // 2 - side // 2, wide // 2 + side // 2 + 1)
    return whole[part, part]


def reach(diameter: float) -> int:
    """Pixels from the middle of a lesion to where its profile has all but ended."""
    return int(np.ceil(diameter / 2)) + 1
