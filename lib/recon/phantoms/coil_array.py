"""Receiver coils around the body, and how each of them sees it.

An array is a set of wire loops on an elliptical cylinder around the body. Its geometry is drawn
anew for every volume: a network that has met one array works on that array alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline

__all__ = ["CoilArray", "draw_array", "pixel_axis", "sensitivities", "spline_matrix"]

KNOTS = 41  # control points a side on which sensitivities are computed
SEGMENTS = 20  # straight pieces of a wire loop
SLICE_SPACING = 0.05  # distance between slices, half fields of view
WIRE = 0.14  # thickness of the wire, half fields of view: the field stays finite beside it
BORES = ("through", "rows", "columns")


@dataclass(frozen=True)
class CoilArray:
    """Loops in a frame (u, v, bore) whose unit is the body's half extent.

    ``bore`` is the direction of the static field in the picture: ``through`` the slices (axial), or
    along the ``rows`` axis (coronal, feet down) or the ``columns`` axis.
    """

    bore: str
    centres: np.ndarray  # (coils, 3)
    normals: np.ndarray  # (coils, 3) unit vectors, most of them pointing at the body
    radii: np.ndarray  # (coils,)
    gains: np.ndarray  # (coils,) complex receiver gains
    shading: np.ndarray  # (coils, 5) complex: what tissue and neighbours add to the log-gain


def draw_array(coils: int, rng: np.random.Generator, bore: str | None = None) -> CoilArray:
    """Draw an array: a full ring, an arc, or a ring that is badly placed.

    Parameters
    ----------
    coils : int
        Number of loops; small arrays get large loops, large ones up to three rings.
    rng : np.random.Generator
    bore : {"through", "rows", "columns"}, optional
        Drawn when not given.
    """
    drawn = str(rng.choice(BORES))
    kind = rng.choice(["ring", "arc", "misplaced"], p=[0.6, 0.25, 0.15])
    span = rng.uniform(0.5, 1.3) * np.pi if kind == "arc" else 2 * np.pi
    places = (np.arange(coils) + rng.uniform(-0.3, 0.3, coils)) / coils
    angle = rng.uniform(0, 2 * np.pi) + span * places
    distance = rng.uniform(1.25, 1.7) + rng.uniform(-0.05, 0.2, coils)
    rings = int(rng.integers(1, 4)) if coils >= 6 else 1
    along = (np.arange(coils) % rings - (rings - 1) / 2) * rng.uniform(0.5, 0.9)
    along = along + rng.normal(0, 0.1, coils)
    centres = np.stack([distance * np.cos(angle), distance * np.sin(angle), along], axis=1)
    normals = -centres * [1, 1, 0.3] + rng.normal(0, 0.25, (coils, 3))
    if kind == "misplaced":
        centres += rng.normal(0, [0.3, 0.3, 0.5])
    size = rng.uniform(0.6, 1.0) * np.clip(np.sqrt(6 / coils), 0.6, 1.2)
    return CoilArray(
        bore=bore or drawn,
        centres=centres,
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        radii=size * rng.uniform(0.8, 1.25, coils),
        gains=rng.lognormal(0, 0.25, coils) * np.exp(2j * np.pi * rng.random(coils)),
        shading=rng.normal(0, 0.12, (coils, 5)) + 1j * rng.normal(0, 0.35, (coils, 5)),
    )


def sensitivities(magnitude: np.ndarray, array: CoilArray) -> Callable[[int], np.ndarray]:
    """Coil sensitivities over the field of view, as a function of the slice.

    The receive sensitivity of a loop is the transverse field that a unit current in it would make
    (reciprocity): ``s = B_u - i B_v``, with B by Biot and Savart's law, summed over short straight
    pieces. It is smooth, so it is computed on a coarse grid and carried to the pixels by cubic
    splines.

    Parameters
    ----------
    magnitude : np.ndarray
        ``(slices, rows, columns)``; says where the body is and how large.
    array : CoilArray

    Returns
    -------
    callable
        ``maps(i)`` is ``(coils, rows, columns)`` complex64 of slice i. The root of the sum of
        squares over coils averages 1 over the body of all slices.
    """
    slices, rows, columns = magnitude.shape
    y, x = pixel_axis(rows, max(rows, columns)), pixel_axis(columns, max(rows, columns))
    coarse_y, coarse_x = (np.linspace(a[0], a[-1], KNOTS) for a in (y, x))
    z = (np.arange(slices) - (slices - 1) / 2) * SLICE_SPACING
    (mid_y, mid_x), (half_y, half_x) = _extent(magnitude, y, x)
    gx, gy = coarse_x - mid_x, (coarse_y - mid_y)[:, None]
    space = np.stack(np.broadcast_arrays(gx, gy, z[:, None, None]), axis=-1).astype(np.float32)

    # The frame (u, v, bore) in terms of (x, y, z), and the body's half extents along it.
    order = {"through": [0, 1, 2], "rows": [0, 2, 1], "columns": [1, 2, 0]}[array.bore]
    half = np.array([half_x, half_y, min(half_x, half_y)])[order]
    turn = 2 * np.pi * (np.arange(SEGMENTS)[:, None] + 0.5) / SEGMENTS
    coarse = np.empty((len(array.gains), *space.shape[:-1]), np.complex64)
    for c, gain in enumerate(array.gains):
        normal, radius = array.normals[c], array.radii[c] * half.mean()
        first = np.linalg.svd(normal[None])[2][1]  # any unit vector in the plane of the loop
        spokes = np.cos(turn) * first + np.sin(turn) * np.cross(normal, first)
        wire = array.centres[c] * half + radius * spokes
        pieces = radius * (2 * np.pi / SEGMENTS) * np.cross(normal, spokes)
        a = array.shading[c]
        shade = a[0] * gx + a[1] * gy + a[2] * gx**2 + a[3] * gx * gy + a[4] * gy**2
        coarse[c] = gain * np.exp(shade) * _biot_savart(space[..., order], wire, pieces)

    rows_at, columns_at = (
        np.linspace(0, n - 1, KNOTS).round().astype(int) for n in (rows, columns)
    )
    body = magnitude[:, rows_at][:, :, columns_at] > 0.1 * magnitude.max()
    root = np.sqrt(np.sum(np.abs(coarse) ** 2, axis=0))
    coarse /= root[body].mean() if body.any() else root.mean()
    carry_y, carry_x = spline_matrix(coarse_y, y), spline_matrix(coarse_x, x)
    return lambda i: carry_y @ coarse[:, i] @ carry_x.T


def _biot_savart(space: np.ndarray, wire: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """``B_u - i B_v`` at ``space (..., 3)`` of pieces of wire ``(n, 3)`` at ``wire (n, 3)``.

    ``B(r) = sum dl x (r - r') / |r - r'|^3``, the constants left out.
    """
    field = np.zeros(space.shape[:-1], np.complex64)
    for point, step in zip(wire.astype(np.float32), pieces.astype(np.float32), strict=True):
        r = space - point
        cube = (np.einsum("...i,...i->...", r, r) + np.float32(WIRE**2)) ** 1.5
        field.real += (step[1] * r[..., 2] - step[2] * r[..., 1]) / cube
        field.imag -= (step[2] * r[..., 0] - step[0] * r[..., 2]) / cube
    return field


def _extent(magnitude: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[tuple, tuple]:
    """Middle and half extent, each (y, x), of the body over all slices."""
    seen = magnitude.max(axis=0) > 0.1 * magnitude.max()
    if not seen.any():
        return (0.0, 0.0), (float(y[-1]), float(x[-1]))
    ends = [axis[np.flatnonzero(seen.any(axis=1 - i))[[0, -1]]] for i, axis in enumerate((y, x))]
    return tuple(e.mean() for e in ends), tuple(max(0.2, (e[1] - e[0]) / 2) for e in ends)


def pixel_axis(points: int, longest: int) -> np.ndarray:
    """Coordinates of pixel centres; the longest side of the field of view spans -1 to 1."""
    return (np.arange(points) - (points - 1) / 2) * 2 / longest


def spline_matrix(knots: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Matrix ``(points, knots)`` float32 that interpolates by cubic splines."""
    return make_interp_spline(knots, np.eye(len(knots)), k=3)(points).astype(np.float32)
