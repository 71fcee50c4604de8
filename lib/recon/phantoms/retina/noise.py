"""Smooth noise over the retina, on lattices just large enough: a volume asks for sixty of them."""

import math

import numpy as np

from recon.phantoms.texture import spline_matrix

LONGEST = 12_000.0  # um that a lattice spans before it repeats, at most 400 points


def noise(
    rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, spacing: tuple[float, float]
) -> np.ndarray:
    """Gaussian noise of unit variance, a function of position and not of the pixel.

    Parameters
    ----------
    rows, columns : np.ndarray
        ``(H,)`` and ``(W,)`` micrometres.
    spacing : (float, float)
        Micrometres between lattice points, down and across; details are about twice this size.

    Returns
    -------
    np.ndarray
        ``(H, W)`` float32.
    """
    down, across = (
        spline_matrix(at, step, min(400, math.ceil(reach / step) + 4))
        for at, step, reach in zip((rows, columns), spacing, (LONGEST / 4, LONGEST), strict=True)
    )
    lattice = rng.standard_normal((down.shape[1], across.shape[1]), dtype=np.float32)
    return down @ lattice @ across.T
