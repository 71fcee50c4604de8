"""The ICBM152 maps that the nilearn package carries, ready to be interpolated."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

_ORIGIN = np.array([98, 134, 72])  # voxel of MNI (0, 0, 0) in the 1 mm maps


class Template(NamedTuple):
    """Maps on the 1 mm grid (x, y, z), stored as cubic spline coefficients.

    grey, white : probabilities; depth : signed distance in mm to the smooth hull of the brain,
    on a grid of 2 mm that starts 32 mm before the maps; ventricle : deep fluid, 0..1, same grid.
    """

    grey: np.ndarray
    white: np.ndarray
    depth: np.ndarray
    ventricle: np.ndarray


@lru_cache(maxsize=1)
def template() -> Template:
    """Load the ICBM152 maps from the nilearn package (no download) and derive the hull."""
    from nilearn import datasets  # slow to import, and only the brain needs it

    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata().astype(np.float32)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata().astype(np.float32)
    mask = datasets.load_mni152_brain_mask(resolution=1).get_fdata() > 0
    coarse = np.pad(mask[::2, ::2, ::2], 16)
    # The hull closes what is narrower than 12 mm: fissures and cisterns, not the petrous bones.
    near = ndimage.distance_transform_edt(~coarse) < 3.1
    hull = ndimage.distance_transform_edt(near) > 3.1
    depth = 2 * (ndimage.distance_transform_edt(~hull) - ndimage.distance_transform_edt(hull))
    depth = ndimage.gaussian_filter(depth.astype(np.float32), 1.5)
    fluid = np.clip(1 - grey - white, 0, 1)[::2, ::2, ::2]
    ventricle = np.pad(fluid, 16) * (depth < -22)
    ventricle = ndimage.gaussian_filter(ventricle, 1.5)
    return Template(
        ndimage.spline_filter(grey, 3, output=np.float32),
        ndimage.spline_filter(white, 3, output=np.float32),
        depth,
        ventricle,
    )


def sample(volume: np.ndarray, x, y, z, order: int, spacing: float = 1, pad: float = 0):
    """Interpolate one of the maps at MNI positions in mm.

    Parameters
    ----------
    x, y, z : arrays of one shape, mm
    order : of the spline: 3 for `grey` and `white`, 1 for the maps on the 2 mm grid
    spacing, pad : mm; grid and margin of the map
    """
    at = [(c + o + pad) / spacing for c, o in zip((x, y, z), _ORIGIN, strict=True)]
    return ndimage.map_coordinates(
        volume, at, order=order, mode="nearest", prefilter=False, output=np.float32
    )
