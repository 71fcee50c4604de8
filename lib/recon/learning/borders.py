"""Two borders of the retina from a feature map: figures A.9 to A.11 of Manakov 2019.

The map that tracks them is chosen by its error on eyes kept for such choices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import disk, skeletonize

from recon.errors import InputError
from recon.learning.feature_maps import feature_maps, layer_names
from recon.networks.cyclegan import Generator

__all__ = ["Borders", "border_errors", "choose_map", "skeleton", "track"]

FEWEST = 0.5  # share of the columns in which both borders must be found, for a map to count


def skeleton(image: np.ndarray, feature: np.ndarray | None = None) -> np.ndarray:
    """Lines of figure A.11: B-scan times map, threshold at its mean, median filter, skeleton.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``.
    feature : np.ndarray, optional
        ``(H, W)``, not negative; without it the B-scan stands alone.

    Returns
    -------
    np.ndarray
        ``(H, W)`` bool.
    """
    product = image if feature is None else image * feature
    above = (product > product.mean()).astype(np.uint8)
    return skeletonize(ndimage.median_filter(above, footprint=disk(2)) > 0)


@dataclass(frozen=True)
class Borders:
    """Rows ``(W,)`` of the inner and the outer line, NaN in columns without a line."""

    inner: np.ndarray
    outer: np.ndarray

    @property
    def found(self) -> float:
        """Share of the columns that have both lines apart from each other."""
        return float(np.mean(self.outer > self.inner))


def track(image: np.ndarray, feature: np.ndarray | None = None) -> Borders:
    """First and last line of the `skeleton` in each column: ILM and RPE, if the map has them."""
    lines = skeleton(image, feature)
    height = len(lines)
    any_line = lines.any(0)
    inner = np.where(any_line, lines.argmax(0), np.nan)
    outer = np.where(any_line, height - 1 - lines[::-1].argmax(0), np.nan)
    return Borders(inner, outer)


def border_errors(borders: Borders, inner: np.ndarray, outer: np.ndarray) -> dict[str, float]:
    """Errors of tracked borders, in pixels, over the columns in which both were found.

    Parameters
    ----------
    borders : Borders
    inner, outer : np.ndarray
        True rows ``(W,)`` of ILM and RPE.

    Returns
    -------
    dict
        Mean absolute errors ``ilm``, ``rpe`` and ``thickness``, mean signed errors with ``_bias``,
        and ``found``, the share of the columns; errors are NaN where none was found.
    """
    both = borders.outer > borders.inner
    misses = {"ilm": borders.inner - inner, "rpe": borders.outer - outer}
    misses["thickness"] = misses["rpe"] - misses["ilm"]
    found = {"found": borders.found}
    for name, miss in misses.items():
        kept = miss[both]
        found[name] = float(np.abs(kept).mean()) if kept.size else float("nan")
        found[f"{name}_bias"] = float(kept.mean()) if kept.size else float("nan")
    return found


def choose_map(
    generator: Generator,
    images: Sequence[np.ndarray],
    truths: Sequence[tuple[np.ndarray, np.ndarray]],
    layers: Iterable[str] | None = None,
) -> tuple[tuple[str, int], Mapping[tuple[str, int], float]]:
    """The layer and channel that track ILM and RPE best, on B-scans kept for the choice.

    Parameters
    ----------
    generator : Generator
    images : sequence of np.ndarray
        ``(H, W)``.
    truths : sequence of (np.ndarray, np.ndarray)
        True rows ``(W,)`` of ILM and RPE in each.
    layers : iterable of str, optional
        Of `layer_names`; all by default.

    Returns
    -------
    (layer, channel), mapping
        And the mean error (of ILM and RPE together, pixels) of every candidate that finds both in
        more than half of the columns.

    Raises
    ------
    InputError
        When there is no B-scan, or no map finds two lines.
    """
    if not len(images):
        raise InputError("a feature map cannot be chosen without B-scans to choose on")
    wanted = [*layer_names(generator)] if layers is None else [*layers]
    errors: dict[tuple[str, int], list[float]] = {}
    for image, (inner, outer) in zip(images, truths, strict=True):
        for name, maps in feature_maps(generator, image).items():
            for channel, feature in enumerate(maps if name in wanted else []):
                borders = track(image, feature)
                miss = border_errors(borders, inner, outer)
                enough = borders.found > FEWEST
                value = miss["ilm"] + miss["rpe"] if enough else np.inf
                errors.setdefault((name, channel), []).append(value)
    means = {key: float(np.mean(values)) for key, values in errors.items()}
    kept = {key: value for key, value in means.items() if np.isfinite(value)}
    if not kept:
        raise InputError("no feature map tracks two borders: the generator is not trained enough")
    return min(kept, key=lambda key: kept[key]), kept
