"""What a generator adds or takes away, measured: checkerboards and blur.

A transposed convolution of stride two whose kernel is not a multiple of two wide touches some
pixels more often than others (Odena et al., 2016). What it repeats every 2, 4, ... pixels has all
its power at multiples of 1/2, 1/4, ... cycles per pixel, which is where `grid_peak` looks. How much
blur lies over known edges, `edge_blur` asks.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from recon.errors import InputError

__all__ = [
    "blurred_courses",
    "edge_blur",
    "grid_frequencies",
    "grid_peak",
    "profiles",
    "spectrum_of",
]

NEAR = 4  # bins from a peak that its surroundings reach to; the window's main lobe is left out
BLURS = (0.0, *np.arange(0.3, 4.0, 0.2))  # pixels; less than 0.3 changes no pixel


def spectrum_of(images: np.ndarray, step: int) -> np.ndarray:
    """Mean power spectrum of images of unit variance, under a Hann window.

    Parameters
    ----------
    images : np.ndarray
        ``(B, H, W)``; the last rows and columns are cut until ``step`` divides the sides, so that
        the frequencies of the grid are bins.
    step : int
        The grid's coarsest period, pixels.

    Returns
    -------
    np.ndarray
        ``(H, W)``; zero frequency at ``[0, 0]``.
    """
    height, width = (side // step * step for side in images.shape[-2:])
    images = np.asarray(images, np.float64)[:, :height, :width]
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1])
    centred = (images - images.mean((1, 2), keepdims=True)) * window
    power = np.abs(np.fft.fft2(centred)) ** 2
    return (power / np.maximum(power.mean((1, 2), keepdims=True), 1e-30)).mean(0)


def grid_frequencies(shape: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """Bins of all multiples of ``1/step`` cycles per pixel, zero and mirrored ones left out."""
    height, width = (side // step for side in shape)
    found = []
    for i in range(step):
        for j in range(step):
            mirrored = (-i % step, -j % step)
            if (i, j) != (0, 0) and (i, j) <= mirrored:
                found.append((i * height, j * width))
    return found


def _around(spectrum: np.ndarray, row: int, column: int) -> float:
    """Geometric mean near a bin; on an axis along it alone, where layers put most of their power.

    Steep flanks cancel in a geometric mean.
    """
    far = np.array([offset for offset in range(-NEAR, NEAR + 1) if abs(offset) > 1])
    rows = (row + far) % spectrum.shape[0] if row else [0]
    columns = (column + far) % spectrum.shape[1] if column else [0]
    return float(np.exp(np.log(spectrum[np.ix_(rows, columns)]).mean()))


def grid_peak(images: np.ndarray, step: int) -> float:
    """How far the spectrum rises at the grid's frequencies above what surrounds them.

    Parameters
    ----------
    images : np.ndarray
        ``(B, H, W)``.
    step : int
        Period of the coarsest grid: ``2**depth`` of the generator.

    Returns
    -------
    float
        dB, the mean over all frequencies of the grid; about 0 without a pattern.

    Raises
    ------
    InputError
        For images that are too small for surroundings between two frequencies of the grid.
    """
    if min(images.shape[-2:]) < 2 * (NEAR + 2) * step:
        raise InputError(
            f"images of {images.shape[-2:]} pixels are too small to measure a grid of {step} pixels"
        )
    spectrum = spectrum_of(images, step)
    rises = [
        10 * np.log10(spectrum[row, column] / _around(spectrum, row, column))
        for row, column in grid_frequencies(spectrum.shape, step)
    ]
    return float(np.mean(rises))


def profiles(image: np.ndarray, boundaries: np.ndarray, reach: int) -> np.ndarray:
    """Mean course of the grey value across boundaries, each followed along its columns.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``.
    boundaries : np.ndarray
        ``(n, W)`` rows, fractions allowed.
    reach : int
        Pixels on either side.

    Returns
    -------
    np.ndarray
        ``(n, 2 * reach + 1)``, from above to below.
    """
    offsets = np.arange(-reach, reach + 1)
    courses = []
    for rows in np.asarray(boundaries, np.float64):
        inside = (rows - reach >= 0) & (rows + reach <= image.shape[0] - 1)
        columns = np.flatnonzero(inside)
        if not len(columns):
            continue
        where = (
            rows[columns] + offsets[:, None],
            np.broadcast_to(columns, (len(offsets), len(columns))),
        )
        courses.append(map_coordinates(image, where, order=1).mean(1))
    return np.array(courses).reshape(-1, len(offsets))


def blurred_courses(clean: np.ndarray, boundaries: np.ndarray, reach: int = 8) -> np.ndarray:
    """Courses across the boundaries of a noise-free image under every blur of `BLURS`.

    Blurred down the columns only: along a boundary there is nothing to see.

    Parameters
    ----------
    clean : np.ndarray
        ``(H, W)``.
    boundaries, reach
        As for `profiles`.

    Returns
    -------
    np.ndarray
        ``(len(BLURS), points)``.
    """
    return np.array(
        [profiles(gaussian_filter(clean, (blur, 0)), boundaries, reach).ravel() for blur in BLURS]
    )


def edge_blur(
    images: Sequence[np.ndarray],
    courses: Sequence[np.ndarray],
    boundaries: Sequence[np.ndarray],
    reach: int = 8,
) -> float:
    """The Gaussian blur that makes the true edges look like the images' edges.

    Courses across all known boundaries are compared with those of the noise-free image, blurred
    more and more. A new scale and offset for each image are allowed, so contrast does not count.

    Parameters
    ----------
    images : sequence of np.ndarray
        ``(H, W)`` each.
    courses : sequence of np.ndarray
        For each image what `blurred_courses` gives of its noise-free version.
    boundaries : sequence of np.ndarray
        ``(n, W)`` rows, for each image.
    reach : int
        As for `blurred_courses`.

    Returns
    -------
    float
        Standard deviation in pixels, from 0 to 4.
    """
    misfit = np.zeros(len(BLURS))
    for image, true, rows in zip(images, courses, boundaries, strict=True):
        seen = profiles(image, rows, reach).ravel()
        seen = seen - seen.mean()
        centred = true - true.mean(1, keepdims=True)
        # The share of the variance that no scale and offset explains.
        size = (seen @ seen) * (centred**2).sum(1)
        misfit += 1 - (centred @ seen) ** 2 / np.maximum(size, 1e-30)
    return float(BLURS[int(misfit.argmin())])
