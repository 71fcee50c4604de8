"""Denoising without learning: the baselines of Manakov 2019, and their strength.

Each takes ``(image, strength)`` and returns an image of the same shape. `PAPER` holds the strengths
of the paper's public code; all but the median's are multiples of the noise's standard deviation,
estimated from the image itself. That estimate looks at the finest wavelet scale, so it misses noise
that is correlated from pixel to pixel, as speckle is: `tune` looks for a better multiple.

BM3D comes from the package ``bm3d``, whose compiled part is licensed for non-commercial use only.
It is therefore no dependency of this book; where it is not installed, `bm3d` is None.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from skimage import filters, morphology, restoration

from recon.errors import InputError

_bm3d = importlib.import_module("bm3d") if importlib.util.find_spec("bm3d") else None

__all__ = [
    "DENOISERS",
    "GRID",
    "PAPER",
    "WITHOUT_BM3D",
    "available",
    "bilateral",
    "bm3d",
    "median",
    "nl_means",
    "noise_level",
    "tune",
    "wavelet",
]

Denoiser = Callable[[np.ndarray, float], np.ndarray]
WITHOUT_BM3D = "not measured: the optional package bm3d (non-commercial licence) is not installed"


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of white noise in an image, from its finest wavelet scale."""
    return max(float(np.nan_to_num(restoration.estimate_sigma(image))), 1e-6)


def median(image: np.ndarray, strength: float = 1) -> np.ndarray:
    """Median over a disk whose radius is `strength` (whole pixels)."""
    return filters.median(image, morphology.disk(round(strength)))


def wavelet(image: np.ndarray, strength: float = 1.5) -> np.ndarray:
    """Soft thresholds on Haar coefficients (BayesShrink), told `strength` times the noise."""
    sigma = strength * noise_level(image)
    return restoration.denoise_wavelet(image, sigma=sigma, rescale_sigma=True).astype(np.float32)


def bilateral(image: np.ndarray, strength: float = 3) -> np.ndarray:
    """Mean over near pixels of near grey value; `strength` times the noise counts as near."""
    sigma = strength * noise_level(image)
    return restoration.denoise_bilateral(image, sigma_color=sigma).astype(np.float32)


def nl_means(image: np.ndarray, strength: float = 1.5) -> np.ndarray:
    """Mean over pixels with similar surroundings (7 x 7, up to 11 away), cut-off by `strength`.

    The fast way of Darbon et al. (2008), whom the paper cites: distances by integral images.
    """
    return restoration.denoise_nl_means(image, h=strength * noise_level(image)).astype(np.float32)


def _bm3d_denoiser(image: np.ndarray, strength: float = 2) -> np.ndarray:
    """BM3D: similar patches stacked and filtered together, told `strength` times the noise."""
    profile = _bm3d.BM3DProfile()
    profile.num_threads = 1  # as many as the others take; on its own it would take all there are
    drawn = _bm3d.bm3d(image.astype(np.float64), strength * noise_level(image), profile)
    return np.nan_to_num(drawn).clip(0).astype(np.float32)


bm3d: Denoiser | None = None if _bm3d is None else _bm3d_denoiser

DENOISERS: dict[str, Denoiser | None] = {
    "median": median,
    "wavelet": wavelet,
    "bilateral": bilateral,
    "nl_means": nl_means,
    "bm3d": bm3d,
}
PAPER = {"median": 1, "wavelet": 1.5, "bilateral": 3, "nl_means": 1.5, "bm3d": 2}
# Each grid holds the paper's strength. The estimate of the noise misses what is correlated, so
# stronger ones may be better; where there is little noise, weaker ones.
GRID: dict[str, tuple[float, ...]] = {
    "median": (1, 2, 3, 4),
    "wavelet": (0.75, 1, 1.5, 2.25, 3.5, 5),
    "bilateral": (0.75, 1, 1.5, 2, 3, 5),
    "nl_means": (0.75, 1.5, 2, 2.5, 3.5, 5),
    "bm3d": (0.75, 1, 1.5, 2, 3, 5),
}


def available() -> dict[str, Denoiser]:
    """The denoisers that can run here, by name."""
    return {name: denoiser for name, denoiser in DENOISERS.items() if denoiser is not None}


def tune(
    denoiser: Denoiser,
    images: Sequence[np.ndarray],
    score: Callable[[int, np.ndarray], float],
    strengths: Sequence[float],
) -> tuple[float, Mapping[float, float]]:
    """The strength with the highest mean score, and the mean score of each that was tried.

    Parameters
    ----------
    denoiser : callable
        ``denoiser(image, strength)``.
    images : sequence of np.ndarray
        Noisy images ``(H, W)``, of data that are neither trained on nor tested on.
    score : callable
        ``score(i, denoised)`` of the i-th image, higher is better.
    strengths : sequence of float

    Raises
    ------
    InputError
        When there is no image or no strength.
    """
    if not len(images) or not len(strengths):
        raise InputError("a denoiser cannot be tuned without images and strengths to try")
    tried = {
        strength: float(
            np.mean([score(i, denoiser(image, strength)) for i, image in enumerate(images)])
        )
        for strength in strengths
    }
    return max(tried, key=lambda strength: tried[strength]), tried
