"""Dead leaves: structure without anatomy, for training.

Random shapes that hide one another, with radii from a power law, have the edges, the flat parts
and the spectrum (power falling as about the cube of the frequency) of natural images, and nothing
else. Networks trained on them carry over to measured data better than networks trained on
simulated anatomy alone. The model is from Lee, Mumford & Huang, *Occlusion models for natural
images* (2001), where p(r) ~ r^-3 gives scale invariance.
"""

import numpy as np

from recon.phantoms.texture import axes, check_request, inside, noise2d

_LEAVES = 1000  # a slice; they cover it about three times over
_RADII = (0.016, 0.4)  # of the field of view
_EXPONENT = 3.0


def radii(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw `count` radii, in fields of view, from p(r) ~ r^-3 between the two bounds.

    By inversion of the cumulative distribution.
    """
    low, high = (r ** (1 - _EXPONENT) for r in _RADII)
    return (low + rng.random(count) * (high - low)) ** (1 / (1 - _EXPONENT))


def _shape(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, r: float) -> np.ndarray:
    """Signed distance to one leaf at the origin: an ellipse, a polygon or a strip."""
    kind, angle = rng.integers(3), rng.uniform(0, np.pi)
    c, s = np.cos(angle), np.sin(angle)
    u, v = c * u + s * v, c * v - s * u
    if kind == 0:
        flat = rng.uniform(0.35, 1)
        return (np.sqrt((u / r) ** 2 + (v / (flat * r)) ** 2) - 1) * flat * r
    if kind == 1:
        # A convex polygon is the intersection of half-planes around it.
        sides = rng.integers(3, 7)
        normals = (np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) * 2 * np.pi / sides
        planes = [u * np.cos(n) + v * np.sin(n) - rng.uniform(0.4, 0.75) * r for n in normals]
        return np.max(planes, axis=0)
    bend = rng.uniform(-0.4, 0.4) / r
    return np.maximum(
        np.abs(u) - r, np.abs(v + bend * (u * u - r * r / 2)) - rng.uniform(0.06, 0.25) * r
    )


def support(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, edge: float):
    """Fraction of each pixel inside a random smooth outline: a circle bent by six harmonics.

    Parameters
    ----------
    rows, columns : positions in fields of view
    edge : width of the rim in the same unit
    """
    y, x = rows[:, None] - rng.uniform(-0.03, 0.03), columns[None, :] - rng.uniform(-0.03, 0.03)
    angle = np.arctan2(y, x)
    outline = rng.uniform(0.36, 0.44)
    for k in range(2, 8):
        outline = outline + rng.normal(0, 0.06) / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return inside(np.hypot(y, x) - np.clip(outline, 0.15, 0.49), edge)


def render(shape: tuple[int, int, int], contrast: str, seed: int) -> np.ndarray:
    """Draw slices of dead leaves, every slice a different pile.

    Parameters
    ----------
    shape : (slices, height, width), at least 32 x 32
    contrast : any name; leaves look the same in all of them
    seed : the pile, the same for every grid

    Returns
    -------
    (slices, height, width) float32 in 0..1, exactly 0 outside a smooth support

    Raises
    ------
    InputError
        If the shape is too small.
    """
    check_request(shape, contrast, None)
    rows, columns, pixel = axes(*shape[1:], 1.0)
    return np.stack(
        [_slice(np.random.default_rng([seed, 3, k]), rows, columns, pixel) for k in range(shape[0])]
    )


def _slice(
    rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, pixel: float
) -> np.ndarray:
    rim = support(rng, rows, columns, 1.5 * pixel)
    fine = [noise2d(rng, rows, columns, s, pixel) for s in (0.004, 0.012, 0.04)]
    image = np.full((rows.size, columns.size), rng.uniform(0.1, 0.9), np.float32)
    # Painted back to front, so that the last leaf hides the others; the draws of a leaf come from
    # a stream of its own, since the number of them depends on its kind.
    for r, leaf in zip(radii(rng, _LEAVES), rng.spawn(_LEAVES), strict=True):
        y0, x0 = leaf.uniform(-0.5, 0.5, 2)
        top, bottom = np.searchsorted(rows, (y0 - 1.5 * r, y0 + 1.5 * r))
        left, right = np.searchsorted(columns, (x0 - 1.5 * r, x0 + 1.5 * r))
        if top >= bottom or left >= right:
            continue
        v, u = rows[top:bottom, None] - y0, columns[None, left:right] - x0
        cover = inside(_shape(leaf, u, v, r), pixel)
        grey = leaf.uniform(0.02, 1)
        slope_u, slope_v = leaf.normal(0, 0.12, 2) / r * grey
        paint = grey + slope_u * u + slope_v * v
        texture = fine[leaf.integers(3)][top:bottom, left:right]
        paint = paint + leaf.exponential(0.05) * grey * texture
        window = image[top:bottom, left:right]
        window += cover * (paint - window)
    return np.clip(image, 0, 1).astype(np.float32) * rim.astype(np.float32)
