"""Which columns of k-space are measured.

The scanner acquires k-space line by line; leaving lines out is what makes a scan faster. A mask is
a boolean vector over the columns, true where a line is measured, its fully sampled centre holding
the low frequencies. The mask functions are those of the ``fastmri`` library.
"""

import math

from fastmri.data.subsample import (
    EquispacedMaskFractionFunc,
    EquiSpacedMaskFunc,
    MaskFunc,
    RandomMaskFunc,
)
from torch import Tensor

MASK_FUNCTIONS: dict[str, type[MaskFunc]] = {
    "random": RandomMaskFunc,
    "equispaced": EquiSpacedMaskFunc,
    "equispaced_fraction": EquispacedMaskFractionFunc,
}


def standard_center_fraction(accel: float) -> float:
    """Share of the columns that is fully sampled at the centre, by nominal acceleration.

    fastMRI publishes 0.08 at 4x and 0.04 at 8x; there is no published value for 6x. Through those
    two points we lay the straight line in ``accel`` (0.06 at 6x) and clip it to [0.02, 0.12].
    """
    return round(min(0.12, max(0.02, 0.08 - 0.01 * (accel - 4))), 4)


def make_mask(
    width: int, accel: float, center_fraction: float, mask_type: str, seed: int
) -> Tensor:
    """Draw one sampling mask over the columns of k-space.

    Parameters
    ----------
    width : int
        Number of columns (phase-encoding steps).
    accel : float
        Nominal acceleration R, more than 1.
    center_fraction : float
        Share of the columns, in (0, 1/R), that the fully sampled centre takes; rounded to columns
        it must be at least one, and fewer than W/R.
    mask_type : {"random", "equispaced", "equispaced_fraction"}
        Law of the other columns. ``equispaced`` undershoots R, because it adds the centre on top;
        ``equispaced_fraction`` corrects for that.
    seed : int
        The same seed gives the same mask.

    Returns
    -------
    Tensor
        ``(width,)`` bool, zero frequency at ``width // 2``.

    Raises
    ------
    ValueError
        For an acceleration, centre fraction or mask type that no scan can have.
    """
    if mask_type not in MASK_FUNCTIONS:
        raise ValueError(f"mask_type is {mask_type!r}; choose one of {', '.join(MASK_FUNCTIONS)}")
    if not 1 < accel <= width:
        raise ValueError(f"accel is {accel}; it must be above 1 and at most the {width} columns")
    if not 0 < center_fraction < 1 / accel:
        raise ValueError(
            f"center_fraction is {center_fraction}; it must lie between 0 and 1/accel = "
            f"{1 / accel:.3f}, or the centre alone uses up the scan time"
        )
    centre = round(width * center_fraction)  # as the fastmri library rounds
    if not 1 <= centre < width / accel:
        raise ValueError(
            f"center_fraction is {center_fraction}, which of {width} columns is {centre}; it must "
            f"be at least one column and fewer than width/accel = {width / accel:.1f}"
        )
    if mask_type == "equispaced" and accel != int(accel):
        raise ValueError(f"accel is {accel}; equispaced columns need a whole number")
    step = int(accel) if accel == int(accel) else accel
    mask, _ = MASK_FUNCTIONS[mask_type]([center_fraction], [step])((1, width, 1), seed=seed)
    return mask.reshape(width) > 0


def calibration_width(mask: Tensor) -> int:
    """Size of the largest centre crop of a centred mask ``(width,)`` that is fully sampled."""
    width = len(mask)
    size = 0
    while size < width:
        left = (width - size - 1) // 2
        if not mask[left : left + size + 1].all():
            break
        size += 1
    return size


def effective_acceleration(mask: Tensor, acquired: int | None = None) -> float:
    """Columns there were to measure over columns measured.

    Parameters
    ----------
    mask : Tensor
        ``(width,)`` bool.
    acquired : int, optional
        Columns that the full scan acquired. fastMRI's files are zero-padded at the edges of
        k-space, and a padded column that is left out saves no time.
    """
    measured = int(mask.sum())
    return math.inf if measured == 0 else (acquired or len(mask)) / measured


def restrict(mask: Tensor, padding: tuple[int, int]) -> Tensor:
    """Clear the columns (left, right) that were never acquired from a centred mask ``(width,)``."""
    kept = mask.clone()
    left, right = padding
    kept[:left] = False
    if right:
        kept[len(mask) - right :] = False
    return kept


def zero_columns(kspace: Tensor) -> Tensor:
    """Columns ``(width,)`` bool in which all of ``(..., height, width)`` is exactly zero."""
    return (kspace.abs().flatten(0, -2) == 0).all(dim=0)
