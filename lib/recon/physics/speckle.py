"""Speckle of optical coherence tomography: fields of many scatterers, averaged over frames.

One frame is a complex field: white circular Gaussian noise (very many scatterers in each resolution
cell, with random phases), scaled by the square root of the reflectivity, and blurred by the
point spread. Its intensity is fully developed speckle. A scanner averages the intensities of N
frames of the same place. Part of the field is common to all of them, because the same scatterers
are seen again, so that averaging has a limit:

    v(N) = rho^2 + (1 - rho^2) / N

is the variance of the averaged intensity over its squared mean, for a correlation rho of the fields
of two frames {Goodman, *Speckle Phenomena in Optics*, 2007}; N / (1 + (N - 1) rho^2) = 1 / v is the
effective number of frames.
"""

import math
from dataclasses import dataclass

import numpy as np

__all__ = [
    "RANGES",
    "SPECTRALIS",
    "Device",
    "average_frames",
    "average_intensity",
    "draw_device",
    "effective_frames",
    "expected_intensity",
    "gain_ceiling",
    "intensity_correlation",
    "kernel",
    "show_intensity",
    "speckle_variance",
]

FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations
LEVELS = 255  # grey levels above black, 8 bit

#: What `draw_device` draws from, each evenly: devices from sharp and much averaged to blurred,
#: from a flat display to a steep one.
RANGES = {
    "axial": (1.0, 3.0),
    "lateral": (0.8, 3.0),
    "correlation": (0.1, 0.5),
    "noise": (2e-4, 4e-3),
    "falloff": (0.0, 2.0),
    "display": (0.2, 0.33),
}


@dataclass(frozen=True)
class Device:
    """A scanner and its display.

    Attributes
    ----------
    axial, lateral : float
        Full width at half maximum of the amplitude's Gaussian point spread, in pixels, down and
        across.
    correlation : float
        rho of the speckle fields of two frames of one acquisition, 0 to below 1. Two acquisitions
        have nothing in common.
    noise : float
        Mean intensity of the detector's noise in one frame; reflectivity 1 is white on the display.
        It is independent in each frame and has passed the same point spread.
    falloff : float
        The signal fades by exp(-falloff) from the first row to the last.
    display : float
        Exponent of the display curve: grey = intensity ** display; 1/4 on a Spectralis.
    """

    axial: float = 1.5
    lateral: float = 1.2
    correlation: float = 0.35
    noise: float = 4e-4
    falloff: float = 0.8
    display: float = 0.25


SPECTRALIS = Device()


def draw_device(rng: np.random.Generator) -> Device:
    """A device drawn evenly from `RANGES`, the noise evenly in its logarithm."""
    drawn = {name: rng.uniform(*limits) for name, limits in RANGES.items()}
    drawn["noise"] = math.exp(rng.uniform(*np.log(RANGES["noise"])))
    return Device(**drawn)


def speckle_variance(frames: int, correlation: float) -> float:
    """Variance of the mean intensity of ``frames`` frames over its squared mean, v(N)."""
    return correlation**2 + (1 - correlation**2) / frames


def effective_frames(frames: int, correlation: float) -> float:
    """Independent frames that would average as well: N / (1 + (N - 1) rho^2)."""
    return frames / (1 + (frames - 1) * correlation**2)


def gain_ceiling(high: int, low: int, correlation: float) -> float:
    """PSNR (dB) that a perfect denoiser gains, if the reference is an average of ``low`` frames.

    The raw average of ``high`` frames differs from the reference by v(high) + v(low), the truth
    still by v(low): 10 log10(1 + v(high) / v(low)). Exact for intensities; a display curve changes
    both by about the same factor where there are many frames.
    """
    ratio = speckle_variance(high, correlation) / speckle_variance(low, correlation)
    return 10 * math.log10(1 + ratio)


def kernel(width: float) -> np.ndarray:
    """Gaussian of a full width at half maximum in pixels, of unit energy, odd length."""
    sigma = width / FWHM
    reach = max(1, math.ceil(3.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (taps / np.sqrt(np.sum(taps**2))).astype(np.float32)


def intensity_correlation(width: float, lag: int) -> float:
    """Correlation of the speckle intensities of two pixels ``lag`` apart along one axis.

    The squared autocorrelation of the amplitude's point spread (Siegert relation).
    """
    taps = kernel(width).astype(float)
    if lag >= taps.size:
        return 0.0
    return float(np.sum(taps[lag:] * taps[: taps.size - lag]) ** 2)


def _blur(padded: np.ndarray, device: Device, power: int = 1) -> np.ndarray:
    """Point spread over the last two axes, valid part only; ``power`` 2 blurs intensities."""
    for axis, width in ((-2, device.axial), (-1, device.lateral)):
        taps = kernel(width) ** power
        size = padded.shape[axis] - taps.size + 1
        total = 0.0
        for start, tap in enumerate(taps):
            cut = [slice(None)] * padded.ndim
            cut[axis] = slice(start, start + size)
            total = total + tap * padded[tuple(cut)]
        padded = total
    return padded


def _padded(reflectivity: np.ndarray, device: Device) -> np.ndarray:
    """The reflectivity with fall-off, its edges continued as far as the point spread reaches."""
    height = reflectivity.shape[-2]
    fade = np.exp(-device.falloff * np.arange(height, dtype=np.float32) / max(1, height - 1))
    faded = np.asarray(reflectivity, np.float32) * fade[:, None]
    margins = [(kernel(width).size // 2,) * 2 for width in (device.axial, device.lateral)]
    return np.pad(faded, margins, mode="edge")


def expected_intensity(reflectivity: np.ndarray, device: Device) -> np.ndarray:
    """Mean intensity ``(H, W)`` that ever more acquisitions tend to: blurred, with the noise floor.

    No averaging removes the detector's floor, so it belongs to the expectation.
    """
    return _blur(_padded(reflectivity, device), device, power=2) + np.float32(device.noise)


def average_intensity(
    reflectivity: np.ndarray, frames: int, device: Device, rng: np.random.Generator
) -> np.ndarray:
    """Mean intensity of ``frames`` frames, before the display.

    Parameters
    ----------
    reflectivity : np.ndarray
        ``(H, W)``, mean intensity that the tissue sends back, 1 is white.
    frames : int
    device : Device
    rng : np.random.Generator
        Another generator (or its next draws) is another acquisition.

    Returns
    -------
    np.ndarray
        ``(H, W)`` float32.
    """
    power = _padded(reflectivity, device)
    common = np.sqrt(device.correlation * power)
    own = np.sqrt((1 - device.correlation) * power + np.float32(device.noise))

    def field(amplitude: np.ndarray) -> np.ndarray:
        """Real and imaginary part ``(2, H, W)``; E|field|^2 is the blurred amplitude squared."""
        white = rng.standard_normal((2, *power.shape), dtype=np.float32)
        return _blur(white * (amplitude * np.float32(math.sqrt(0.5))), device)

    seen_again = field(common)
    total = np.zeros(reflectivity.shape, np.float32)
    for _ in range(frames):
        both = seen_again + field(own)
        total += both[0] * both[0] + both[1] * both[1]
    return total / np.float32(frames)


def show_intensity(intensity: np.ndarray, device: Device) -> np.ndarray:
    """Grey values in [0, 1] of the display: its curve, clipped at white, rounded to 8 bit."""
    grey = np.clip(intensity, 0, 1) ** np.float32(device.display)
    return (np.round(grey * LEVELS) / LEVELS).astype(np.float32)


def average_frames(
    reflectivity: np.ndarray, frames: int, device: Device, rng: np.random.Generator
) -> np.ndarray:
    """What the scanner shows after averaging: `average_intensity` through `show_intensity`.

    Returns
    -------
    np.ndarray
        ``(H, W)`` float32 in [0, 1], multiples of 1/255.
    """
    return show_intensity(average_intensity(reflectivity, frames, device, rng), device)
