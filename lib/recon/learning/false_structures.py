"""Structures that a reconstruction invents or removes, by a detector that is fixed beforehand.

The detector looks for round spots of one diameter. Its *conspicuity* is a matched filter over the
fluctuation of the surround, so that a spot counts by how much it stands out where it is. Its
threshold is set once, on fully sampled images that are not scored; it then reads every method
alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from scipy import ndimage, stats

from recon.errors import InputError
from recon.learning.detectability import rings
from recon.phantoms.lesions import Lesion, reach, template

__all__ = [
    "Detector",
    "body_of",
    "calibrate",
    "conspicuity",
    "found",
    "invented_and_removed",
    "spots",
    "unmatched",
    "white_threshold",
]


@dataclass(frozen=True)
class Detector:
    """Spots of a diameter (pixels) whose absolute conspicuity reaches the threshold.

    ``floor`` is a fluctuation that every surround is taken to have at least, in units of the image:
    a reader cannot see differences below it, however smooth a method has made the surround.
    """

    diameter: float
    threshold: float
    floor: float = 0.0


def conspicuity(image: np.ndarray, diameter: float, floor: float = 0.0) -> np.ndarray:
    """Matched filter over the surround's standard deviation, for every pixel.

    ``z = <w, image> / (|w| s)``, with w the lesion's profile less its mean over the support and s
    the standard deviation of the surround, which shares no pixel with the support. On white
    Gaussian noise without a floor z follows Student's distribution (`white_threshold`).

    Returns
    -------
    np.ndarray
        ``(height, width)``; positive for bright spots, negative for dark ones.
    """
    ring = _filters(diameter)[1]
    half, count = len(ring) // 2, ring.sum()
    padded = np.pad(np.asarray(image, np.float64), half, mode="symmetric")
    padded -= padded.mean()  # less to cancel in the variance
    matched, surround = _spectra(diameter, padded.shape)
    inner = tuple(slice(half, -half) for _ in padded.shape)  # nothing wraps around into it
    spectrum = scipy.fft.rfft2(padded)
    signal = scipy.fft.irfft2(spectrum * matched, padded.shape)[inner]
    mean = scipy.fft.irfft2(spectrum * surround, padded.shape)[inner]
    square = scipy.fft.irfft2(scipy.fft.rfft2(padded**2) * surround, padded.shape)[inner]
    variance = np.maximum(square - mean**2, 0) * count / (count - 1)
    return signal / np.sqrt(variance + floor**2 + 1e-30)


@lru_cache(maxsize=64)
def _spectra(diameter: float, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Transforms of the two filters, centred on the first pixel; the surround's sums to one."""
    weights, ring = _filters(diameter)  # symmetric, so correlation is convolution
    found = []
    for kernel in (weights, ring / ring.sum()):
        half = len(kernel) // 2
        whole = np.zeros(shape)
        whole[: len(kernel), : len(kernel)] = kernel
        found.append(scipy.fft.rfft2(np.roll(whole, (-half, -half), (0, 1))))
    return found[0], found[1]


@lru_cache(maxsize=64)
def _filters(diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Profile of unit norm and zero mean over its support, and the surround, as kernels."""
    _, support, ring = rings(diameter)
    pad = (len(support) - len(template(diameter))) // 2
    weights = np.pad(template(diameter).astype(np.float64), pad) * support
    weights[support] -= weights[support].mean()
    return weights / np.linalg.norm(weights), ring.astype(np.float64)


def white_threshold(diameter: float, rate: float) -> float:
    """Threshold that a share ``rate`` of the pixels of white noise exceeds, bright or dark."""
    return float(stats.t.isf(rate / 2, int(_filters(diameter)[1].sum()) - 1))


def calibrate(
    images: Sequence[np.ndarray],
    bodies: Sequence[np.ndarray],
    diameter: float,
    rate: float,
    floor: float,
) -> Detector:
    """The detector that a share ``rate`` of the body's pixels sets off.

    Parameters
    ----------
    images : sequence of np.ndarray
        Fully sampled and without lesions, each in units of its own reference level.
    bodies : sequence of np.ndarray
        Where to look, bool.

    Raises
    ------
    InputError
        When there is nowhere to look.
    """
    if not any(body.any() for body in bodies):
        raise InputError(
            "no image shows a body large enough to look for spots in: choose smaller sizes, or "
            "files with larger pictures"
        )
    values = [
        np.abs(conspicuity(image, diameter, floor))[body]
        for image, body in zip(images, bodies, strict=True)
    ]
    return Detector(diameter, float(np.quantile(np.concatenate(values), 1 - rate)), floor)


def body_of(image: np.ndarray, level: float, diameter: float) -> np.ndarray:
    """Where spots are looked for: inside the body, away from the air and the picture's edge.

    Parameters
    ----------
    image : np.ndarray
        Fully sampled ``(height, width)``.
    level : float
        Its reference level; tissue is what a 5 x 5 mean lifts above a tenth of it.
    """
    inside = ndimage.uniform_filter(image.astype(np.float64), 5) > 0.1 * level
    edge = reach(diameter) + 3
    return ndimage.binary_erosion(inside, iterations=edge)


def spots(z: np.ndarray, threshold: float, body: np.ndarray, diameter: float) -> np.ndarray:
    """Peaks of ``|z|`` at or above the threshold inside the body: ``(n, 2)`` rows and columns."""
    size = 2 * reach(diameter) + 1
    strong = np.abs(z)
    peaks = (strong >= threshold) & (strong == ndimage.maximum_filter(strong, size)) & body
    return np.argwhere(peaks)


def unmatched(z: np.ndarray, other: np.ndarray, detector: Detector, body: np.ndarray) -> np.ndarray:
    """Spots of one image that another does not have, not even at half the threshold.

    A spot of the same sign within the lesion's reach counts as the same spot. With the
    reconstruction first, these are invented; with the target first, removed.

    Returns
    -------
    np.ndarray
        ``(n, 2)`` rows and columns.
    """
    size = 2 * reach(detector.diameter) + 1
    brightest = ndimage.maximum_filter(other, size)
    darkest = ndimage.minimum_filter(other, size)
    there = spots(z, detector.threshold, body, detector.diameter)
    sign = np.sign(z[tuple(there.T)])
    counterpart = np.where(sign > 0, brightest[tuple(there.T)], -darkest[tuple(there.T)])
    return there[counterpart < detector.threshold / 2]


def invented_and_removed(
    images: Mapping[str, np.ndarray], target: np.ndarray, detector: Detector, body: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Places of the spots that each image has and the target lacks, and the other way round.

    Parameters
    ----------
    images : mapping
        Name to ``(height, width)``.
    target : np.ndarray
        ``(height, width)``.
    detector : Detector
    body : np.ndarray
        ``(height, width)`` bool: where spots count.

    Returns
    -------
    dict
        By name: invented and removed, each ``(n, 2)`` rows and columns. See `unmatched`.
    """
    truth = conspicuity(target, detector.diameter, detector.floor)
    maps = {n: conspicuity(x, detector.diameter, detector.floor) for n, x in images.items()}
    return {
        name: (unmatched(z, truth, detector, body), unmatched(truth, z, detector, body))
        for name, z in maps.items()
    }


def found(z: np.ndarray, lesion: Lesion, detector: Detector) -> bool:
    """Whether a lesion sets the detector off, with its own sign, within a pixel of its place."""
    rows = slice(max(0, lesion.row - 1), lesion.row + 2)
    columns = slice(max(0, lesion.column - 1), lesion.column + 2)
    seen = np.sign(lesion.contrast) * z[rows, columns]
    return bool(seen.max() >= detector.threshold)
