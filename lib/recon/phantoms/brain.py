"""Axial brain in T1, T2, FLAIR and T1POST, anterior up, made from the ICBM152 maps.

The maps (2009a nonlinear symmetric, the copy that nilearn carries) are an average of 152 people:
their grey and white matter fade into one another. Each seed draws one person from them. It bends
space by a smooth invertible displacement, adds smooth noise to the log-odds of the tissues, so
that gyri thicken, part and join, and then hardens the odds. Skull, scalp and face are drawn in
`head`. Space is MNI: x to the subject's right of the picture, y forward, z up, in mm.
"""

from typing import NamedTuple

import numpy as np

from recon.phantoms import head
from recon.phantoms.icbm import sample, template
from recon.phantoms.signals import signals
from recon.phantoms.texture import (
    axes,
    check_request,
    ellipsoid,
    inside,
    noise2d,
    noise3d,
    paint,
    ramp,
    slab,
    stack,
)

CONTRASTS = ("T1", "T2", "FLAIR", "T1POST")
THICKNESS = 4.0  # of a slice, mm


class Person(NamedTuple):
    """What a seed decides, before any grid is chosen."""

    field_of_view: float  # mm
    levels: tuple[float, float]  # z of the first and last slice, mm
    rotation: np.ndarray  # (3, 3)
    scale: np.ndarray  # (3,) template mm for one mm of this head
    shift: np.ndarray  # (3,) mm
    warp: float  # strength of the displacement
    atrophy: float  # log-odds in favour of fluid
    ventricles: float
    white_lesions: int
    tumour: tuple | None  # centre (3,) and radius in mm


def person(seed: int) -> Person:
    """Draw head size, pose, age and disease of one person."""
    rng = np.random.default_rng([seed, 1])
    nod, turn, tilt = np.deg2rad(rng.normal(0, (5, 3, 2)))
    cn, sn, ct, st, ci, si = (f(a) for a in (nod, turn, tilt) for f in (np.cos, np.sin))
    rotation = (
        np.array([[1, 0, 0], [0, cn, -sn], [0, sn, cn]])
        @ np.array([[ct, -st, 0], [st, ct, 0], [0, 0, 1]])
        @ np.array([[ci, 0, si], [0, 1, 0], [-si, 0, ci]])
    )
    age = rng.random()
    tumour = None
    if rng.random() < 0.45:
        side = rng.choice([-1, 1])
        centre = (side * rng.uniform(24, 42), rng.uniform(-55, 40), rng.uniform(0, 40))
        tumour = (centre, rng.uniform(5, 13))
    return Person(
        field_of_view=rng.uniform(216, 232),
        levels=(rng.uniform(-46, -30), rng.uniform(52, 70)),
        rotation=rotation,
        scale=rng.normal(1.06, 0.025) * (1 + rng.normal(0, 0.02, 3)),
        shift=rng.normal((0, -8, 0), (2.5, 3, 0)),
        warp=rng.uniform(0.7, 1.2),
        atrophy=0.55 * age + rng.normal(0, 0.08),
        ventricles=1.6 * age - 0.3 + rng.normal(0, 0.2),
        white_lesions=int(rng.poisson(3 + 22 * age**2)),
        tumour=tumour,
    )


def levels(who: Person, slices: int) -> np.ndarray:
    """Height z in mm of each slice, bottom to top."""
    low, high = who.levels
    return np.linspace(low, high, slices) if slices > 1 else np.array([8.0])


def _bend(who: Person, seed: int, rows: np.ndarray, columns: np.ndarray):
    """Return a function of z that gives the template coordinates of one slice.

    The displacements are smooth noise whose gradient stays well below one, so that the map is
    invertible: nothing folds.

    Returns
    -------
    function of z (mm) -> place, finer : (3, height, width) mm; `finer` is a displacement for the
    brain alone, since skulls are smooth
    """
    rng = np.random.default_rng([seed, 2])
    broad, fine, finest = (
        [noise3d(rng, rows, columns, spacing) for _ in range(3)] for spacing in (42, 17, 7)
    )
    matrix = (who.rotation * who.scale[:, None]).astype(np.float32)

    def at(z: float) -> tuple[np.ndarray, np.ndarray]:
        grid = np.stack(np.broadcast_arrays(columns[None, :], -rows[:, None], np.float32(z)))
        grid = grid + np.float32(who.shift)[:, None, None]
        place = np.tensordot(matrix, grid, axes=1)
        place += np.float32(2.6 * who.warp) * np.stack([f(z) for f in broad])
        finer = 1.2 * np.stack([f(z) for f in fine]) + 0.4 * np.stack([f(z) for f in finest])
        return place, np.float32(who.warp) * finer

    return at


def _brain(who: Person, x, y, z, depth, noise) -> dict[str, np.ndarray]:
    """Grey, white and fluid fractions inside the hull, hardened; flat arrays."""
    maps = template()
    grey = np.clip(sample(maps.grey, x, y, z, 3), 0, 1)
    white = np.clip(sample(maps.white, x, y, z, 3), 0, 1)
    fluid = np.clip(1 - grey - white, 0, 1)
    deep = np.exp(-(((x / 34) ** 2 + ((y + 8) / 34) ** 2 + ((z - 2) / 22) ** 2) ** 2))
    ventricle = np.clip(sample(maps.ventricle, x, y, z, 1, 2, 32), 0, 1)
    # Sulci that the average has blurred away return where fluid is a fair minority, and new ones
    # open along the sheets where a noise is zero; grey matter lines them.
    sheet = np.abs(noise[4]) * 5
    convex = ramp(depth, -17, -5) * ramp(z, -20, 0) * ramp(noise[3], -0.8, 0.4)
    sulcus = convex * np.exp(-((sheet / 0.8) ** 2)) * (1 - ramp(white, 0.35, 0.7))
    lining = convex * np.exp(-((sheet / 3.0) ** 2))
    bias = (0.7 + who.atrophy) * (1 - deep) + who.ventricles * ventricle + 3.0 * sulcus
    strength = 1 - 0.8 * deep
    odds = np.stack(
        [
            np.log(grey + 0.02) + 0.28 * noise[0] * strength + lining,
            np.log(white + 0.02) + 0.22 * noise[1] * strength - 1.6 * lining,
            np.log(fluid + 0.01) + bias + 0.4 * noise[2] * strength,
        ]
    )
    odds *= 4.5 - 2.3 * deep  # deep nuclei are mixtures: harden them less
    odds = np.exp(odds - odds.max(axis=0))
    grey, white, fluid = odds / odds.sum(axis=0)
    return {"grey": grey, "white": white, "csf": fluid}


def _disease(who: Person, seed: int, layers: dict, x, y, z, noise, edge: float) -> None:
    """White-matter hyperintensities, and in some people one enhancing mass with oedema."""
    rng = np.random.default_rng([seed, 4])
    white = layers["white"]
    for _ in range(who.white_lesions):
        side = rng.choice([-1, 1])
        centre = (side * rng.uniform(14, 34), rng.uniform(-60, 45), rng.uniform(2, 42))
        radii = rng.uniform(1.2, 4.5) * rng.uniform(0.7, 1.6, 3)
        if np.abs(z - centre[2]).min() > radii[2] + 2:
            continue
        spot = inside(ellipsoid(x, y, z, centre, radii) + 0.8 * noise[2], 1.5)
        paint(layers, "hyperintensity", 0.85 * spot * np.clip(layers["white"] * 1.2, 0, 1))
    if who.tumour is not None and np.abs(z - who.tumour[0][2]).min() < 3 * who.tumour[1]:
        centre, r = who.tumour
        d = ellipsoid(x, y, z, centre, (r, 1.15 * r, r)) + 0.18 * r * noise[0] + noise[2]
        swelling = ramp(-d + 0.9 * r + 2 * noise[1], 0, 5) * white
        paint(layers, "oedema", 0.8 * swelling)
        paint(layers, "enhancing", inside(d, max(edge, 1)))
        paint(layers, "csf", 0.75 * inside(d + max(3.0, 0.4 * r), 1.5))  # a necrotic core


def tissues(shape: tuple[int, int, int], seed: int) -> dict[str, np.ndarray]:
    """Fraction of each tissue in each pixel.

    Parameters
    ----------
    shape : (slices, height, width)
    seed : the person

    Returns
    -------
    tissue name -> (slices, height, width) float32; the sum over tissues is at most 1, the rest
    is air
    """
    check_request(shape, "T1", CONTRASTS)
    return stack(_slices(shape, seed), shape)


def _slices(shape: tuple[int, int, int], seed: int):
    """Yield the tissue fractions of each slice, {name: (height, width)}."""
    who = person(seed)
    rows, columns, pixel = axes(*shape[1:], who.field_of_view)
    edge = max(pixel, 0.35)
    rng = np.random.default_rng([seed, 3])
    # Noises of falling scale for odds and textures; then one for the bones, one for new sulci.
    noises = [noise3d(rng, rows, columns, s) for s in (9, 4.5, 3.2, 30, 8)]
    bend = _bend(who, seed, rows, columns)
    across = (who.rotation * who.scale[:, None])[:, 2]
    maps = template()
    for level in levels(who, shape[0]):
        noise = np.stack([f(level) for f in noises])
        place, finer = bend(level)
        x, y, height = place
        depth = sample(maps.depth, x, y, height, 1, 2, 32)
        layers = head.outside(x, y, height, depth, noise, pixel, THICKNESS)
        hull = depth < 4
        brain = {n: np.zeros(x.shape, np.float32) for n in ("grey", "white", "csf")}
        within = (place + finer)[:, hull]
        for step in (-0.29, 0.29):  # two-point rule over the thickness of the slice
            at = within + (step * THICKNESS * across)[:, None].astype(np.float32)
            for name, cover in _brain(who, *at, depth[hull], noise[:, hull]).items():
                brain[name][hull] += 0.5 * cover
        _disease(who, seed, brain, x, y, height, noise, edge)
        inner = slab(depth - head.inner_table(noise), pixel, THICKNESS)
        paint(layers, None, inner)
        for name, cover in brain.items():
            layers[name] = layers.get(name, 0) + cover * inner
        head.inclusions(layers, x, y, height, depth, noise, edge)
        yield layers


def render(shape: tuple[int, int, int], contrast: str, seed: int) -> np.ndarray:
    """Draw an axial brain.

    Parameters
    ----------
    shape : (slices, height, width), at least 32 x 32; square pixels, the shorter side spans the
        field of view (216 to 232 mm)
    contrast : T1, T2, FLAIR or T1POST
    seed : the person: the same seed shows the same anatomy in every contrast and on every grid

    Returns
    -------
    (slices, height, width) float32 magnitude, bright tissues near 1, air exactly 0

    Raises
    ------
    InputError
        If the contrast is unknown or the shape too small.
    """
    check_request(shape, contrast, CONTRASTS)
    value = signals(contrast, np.random.default_rng([seed, 5, CONTRASTS.index(contrast)]))
    who = person(seed)
    rows, columns, pixel = axes(*shape[1:], who.field_of_view)
    rng = np.random.default_rng([seed, 6])
    image = np.zeros(shape, np.float32)
    for k, layers in enumerate(_slices(shape, seed)):
        fine = noise2d(rng, rows, columns, 0.6, pixel)
        patchy = noise2d(rng, rows, columns, 3.5, pixel)
        for name, cover in layers.items():
            grain = head.GRAIN.get(name, 0.02)
            image[k] += value[name] * cover * (1 + grain * (fine + patchy))
    bias = noise2d(rng, rows, columns, 90)
    return np.clip(image * np.exp(0.06 * bias), 0, None).astype(np.float32)
