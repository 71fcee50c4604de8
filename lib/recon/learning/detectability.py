"""How visible a known lesion is: contrast, recovery, and an observer that is told what to look for.

Image quality for a task (Barrett & Myers 2004): an image is as good as the best decision that can
be made from it. The observer here is the *channelised Hotelling* one with Laguerre-Gauss channels
(Gallas & Barrett 2003): linear, told the lesion's place, shape and sign, and the statistics of the
ground. It does not know this ground, and it is trained without the body that it reads.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import eval_laguerre

from recon.phantoms.lesions import Lesion, reach, template
from recon.results.rows import UNBOUNDED
from recon.results.statistics import jackknife

__all__ = [
    "auc",
    "auc_interval",
    "channels",
    "cnr",
    "hotelling",
    "leave_one_out",
    "patch",
    "recovery",
    "rings",
]

CHANNELS = 5
RING = 3  # pixels of the surround


def patch(image: np.ndarray, lesion: Lesion, half: int) -> np.ndarray:
    """The ``(2 half + 1)`` square around a lesion; beyond the picture its border is repeated."""
    rows = np.clip(np.arange(lesion.row - half, lesion.row + half + 1), 0, image.shape[0] - 1)
    columns = np.clip(
        np.arange(lesion.column - half, lesion.column + half + 1), 0, image.shape[1] - 1
    )
    return image[np.ix_(rows, columns)]


@lru_cache(maxsize=64)
def rings(diameter: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, whole support and surround of a lesion, each ``(side, side)`` bool.

    The core is where the profile exceeds a half; the surround begins where the profile has ended.
    """
    inner = reach(diameter)
    half = inner + RING
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    radius = np.hypot(y, x)
    core = np.zeros_like(radius, bool)
    core[RING:-RING, RING:-RING] = template(diameter) > 0.5
    return core, radius <= inner, (radius > inner) & (radius <= half)


def cnr(image: np.ndarray, lesion: Lesion) -> float:
    """Contrast-to-noise ratio: core minus surround, over the surround's standard deviation.

    Positive where the lesion stands out the way it should (brighter or darker).
    """
    core, _, ring = rings(lesion.diameter)
    seen = patch(image, lesion, len(core) // 2).astype(np.float64)
    noise = max(float(seen[ring].std()), 1e-12)
    return float(np.sign(lesion.contrast) * (seen[core].mean() - seen[ring].mean()) / noise)


def recovery(
    without: np.ndarray, with_lesion: np.ndarray, response: np.ndarray, lesion: Lesion
) -> float:
    """How much of a lesion arrives: its response in the reconstruction over that of the full scan.

    Parameters
    ----------
    without, with_lesion : np.ndarray
        Reconstructions ``(height, width)`` of a pair of scans.
    response : np.ndarray
        The difference of the same pair, fully sampled.
    lesion : Lesion

    Returns
    -------
    float
        The least-squares factor over the lesion's support: 1 for all of it, 0 for none.
    """
    support = rings(lesion.diameter)[1]
    half = len(support) // 2
    true = patch(response, lesion, half)[support].astype(np.float64)
    seen = patch(with_lesion - without, lesion, half)[support]
    return float(seen @ true / max(float(true @ true), 1e-30))


@lru_cache(maxsize=64)
def channels(diameter: float, count: int = CHANNELS) -> np.ndarray:
    """Laguerre-Gauss channels ``(count, side, side)`` of unit norm, as wide as the lesion.

    ``u_j(r) = exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)`` with ``a`` such that the Gaussian has the
    lesion's width at half its height. The first n span the n smoothest round shapes.
    """
    half = reach(diameter) + RING
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    square = np.pi * (y**2 + x**2) / (1.5 * max(diameter, 2.0)) ** 2
    waves = np.stack([np.exp(-square) * eval_laguerre(j, 2 * square) for j in range(count)])
    return waves / np.linalg.norm(waves, axis=(1, 2), keepdims=True)


def hotelling(signal: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Hotelling template ``K^-1 s`` in channel space, scaled so that the mean signal gives 1.

    Parameters
    ----------
    signal : np.ndarray
        ``(channels,)`` mean difference of present and absent.
    absent : np.ndarray
        ``(n, channels)`` outputs without a lesion; their covariance is K.

    Returns
    -------
    np.ndarray
        ``(channels,)``; all zero where there is no signal.
    """
    covariance = np.cov(absent, rowvar=False)
    ridge = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
    weights = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), signal)
    strength = float(signal @ weights)
    return weights / strength if strength > 0 else np.zeros_like(weights)


def leave_one_out(
    present: np.ndarray, paired: np.ndarray, absent: np.ndarray, volume: Sequence, ground: Sequence
) -> tuple[np.ndarray, np.ndarray]:
    """Decision values of an observer that was trained on the other volumes.

    Parameters
    ----------
    present, paired : np.ndarray
        ``(n, channels)`` at the same places with and without the lesion.
    absent : np.ndarray
        ``(m, channels)`` at any places without one.
    volume, ground : sequence
        The volume of each row of ``present`` and of ``absent``.

    Returns
    -------
    present, absent : np.ndarray
        ``(n,)`` and ``(m,)``; 1 is the mean signal that the observer was trained on.
    """
    volume, ground = np.asarray(volume), np.asarray(ground)
    values = np.empty(len(present)), np.empty(len(absent))
    for one in np.unique(ground):
        others = volume != one
        signal = (present[others] - paired[others]).mean(0)
        weights = hotelling(signal, absent[ground != one])
        values[0][~others] = present[~others] @ weights
        values[1][ground == one] = absent[ground == one] @ weights
    return values


def auc(present: np.ndarray, absent: np.ndarray) -> float:
    """Area under the ROC curve: how often a present value exceeds an absent one (ties half)."""
    difference = np.asarray(present)[:, None] - np.asarray(absent)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def auc_interval(
    present: np.ndarray, absent: np.ndarray, volume: Sequence, ground: Sequence
) -> tuple[float, float]:
    """95 % interval of `auc`: jackknife over volumes, on the logit scale.

    The values keep the observer that they were computed with; only the readings are left out.
    """
    volume, ground = np.asarray(volume), np.asarray(ground)
    names = np.unique(ground)
    if len(names) < 2:
        return UNBOUNDED
    without = [auc(present[volume != one], absent[ground != one]) for one in names]
    return jackknife(auc(present, absent), without, "logit")
