"""How good is a denoised B-scan: the measurements of Manakov 2019, section 3.2.

Four scores, two of which need no reference. Signal and background are found on the reference (on
the noisy image itself where there is none) by iso-contours; MSR is mean over deviation, averaged
over the regions of signal, CNR their contrast with the background over the noise of both. PSNR and
SSIM compare with the less noisy partner, after registration.

All are taken in a *window*, as in the paper's public code: grey values below the mean minus half a
deviation (of the positive pixels) become 0, the maximum becomes 1. There, noisy image and partner
have windows of their own, and a denoised image that of its input; in the scores named ``fixed`` all
are seen through the partner's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from recon.errors import InputError
from recon.learning.bscans import (
    Regions,
    Window,
    find_regions,
    moved,
    register,
    window_of,
)

__all__ = [
    "METRICS",
    "NO_REFERENCE",
    "Pair",
    "Regions",
    "Window",
    "cnr",
    "find_regions",
    "frame",
    "msr",
    "prepare",
    "psnr",
    "register",
    "score",
    "score_volume",
    "ssim",
    "window_of",
]

NO_REFERENCE = ("cnr", "cnr_coded", "msr")
METRICS = (*NO_REFERENCE, "psnr", "ssim", "psnr_fixed", "ssim_fixed", "ssim_coded")
FLAT = 1e-3  # a deviation below this, a quarter of a step of 8-bit images, counts as this
FARTHEST = 0.125  # a shift beyond this share of a side is no registration


def msr(image: np.ndarray, regions: Regions) -> float:
    """Mean-to-standard-deviation ratio, averaged over the regions of signal."""
    parts = [image[region] for region in regions.signal]
    return float(np.mean([part.mean() / max(part.std(), FLAT) for part in parts]))


def cnr(image: np.ndarray, regions: Regions, coded: bool = False) -> float:
    r"""Contrast-to-noise ratio, averaged over the regions of signal.

    Meant is :math:`|\mu - \mu_b| / \sqrt{(\sigma^2 + \sigma_b^2) / 2}` with mean and deviation of a
    region and of the background (b). The public code squares a sum instead,
    :math:`|\mu - \mu_b| / \sqrt{(\sigma^2 + \sigma_b)^2 / 2}`, which mixes units (``coded``).
    """
    outside = image[regions.background]
    ratios = []
    for region in regions.signal:
        inside = image[region]
        if coded:
            noise = np.sqrt(0.5) * (inside.var() + outside.std())
        else:
            noise = np.sqrt(0.5 * (inside.var() + outside.var()))
        ratios.append(abs(inside.mean() - outside.mean()) / max(noise, FLAT))
    return float(np.mean(ratios))


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, range 1; at most 100, for equal images have no limit."""
    if np.mean((image - reference) ** 2, dtype=np.float64) < 1e-10:
        return 100.0
    return float(peak_signal_noise_ratio(reference, image, data_range=1.0))


def ssim(image: np.ndarray, reference: np.ndarray, data_range: float = 1.0) -> float:
    """Structural similarity, mean over a 7 x 7 window.

    The public code names no range; scikit-image of its time then took 2 for any image of floats
    (-1 to 1), which brings every score closer to 1.
    """
    return float(structural_similarity(reference, image, data_range=data_range))


@dataclass(frozen=True)
class Pair:
    """What scores a denoised version of one noisy B-scan.

    Attributes
    ----------
    noisy : np.ndarray
        ``(H, W)``.
    reference : np.ndarray or None
        ``(H, W)``, the less noisy partner, unmoved; None where there is none.
    clean : np.ndarray or None
        ``(H, W)``, the noise-free expectation of this very acquisition (simulated only).
    regions : Regions
        In the noisy image's frame.
    shift : (float, float)
        Moves the noisy image onto the reference.
    registered : bool
        Whether the shift is small enough to be one.
    """

    noisy: np.ndarray
    reference: np.ndarray | None
    clean: np.ndarray | None
    regions: Regions
    shift: tuple[float, float]
    registered: bool


def prepare(
    noisy: np.ndarray,
    reference: np.ndarray | None = None,
    clean: np.ndarray | None = None,
    upsample: int = 1,
) -> Pair:
    """Regions and registration of one B-scan, the same for every denoiser.

    Raises
    ------
    InputError
        For images of unequal size, of one grey value, or without a bright layer.
    """
    for other in (reference, clean):
        if other is not None and other.shape != noisy.shape:
            raise InputError(f"a B-scan is {noisy.shape}, its partner {other.shape}: unequal sizes")
    if reference is None:
        return Pair(noisy, None, clean, find_regions(window_of(noisy)(noisy)), (0.0, 0.0), False)
    seen = window_of(reference)(reference)
    shift = register(window_of(noisy)(noisy), seen, upsample)
    near = all(abs(s) <= FARTHEST * n for s, n in zip(shift, noisy.shape, strict=True))
    shift = shift if near else (0.0, 0.0)
    back = (-round(shift[0]), -round(shift[1]))
    return Pair(noisy, reference, clean, find_regions(moved(seen, back)), shift, near)


def _overlap(shape: tuple[int, int], shift: tuple[float, float]) -> tuple[slice, slice]:
    """The part of a moved image that was in sight before."""
    cut = [int(np.ceil(abs(step))) for step in shift]
    return tuple(
        slice(c if s > 0 else 0, n - c if s < 0 else n)
        for c, s, n in zip(cut, shift, shape, strict=True)
    )


def score(image: np.ndarray, pair: Pair) -> dict[str, float]:
    """Every score that can be had of one denoised B-scan.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``, denoised from ``pair.noisy`` in the same grey values.
    pair : Pair

    Returns
    -------
    dict
        `NO_REFERENCE` always. With a registered reference ``psnr`` and ``ssim`` (windows of their
        own), ``psnr_fixed`` and ``ssim_fixed`` (the reference's window for both) and ``ssim_coded``
        (inside the retina, range 2, as the public code). With a clean image ``psnr_truth`` and
        ``ssim_truth``, both images in the clean one's window.
    """
    own = window_of(pair.noisy)
    seen = own(image)
    found = {
        "cnr": cnr(seen, pair.regions),
        "cnr_coded": cnr(seen, pair.regions, coded=True),
        "msr": msr(seen, pair.regions),
    }
    if pair.reference is not None and pair.registered:
        part = _overlap(image.shape, pair.shift)
        fixed = window_of(pair.reference)
        target = fixed(pair.reference)[part]
        retina = moved(pair.regions.retina.astype(np.float32), pair.shift)[part] > 0.5
        for window, suffix in ((own, ""), (fixed, "_fixed")):
            shifted = moved(window(image), pair.shift)[part]
            found[f"psnr{suffix}"] = psnr(shifted, target)
            found[f"ssim{suffix}"] = ssim(shifted, target)
            if not suffix:
                found["ssim_coded"] = ssim(shifted * retina, target * retina, 2.0)
    if pair.clean is not None:
        true = window_of(pair.clean)
        found["psnr_truth"] = psnr(true(image), true(pair.clean))
        found["ssim_truth"] = ssim(true(image), true(pair.clean))
    return found


def score_volume(
    methods: Mapping[str, Sequence[np.ndarray]], pairs: Sequence[Pair]
) -> dict[str, dict[str, float]]:
    """Mean scores of a volume's B-scans, by method.

    Parameters
    ----------
    methods : mapping
        Method to its denoised B-scans, in the order of `pairs`.
    pairs : sequence of Pair
    """
    means = {}
    for method, images in methods.items():
        table = pd.DataFrame(
            [score(image, pair) for image, pair in zip(images, pairs, strict=True)]
        )
        means[method] = {str(metric): float(value) for metric, value in table.mean().items()}
    return means


def frame(volumes: Mapping[str, tuple[str, Mapping[str, Mapping[str, float]]]]) -> pd.DataFrame:
    """Scores by volume as `recon.results.statistics.summarise` takes them.

    Parameters
    ----------
    volumes : mapping
        Volume to its contrast and what `score_volume` gave.
    """
    return pd.DataFrame(
        {
            "volume": volume,
            "contrast": contrast,
            "effective_accel": 1.0,
            "method": method,
            "metric": metric,
            "region": "full",
            "value": value,
        }
        for volume, (contrast, methods) in volumes.items()
        for method, metrics in methods.items()
        for metric, value in metrics.items()
    )
