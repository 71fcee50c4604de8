"""Thick slices: a Gaussian profile along one axis, fewer samples, and splines back to the grid.

A scan with thick slices sees each of them through a profile. Remedios et al. (2022, section 3.2)
simulate it with a Gaussian whose full width at half maximum (FWHM) is the downsampling factor,
sampled by quintic B-splines. Samples stand for cells: slice j of the thick volume is centred on the
middle of voxels ``j * factor`` to ``(j + 1) * factor - 1`` of the thin one. At the ends everything
is mirrored about the border of the last cell (SciPy's ``reflect``). All steps are linear along one
axis, so they are matrices here, and exact adjoints are transposes.
"""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

__all__ = ["blur", "degrade", "interpolate", "spline_matrix", "thick_slices", "trim"]

SIGMA = 1 / np.sqrt(8 * np.log(2))  # standard deviation of a Gaussian whose FWHM is 1
END = 40  # samples; a spline of degree 5 forgets what is that far by a factor of 1e-14


def blur(volume: np.ndarray, fwhm: float, axis: int) -> np.ndarray:
    """Convolve with a Gaussian of ``fwhm`` voxels along ``axis``; constants keep their value."""
    return gaussian_filter1d(volume, SIGMA * fwhm, axis=axis, mode="reflect", truncate=6)


@lru_cache(maxsize=32)
def spline_matrix(length: int, start: float, step: float, count: int, order: int = 5) -> np.ndarray:
    """Matrix that evaluates the B-spline through ``length`` samples at equidistant places.

    Parameters
    ----------
    length : int
        Samples, at 0, 1, ..., ``length - 1``.
    start, step : float
        First place and distance of the places.
    count : int
        Number of places.
    order : int
        Degree of the spline; 5 reproduces polynomials up to degree 5 away from the ends.

    Returns
    -------
    np.ndarray
        ``(count, length)`` float64, read-only.
    """
    # SciPy's own mirror is inexact for a handful of samples: give it a longer signal.
    places = [END + start + step * np.arange(count)]
    longer = (np.pad(one, END, mode="symmetric") for one in np.eye(length))
    columns = [map_coordinates(one, places, order=order, mode="reflect") for one in longer]
    matrix = np.stack(columns, axis=1)
    matrix.flags.writeable = False
    return matrix


def thick_slices(volume: np.ndarray, factor: int, axis: int = 0) -> np.ndarray:
    """Thick slices of a thin volume: blur with FWHM ``factor``, then every ``factor``-th sample.

    Parameters
    ----------
    volume : np.ndarray
        Real; its length along ``axis`` is a multiple of ``factor``, see `trim`.
    factor : int
        Thickness and distance of the slices in voxels.
    axis : int
        Through-plane direction.

    Returns
    -------
    np.ndarray
        As many slices along ``axis`` as cells of ``factor`` voxels.

    Raises
    ------
    ValueError
        If the length is no multiple of the factor.
    """
    length = volume.shape[axis]
    if factor < 1 or length % factor:
        raise ValueError(f"{length} voxels cannot be cut into slices of {factor}: trim them first")
    # For even factors a cell's middle lies between two voxels: the spline samples there.
    matrix = spline_matrix(length, (factor - 1) / 2, factor, length // factor)
    return _along(matrix, blur(volume, factor, axis) if factor > 1 else volume, axis)


def interpolate(thick: np.ndarray, factor: int, axis: int = 0) -> np.ndarray:
    """Quintic B-spline through thick slices, on the thin grid: the image a network starts from."""
    length = thick.shape[axis]
    matrix = spline_matrix(length, (1 - factor) / (2 * factor), 1 / factor, length * factor)
    return _along(matrix, thick, axis)


def degrade(volume: np.ndarray, factor: int, axis: int = 0) -> np.ndarray:
    """What thick slices leave of a volume, on the grid of the volume."""
    return interpolate(thick_slices(volume, factor, axis), factor, axis)


def trim(volume: np.ndarray, factor: int, axis: int = 0) -> np.ndarray:
    """The middle of a volume whose length along ``axis`` is a multiple of ``factor``."""
    length = volume.shape[axis]
    start, kept = length % factor // 2, length - length % factor
    return np.take(volume, range(start, start + kept), axis)


def _along(matrix: np.ndarray, volume: np.ndarray, axis: int) -> np.ndarray:
    """Apply a matrix along one axis, in the precision of the volume."""
    product = np.tensordot(matrix.astype(volume.dtype), volume, (1, axis))
    return np.ascontiguousarray(np.moveaxis(product, 0, axis))
