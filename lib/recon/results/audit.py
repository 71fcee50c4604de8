"""Check a published table against itself, and a pair of scores against each other."""

import math
from collections.abc import Mapping

import numpy as np

from recon.results.claims import Paper

__all__ = ["excess", "least_ssim", "shares"]


def least_ssim(psnr: float) -> float:
    """The lowest SSIM that an image of this PSNR can have, both relative to the same maximum L.

    SSIM is a product of two factors (Wang et al. 2004, with c1 = (0.01 L)^2 and c2 = (0.03 L)^2).
    In a window whose difference from the target has mean m and variance s^2 they are at least
    ``1 - m^2 / c1`` and ``1 - s^2 / c2``; as ``m^2 + s^2`` averages to the mean square error, the
    mean of the product is at least ``1 - MSE / c1``. A tenth is added to the error, because pixels
    at the border lie in fewer windows (images of 160 pixels or more, windows of 7) and fastMRI
    divides a window's variance by one less than its pixels.

    Parameters
    ----------
    psnr : float
        In dB, of one image or volume without negative values.
    """
    return max(-1.0, 1 - 1.1 * 10 ** (-psnr / 10) / 0.01**2)


def shares(paper: Paper, table: str, half_unit: dict[str, float]) -> tuple[dict[str, float], float]:
    """The shares of the contrasts that best explain the rows "all" as weighted means of the others.

    Parameters
    ----------
    paper : Paper
    table : str
        A table with rows for several contrasts and for "all".
    half_unit : dict
        Metric to half a unit of the last printed digit.

    Returns
    -------
    shares : dict
        Contrast to its share; they add up to 1. Not unique where several explain the rows alike.
    excess : float
        By how many half units the worst row misses its mean, beyond what rounding of all its
        numbers explains; 0 when the table agrees with itself.
    """
    from scipy.optimize import linprog  # slow to import; most of the book does not need it

    published = paper.tables[table]
    values = {(contrast, method): row for _, contrast, method, row in published.rows}
    parts = [c for c in dict.fromkeys(contrast for contrast, _ in values) if c != "all"]
    above, bounds = [], []
    for method in [method for contrast, method in values if contrast == "all"]:
        for column, (metric, _) in enumerate(published.columns):
            half = half_unit[metric]
            terms = np.array([values[part, method][column] for part in parts])
            total = values["all", method][column]
            for sign in (1, -1):
                # |shares . terms - total| <= rounding of the terms and of the total + excess
                above.append([*(sign * terms), -half])
                bounds.append(sign * total + 2 * half)
    count = len(parts)
    found = linprog(
        [*[0] * count, 1],
        A_ub=above,
        b_ub=bounds,
        A_eq=[[*[1] * count, 0]],
        b_eq=[1],
        bounds=[*[(0, 1)] * count, (0, math.inf)],
    )
    return dict(zip(parts, map(float, found.x[:count]), strict=True)), float(found.x[count])


def excess(
    paper: Paper, table: str, volumes: Mapping[str, float], half_unit: Mapping[str, float]
) -> float:
    """By how many half units the worst row "all" misses its mean under given numbers of volumes.

    Parameters
    ----------
    paper, table, half_unit
        As for `shares`.
    volumes : mapping
        Contrast to its number of volumes.

    Returns
    -------
    float
        Beyond what rounding explains: half a unit of the mean's terms, and half a unit of "all".
    """
    published = paper.tables[table]
    values = {(contrast, method): row for _, contrast, method, row in published.rows}
    count, worst = sum(volumes.values()), 0.0
    for method in [method for contrast, method in values if contrast == "all"]:
        for column, (metric, _) in enumerate(published.columns):
            terms = [number * values[part, method][column] for part, number in volumes.items()]
            missed = abs(sum(terms) / count - values["all", method][column])
            worst = max(worst, missed / half_unit[metric] - 2)
    return worst
