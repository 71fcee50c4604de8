"""Grids in millimetres, random textures on them, and soft implicit shapes.

Everything here is a function of physical position, never of the pixel index: the same seed gives
the same body on every grid. Textures are white noise on a lattice, interpolated by cubic
B-splines; a pixel coarser than the lattice averages over it instead of aliasing.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from scipy import ndimage

from recon.errors import InputError

# The integral of the squared cubic B-spline: the variance that interpolation leaves, per axis.
_BSPLINE_POWER = 0.4794
FAR = 1e3  # mm


def check_request(
    shape: tuple[int, int, int], contrast: str, contrasts: tuple[str, ...] | None
) -> None:
    """Refuse a shape or a contrast that a phantom cannot draw.

    Parameters
    ----------
    shape : (slices, height, width)
    contrast : name to look for
    contrasts : the names that the phantom knows; None accepts every name

    Raises
    ------
    InputError
        If the contrast is unknown, or the shape is not three numbers of at least (1, 32, 32).
    """
    if contrasts is not None and contrast not in contrasts:
        raise InputError(
            f"contrast {contrast!r} is unknown to this phantom: choose one of "
            f"{', '.join(contrasts)}."
        )
    if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < 32:
        raise InputError(
            f"shape {tuple(shape)} of a phantom must be (slices, height, width) with at least "
            "one slice of 32 x 32 pixels: ask for a larger grid."
        )


def axes(height: int, width: int, field_of_view: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Pixel centres in mm of a centred grid of square pixels.

    Parameters
    ----------
    height, width : grid size; its shorter side spans `field_of_view` (mm)

    Returns
    -------
    rows : (height,) float32, mm, increasing downwards
    columns : (width,) float32, mm, increasing rightwards
    pixel : side of a pixel in mm
    """
    pixel = field_of_view / min(height, width)
    rows = (np.arange(height, dtype=np.float32) - (height - 1) / 2) * pixel
    columns = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * pixel
    return rows.astype(np.float32), columns.astype(np.float32), pixel


def bspline(t: np.ndarray) -> np.ndarray:
    """Cubic B-spline of unit integral, support [-2, 2]."""
    t = np.abs(t)
    near = np.clip(1 - t, 0, None)
    far = np.clip(2 - t, 0, None)
    return (far**3 - 4 * near**3) / 6


def spline_matrix(position: np.ndarray, spacing: float, n: int, pixel: float = 0) -> np.ndarray:
    """Weights (positions, n) from a periodic lattice of n points to positions in mm.

    Rows sum to 1 / sqrt(power), so that white noise keeps unit variance; the spline is widened
    where the pixel is coarser than the lattice.
    """
    width = np.float32(max(1.0, pixel / spacing))
    offset = np.asarray(position, np.float32)[:, None] / np.float32(spacing)
    offset = offset - np.arange(n, dtype=np.float32)
    offset -= n * np.round(offset / n)
    return bspline(offset / width) / (width * np.float32(np.sqrt(_BSPLINE_POWER)))


@lru_cache(maxsize=32)  # the slices of a volume ask for the same few matrices again and again
def _cached_matrix(position: bytes, spacing: float, n: int, pixel: float) -> np.ndarray:
    return spline_matrix(np.frombuffer(position, np.float32), spacing, n, pixel)


def _grid_matrix(position: np.ndarray, spacing: float, n: int, pixel: float = 0) -> np.ndarray:
    return _cached_matrix(position.tobytes(), spacing, n, pixel)


def noise2d(
    rng: np.random.Generator,
    rows: np.ndarray,
    columns: np.ndarray,
    spacing: float | tuple[float, float],
    pixel: float = 0,
) -> np.ndarray:
    """Smooth Gaussian noise (rows, columns) of unit variance on a grid in mm.

    Parameters
    ----------
    spacing : distance of lattice points in mm, the same or one for each axis; details are about
        twice this size. The texture repeats after 400 lattice points.
    pixel : mm; noise finer than the pixel is averaged, as a scanner would
    """
    down, across = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    n = 400
    lattice = rng.standard_normal((n, n), dtype=np.float32)
    return _grid_matrix(rows, down, n, pixel) @ lattice @ _grid_matrix(columns, across, n, pixel).T


def noise3d(
    rng: np.random.Generator,
    rows: np.ndarray,
    columns: np.ndarray,
    spacing: float,
    n: int = 48,
) -> Callable[[float], np.ndarray]:
    """Smooth Gaussian noise of unit variance that is continuous from slice to slice.

    Returns
    -------
    function of the depth in mm that gives one plane (rows, columns); the noise repeats after n
    lattice points of `spacing` mm
    """
    lattice = rng.standard_normal((n, n, n), dtype=np.float32)

    def plane(depth: float) -> np.ndarray:
        weights = spline_matrix(np.array([depth]), spacing, n)[0]
        flat = np.tensordot(weights, lattice, axes=1)
        return _grid_matrix(rows, spacing, n) @ flat @ _grid_matrix(columns, spacing, n).T

    return plane


def noise_at(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, spacing: tuple[float, float]
) -> np.ndarray:
    """Smooth noise of about unit variance at arbitrary positions (u, v) in mm, for bent fibres."""
    lattice = rng.standard_normal((256, 256), dtype=np.float32)
    lattice = ndimage.gaussian_filter(lattice, 0.7, mode="wrap")
    lattice /= lattice.std()
    return ndimage.map_coordinates(
        lattice, (u / spacing[0], v / spacing[1]), order=1, mode="grid-wrap"
    )


def inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """Fraction of a pixel inside a shape: 1 where distance << 0, a ramp of `edge` mm, then 0."""
    return np.clip(0.5 - distance / edge, 0, 1)


def slab(distance: np.ndarray, pixel: float, thickness: float) -> np.ndarray:
    """Fraction of a voxel inside a shape, with the partial volume of a thick slice.

    A true distance has a gradient of length one: what the gradient in the plane leaves is its part
    across the slice. A surface that runs obliquely through a slice is so blurred by its thickness.

    Parameters
    ----------
    distance : (height, width), mm, negative inside
    pixel, thickness : mm
    """
    down, across = np.gradient(distance, pixel)
    flat = np.minimum(np.hypot(down, across), 1)
    return inside(distance, pixel * flat + thickness * np.sqrt(1 - flat * flat) + 0.1)


def between(distance: np.ndarray, low, high, edge: float) -> np.ndarray:
    """Fraction of a pixel in the shell low < distance < high (mm)."""
    return inside(distance - high, edge) - inside(distance - low, edge)


def ellipsoid(x, y, z, centre, radii, power: float = 2) -> np.ndarray:
    """Signed distance (mm, negative inside) to an ellipsoid, exact to first order at the rim.

    A power above 2 makes it boxier: |x/a|^p + |y/b|^p + |z/c|^p = 1.
    """
    u = [np.abs(c - c0) / r for c, c0, r in zip((x, y, z), centre, radii, strict=True)]
    if power == 2:
        norm = np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
        steps = [t / r for t, r in zip(u, radii, strict=True)]
    else:
        norm = (u[0] ** power + u[1] ** power + u[2] ** power) ** (1 / power)
        relative = [t / np.maximum(norm, 1e-6) for t in u]
        steps = [norm * t ** (power - 1) / r for t, r in zip(relative, radii, strict=True)]
    slope = np.sqrt(sum(step * step for step in steps)) / np.maximum(norm, 1e-6)
    return (norm - 1) / np.maximum(slope, 1e-3)


def tube(x, y, z, points, radius) -> np.ndarray:
    """Distance in mm to the surface of a tube along a polyline, or FAR where it is not near.

    Parameters
    ----------
    points : sequence of (x, y, z)
    radius : mm, one number or one for each point (interpolated along each piece)
    """
    radius = np.broadcast_to(np.asarray(radius, np.float32), len(points))
    best = np.full(np.broadcast(x, y, z).shape, FAR, np.float32)
    low, high = z.min() - 5, z.max() + 5
    for i in range(len(points) - 1):
        a, b = np.asarray(points[i], np.float32), np.asarray(points[i + 1], np.float32)
        reach = max(radius[i], radius[i + 1])
        if max(a[2], b[2]) + reach < low or min(a[2], b[2]) - reach > high:
            continue  # this piece does not come near the slice
        d = b - a
        t = ((x - a[0]) * d[0] + (y - a[1]) * d[1] + (z - a[2]) * d[2]) / max(d @ d, 1e-6)
        t = np.clip(t, 0, 1)
        gap = (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2 + (z - a[2] - t * d[2]) ** 2
        best = np.minimum(best, np.sqrt(gap) - (radius[i] + t * (radius[i + 1] - radius[i])))
    return best


def smooth_min(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Union of two distances whose seam is rounded over about k mm (polynomial smooth minimum)."""
    h = np.clip(k - np.abs(a - b), 0, None) / k
    return np.minimum(a, b) - h * h * k / 4


def ramp(t, low: float, high: float):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((t - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def paint(layers: dict[str, np.ndarray], name: str | None, cover: np.ndarray) -> None:
    """Lay a tissue over all that is there; None lays air, which takes away and adds nothing.

    Parameters
    ----------
    layers : tissue name -> fraction of each pixel; changed in place
    cover : fraction of each pixel that the new tissue takes
    """
    taken = np.flatnonzero(cover.any(axis=1))
    if taken.size == 0:
        return
    if name is not None and name not in layers:
        layers[name] = np.zeros(cover.shape, np.float32)
    rows = slice(taken[0], taken[-1] + 1)
    for below in layers.values():
        below[rows] *= 1 - cover[rows]
    if name is not None:
        layers[name][rows] += cover[rows]


def stack(slices: Iterable[dict[str, np.ndarray]], shape: tuple[int, int, int]):
    """Gather the layers of each slice into volumes {name: (slices, height, width) float32}."""
    volume: dict[str, np.ndarray] = {}
    for k, layers in enumerate(slices):
        for name, cover in layers.items():
            volume.setdefault(name, np.zeros(shape, np.float32))[k] = cover
    return volume
