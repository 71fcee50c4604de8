"""What a B-scan's scores are taken in and on: grey-value window, retina, signal, registration.

After the public code of Manakov 2019 and its figure A.3.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.measure import find_contours
from skimage.registration import phase_cross_correlation

from recon.errors import InputError

__all__ = ["Regions", "Window", "find_regions", "moved", "register", "window_of"]

LEVELS = (0.0, 1.0)  # standard deviations above the mean: contour of the retina, of the signal
SHORTEST = 0.5  # contours below this share of the image's width are specks, not layers


@dataclass(frozen=True)
class Window:
    """Grey values from `low` to `high` become 0 to 1; below is 0, above stays above 1."""

    low: float
    high: float

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """An image seen through the window, ``(H, W)`` float32."""
        return ((np.maximum(image, self.low) - self.low) / (self.high - self.low)).astype(
            np.float32
        )


def window_of(image: np.ndarray) -> Window:
    """The window of the paper's code: from mean minus half a deviation to the maximum.

    Raises
    ------
    InputError
        For an image that holds one grey value only, or values that are not finite.
    """
    if not np.isfinite(image).all():
        raise InputError("a B-scan holds values that are not finite (NaN): leave it out")
    positive = image[image > 0]
    if not positive.size or np.ptp(image) == 0:
        raise InputError("a B-scan holds one grey value only: leave it out, nothing is shown there")
    low = max(float(positive.mean() - 0.5 * positive.std()), 0.0)
    return Window(low, float(image.max()))


@dataclass(frozen=True)
class Regions:
    """Masks ``(H, W)`` bool: `retina`, `background` (all but the retina), and regions of signal."""

    retina: np.ndarray
    background: np.ndarray
    signal: tuple[np.ndarray, ...]

    @property
    def all_signal(self) -> np.ndarray:
        """Union of the regions of signal, ``(H, W)`` bool."""
        return np.logical_or.reduce(self.signal)


def _filled(image: np.ndarray, level: float) -> list[np.ndarray]:
    """Areas inside the iso-contours at a level (marching squares), largest first, specks left out.

    A border of the lowest value closes contours that run into the image's edge.
    """
    framed = np.pad(image, 1, constant_values=float(image.min()) - 1)
    areas = []
    for contour in find_contours(framed, level):
        length = np.hypot(*np.diff(contour, axis=0).T).sum()
        if length >= SHORTEST * image.shape[1]:
            inside = polygon2mask(framed.shape, contour)[1:-1, 1:-1]
            if inside.any() and image[inside].mean() > level:  # the rim of a hole encloses less
                areas.append(inside)
    return sorted(areas, key=np.count_nonzero, reverse=True)


def find_regions(image: np.ndarray, levels: tuple[float, float] = LEVELS) -> Regions:
    """Background and signal of a B-scan, as figure A.3 of the paper illustrates.

    The image is smoothed. From the first to the last row that a contour at `levels[0]` standard
    deviations above its mean encloses lies the retina, beyond it the background. Inside the retina,
    contours at `levels[1]` deviations enclose the highly reflective layers, each of which is a
    region of signal.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``, the reference where there is one.
    levels : (float, float)

    Raises
    ------
    InputError
        When no contour is found: an image without a bright band.
    """
    sigma = max(1.0, image.shape[0] / 200)
    smooth = ndimage.gaussian_filter(image.astype(np.float64), sigma)
    mean, deviation = float(smooth.mean()), float(smooth.std())
    if deviation == 0:
        raise InputError("a B-scan holds one grey value only: there is no retina to find")
    outer = _filled(smooth, mean + levels[0] * deviation)
    if not outer:
        raise InputError("no iso-contour of a retina was found in a B-scan: is there one?")
    retina = np.logical_or.reduce(outer)
    # Dark layers between bright ones belong to the retina, also where they run out of the image.
    below = np.maximum.accumulate(retina, 0)
    retina = below & np.maximum.accumulate(retina[::-1], 0)[::-1]
    inner = _filled(np.where(retina, smooth, smooth.min()), mean + levels[1] * deviation)
    background = ~retina
    if not inner or not background.any():
        raise InputError("a B-scan shows no bright layer before a darker background")
    return Regions(retina, background, tuple(inner))


def register(moving: np.ndarray, fixed: np.ndarray, upsample: int = 1) -> tuple[float, float]:
    """Shift (rows, columns) that moves an image onto another, by Fourier cross-correlation.

    Parameters
    ----------
    moving, fixed : np.ndarray
        ``(H, W)``.
    upsample : int
        1 finds whole pixels, more parts of a pixel. Moving by a part of a pixel interpolates, which
        is denoising of its own; whole pixels leave the noise as it is.
    """
    smooth = [ndimage.gaussian_filter(image.astype(np.float64), 1) for image in (fixed, moving)]
    smooth = [image - image.mean() for image in smooth]
    # Speckle fills the high frequencies with phases that agree by chance alone: weighting by
    # magnitude (no normalisation) lets the layers decide.
    shift, _, _ = phase_cross_correlation(*smooth, upsample_factor=upsample, normalization=None)
    return float(shift[0]), float(shift[1])


def moved(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """An image ``(H, W)`` shifted by (rows, columns); what comes in repeats the edge."""
    if not any(shift):
        return image
    order = 0 if all(float(step).is_integer() for step in shift) else 3
    return ndimage.shift(image, shift, order=order, mode="nearest")
