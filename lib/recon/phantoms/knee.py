"""Coronal knee in PD and fat-suppressed PD, the femur above the tibia, drawn in three dimensions.

Slices run from the knee cap in front to the calf behind. All shapes (`joint`) are implicit
surfaces in mm, bent by smooth noise, so every slice cuts the same knee; `leg` fills them.
"""

from typing import NamedTuple

import numpy as np

from recon.phantoms import leg
from recon.phantoms.signals import TISSUES, signals
from recon.phantoms.texture import axes, check_request, noise2d, noise3d, stack

CONTRASTS = ("PD", "PDFS")
THICKNESS = 3.0  # of a slice, mm
_WARP = ((30, 1.8), (12, 0.7), (5, 0.22))  # scale and size of the displacement, mm


class Knee(NamedTuple):
    """What a seed decides, before any grid is chosen."""

    field_of_view: float  # mm
    levels: tuple[float, float]  # z of the first and last slice, mm
    left: bool
    rotation: np.ndarray  # (3, 3)
    scale: float
    shift: np.ndarray  # (3,) mm
    space: float  # mm between the bones
    cartilage: float  # mm
    girth: float
    bulk: float  # of the muscles
    fat: float  # mm under the skin
    effusion: float  # mm
    oedema: tuple | None  # centre (3,) and radius in mm
    red_marrow: float


def subject(seed: int) -> Knee:
    """Draw the size, pose, build and disease of one knee."""
    rng = np.random.default_rng([seed, 11])
    lean, turn, nod = np.deg2rad(rng.normal(0, (3.0, 6.0, 2.5)))
    cl, sl, ct, st, cn, sn = (f(a) for a in (lean, turn, nod) for f in (np.cos, np.sin))
    rotation = (
        np.array([[cl, -sl, 0], [sl, cl, 0], [0, 0, 1]])
        @ np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
        @ np.array([[1, 0, 0], [0, cn, -sn], [0, sn, cn]])
    )
    oedema = None
    if rng.random() < 0.5:
        x, femoral = rng.choice([-1, 1]) * rng.uniform(14, 30), rng.random() < 0.5
        y = rng.uniform(6, 20) if femoral else rng.uniform(-22, -9)
        oedema = ((x, y, rng.uniform(-10, 18)), rng.uniform(7, 14))
    return Knee(
        field_of_view=rng.uniform(138, 154),
        levels=(rng.uniform(-46, -39), rng.uniform(36, 44)),
        left=bool(rng.random() < 0.5),
        rotation=rotation,
        scale=rng.normal(1.0, 0.05),
        shift=rng.normal((0, 0, 0), (3, 6, 1.5)),
        space=rng.uniform(4.6, 6.0),
        cartilage=rng.uniform(1.7, 2.5),
        girth=rng.uniform(0.95, 1.12),
        bulk=rng.uniform(0.85, 1.1),
        fat=rng.uniform(3.5, 9),
        effusion=rng.uniform(0, 1) ** 2 * 4,
        oedema=oedema,
        red_marrow=rng.uniform(-1.2, 0.6),
    )


def levels(who: Knee, slices: int) -> np.ndarray:
    """Position z in mm of each slice, front to back."""
    first, last = who.levels
    return np.linspace(first, last, slices) if slices > 1 else np.array([4.0])


def _bend(who: Knee, seed: int, rows: np.ndarray, columns: np.ndarray):
    """Return a function of z that gives the anatomical coordinates (3, height, width) in mm."""
    rng = np.random.default_rng([seed, 12])
    noises = [(a, [noise3d(rng, rows, columns, s) for _ in range(3)]) for s, a in _WARP]
    matrix = (who.rotation / who.scale).astype(np.float32)
    side = -1 if who.left else 1

    def at(z: float) -> np.ndarray:
        grid = np.stack(np.broadcast_arrays(side * columns[None, :], -rows[:, None], np.float32(z)))
        place = np.tensordot(matrix, grid - np.float32(who.shift)[:, None, None], axes=1)
        for amplitude, fields in noises:
            place += np.float32(amplitude) * np.stack([f(z) for f in fields])
        return place

    return at


def _slices(shape: tuple[int, int, int], seed: int):
    """Yield the tissue fractions of each slice, {name: (height, width)}."""
    who = subject(seed)
    rows, columns, pixel = axes(*shape[1:], who.field_of_view)
    rng = np.random.default_rng([seed, 14])
    noises = [noise3d(rng, rows, columns, s) for s in (8, 3)]
    bend = _bend(who, seed, rows, columns)
    for level in levels(who, shape[0]):
        noise = np.stack([f(level) for f in noises])
        yield leg.layers(who, *bend(level), noise, pixel, THICKNESS, seed)


def tissues(shape: tuple[int, int, int], seed: int) -> dict[str, np.ndarray]:
    """Fraction of each tissue in each pixel.

    Parameters
    ----------
    shape : (slices, height, width)
    seed : the knee

    Returns
    -------
    tissue name -> (slices, height, width) float32; the sum over tissues is at most 1, the rest
    is air
    """
    check_request(shape, "PD", CONTRASTS)
    return stack(_slices(shape, seed), shape)


# Relative variation of the signal within a tissue.
_GRAIN = {
    "marrow": 0.06, "red_marrow": 0.06, "fat": 0.04, "muscle": 0.06, "ligament": 0.2,
    "cartilage": 0.05, "skin": 0.08, "bone": 0.3, "fluid": 0.02, "meniscus": 0.15,
}  # fmt: skip


def render(shape: tuple[int, int, int], contrast: str, seed: int) -> np.ndarray:
    """Draw a coronal knee.

    Parameters
    ----------
    shape : (slices, height, width), at least 32 x 32; square pixels, the shorter side spans the
        field of view (138 to 154 mm); the leg runs on through the upper and lower edges
    contrast : PD or PDFS (fat-suppressed)
    seed : the knee: the same seed shows the same anatomy in both contrasts and on every grid

    Returns
    -------
    (slices, height, width) float32 magnitude, bright tissues near 1, air exactly 0

    Raises
    ------
    InputError
        If the contrast is unknown or the shape too small.
    """
    check_request(shape, contrast, CONTRASTS)
    value = signals(contrast, np.random.default_rng([seed, 15, CONTRASTS.index(contrast)]))
    who = subject(seed)
    rows, columns, pixel = axes(*shape[1:], who.field_of_view)
    rng = np.random.default_rng([seed, 16])
    # Fat suppression fails a little here and there, smoothly.
    leak = noise3d(rng, rows, columns, 45, 16)
    image = np.zeros(shape, np.float32)
    for k, layers in enumerate(_slices(shape, seed)):
        failed = np.exp(0.3 * leak(levels(who, shape[0])[k])) if contrast == "PDFS" else 1
        fine = noise2d(rng, rows, columns, 0.55, pixel)
        upright = noise2d(rng, rows, columns, (1.5, 0.5), pixel)  # trabeculae and muscle fibres
        patchy = noise2d(rng, rows, columns, 3.0, pixel)
        for name, cover in layers.items():
            grain = _GRAIN.get(name, 0.03)
            along = upright if name in ("marrow", "red_marrow", "muscle", "ligament") else fine
            grey = value[name] * cover * (1 + grain * (along + 0.7 * patchy))
            image[k] += grey * failed if TISSUES[name].fat else grey
    bias = noise2d(rng, rows, columns, 70)
    return np.clip(image * np.exp(0.07 * bias), 0, None).astype(np.float32)
