"""Coronal knee in PD and fat-suppressed PD, the femur above the tibia, drawn in three dimensions.

Slices run from the knee cap in front to the calf behind. All shapes (`joint`) are implicit
surfaces in mm, bent by smooth noise, so every slice cuts the same knee.
"""

from typing import NamedTuple

import numpy as np

from recon.phantoms import joint
from recon.phantoms.signals import TISSUES, signals
from recon.phantoms.texture import (
    axes,
    between,
    check_request,
    ellipsoid,
    inside,
    noise2d,
    noise3d,
    noise_at,
    paint,
    ramp,
    slab,
    smooth_min,
    tube,
)

CONTRASTS = ("PD", "PDFS")
THICKNESS = 3.0  # of a slice, mm


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


def _positions(who: Knee, seed: int, z: np.ndarray, rows: np.ndarray, columns: np.ndarray):
    """Anatomical coordinates (3, slices, height, width) of every pixel, bent by smooth noise."""
    side = -1 if who.left else 1
    grid = np.stack(
        np.broadcast_arrays(side * columns[None, None, :], -rows[None, :, None], z[:, None, None])
    ).astype(np.float32)
    grid -= who.shift[:, None, None, None]
    place = np.tensordot(who.rotation / who.scale, grid, axes=1).astype(np.float32)
    rng = np.random.default_rng([seed, 12])
    for spacing, amplitude in ((30, 1.8), (12, 0.7), (5, 0.22)):
        for axis in range(3):
            place[axis] += amplitude * noise3d(rng, z, rows, columns, spacing)
    return place


def _soft_tissue(layers, who: Knee, x, y, z, noise, edge, pixel, seed) -> None:
    """Skin, fat with septa, muscles with fascia and fibres, vessels."""
    rng = np.random.default_rng([seed, 13])
    rim = joint.skin(x, y, z, who.girth)
    paint(layers, "skin", inside(rim, edge))
    paint(layers, "fat", inside(rim + 1.5 + 0.2 * noise[2], edge))
    # Septa run along the skin: ridges of a noise that is long in y and short in depth.
    under = np.clip(1.6 - (-rim) / (who.fat + 3), 0.25, 1)
    for spacing, width in (((2.5, 9.0), 0.06), ((4.0, 16.0), 0.05), ((8.0, 26.0), 0.04)):
        ridge = np.abs(noise_at(rng, rim + 2 * noise[0], y + 0.5 * z, spacing))
        cover = inside((ridge - width) * spacing[0], edge) * inside(rim + 2.5, 2)
        paint(layers, "septum", 0.45 * under * cover)
    nearest, second = joint.muscles(x, y, z, who.bulk)
    deep = rim + who.fat + 1.5 + 1.2 * noise[0]
    belly = np.maximum(nearest + 0.6 * noise[1], deep)
    paint(layers, "septum", 0.6 * between(deep, -0.4, 0.3, edge) * ramp(noise[0], -1.5, 0.3))
    paint(layers, "septum", 0.7 * inside(belly - 0.8, edge))
    paint(layers, "muscle", slab(belly, pixel, THICKNESS))
    seam = np.maximum(second - nearest - 0.7, belly)
    paint(layers, "fat", 0.5 * inside(seam, 1))
    streak = noise_at(rng, x + 0.25 * y + 2 * noise[1], y, (1.6, 16.0))
    paint(layers, "fat", 0.55 * inside(belly, edge) * ramp(streak, 1.5, 2.4))
    for name, path, radius in _VESSELS:
        tube_distance = tube(x, y, z, path, radius) + 0.4 * noise[1]
        paint(layers, "septum", inside(tube_distance - 0.7, edge))
        paint(layers, name, inside(tube_distance, edge))


_VESSELS = (
    ("artery", [(-4, 150, 20), (1, 50, 36), (0, 0, 41), (2, -70, 30), (0, -150, 26)], 3.0),
    ("slow_vein", [(1, 150, 25), (7, 50, 40), (6, 0, 45), (7, -70, 34), (6, -150, 30)], 3.6),
    ("slow_vein", [(-57, 150, 36), (-53, 40, 24), (-50, -20, 12), (-49, -150, -14)], 1.7),
    ("slow_vein", [(-42, 34, -2), (-34, 40, 10), (-14, 42, 26)], 0.9),
    ("slow_vein", [(43, 30, 2), (30, 36, 16), (12, 40, 28)], 0.9),
    ("slow_vein", [(-42, -20, 0), (-38, -16, 14), (-10, -14, 34)], 0.8),
    ("artery", [(44, -12, -4), (38, -14, 8), (12, -12, 34)], 0.8),
)


def _joint(layers, who: Knee, x, y, z, noise, edge, seed) -> dict[str, np.ndarray]:
    """Capsule, fluid, ligaments, cartilage and menisci; returns the bones' distances."""
    rng = np.random.default_rng([seed, 17])
    femur = joint.femur(x, y, z)
    tibia = joint.tibia(x, y, z, who.space)
    bones = {
        "femur": femur,
        "tibia": tibia,
        "fibula": joint.fibula(x, y, z),
        "patella": joint.patella(x, y, z),
    }
    both = smooth_min(femur, tibia, 16)
    # The cavity: what is near both bones, and recesses beside the condyles that an effusion opens.
    cavity = np.maximum(femur, tibia) - 7 + 0.8 * noise[1]
    paint(layers, "septum", 0.8 * between(cavity, 0, 1.2, edge) * inside(both - 4, 2))
    cavity = np.maximum(cavity, both - 2.2)
    paint(layers, "fluid", inside(cavity, edge))
    # Gutters beside the condyles, thickest at half height, and the pouch above the knee cap.
    swell = 0.3 + who.effusion * np.clip(1 - ((y - 17) / (19 + 2 * noise[0])) ** 2, 0, 1)
    gutter = np.maximum(np.abs(femur) - swell, 27 - np.abs(x) - np.clip(-z - 12, 0, 30))
    gutter = np.maximum(gutter + 0.3 * noise[1], np.abs(y - 17) - 20)
    paint(layers, "fluid", inside(gutter, edge))
    pouch = np.abs(femur - 3 - noise[0]) - 0.2 - 0.9 * who.effusion * ramp(noise[0] + 1, -1, 2)
    pouch = np.maximum(pouch, np.maximum(z + 14, np.abs(y - 50) - 14 - 3 * noise[0]))
    paint(layers, "fluid", inside(pouch, edge))
    # In the notch: fatty synovium, then the cruciate ligaments.
    paint(layers, "fat", 0.6 * inside(np.maximum(joint.notch(x, y, z), 4 - y), 2))
    fibres = 0.75 + 0.1 * noise_at(rng, x - 0.35 * y, y, (1.0, 8.0))
    anterior = tube(x, y, z, [(0, -8, -9), (4, 6, 4), (9, 22, 19)], [5.0, 4.2, 4.5])
    posterior = tube(x, y, z, [(0, -14, 30), (-2, 4, 22), (-7, 15, 4)], [5, 5.5, 5.5])
    paint(
        layers, "fluid", 0.5 * inside(np.minimum(anterior, posterior) - 0.8 - 0.8 * noise[1], 1.5)
    )
    paint(layers, "ligament", inside(anterior, edge) * np.clip(fibres, 0, 1))
    paint(layers, "ligament", inside(posterior, edge))
    # Collateral ligaments and the iliotibial band hug the bones.
    taper = np.clip(1 - ((y + 8) / 38) ** 2, 0, 1)
    medial = np.abs(both - 0.8 - 2 * taper - 0.3 * noise[0]) - 1.2 * np.sqrt(taper)
    medial = np.maximum(np.maximum(medial, np.abs(z - 3) - 11), x)
    paint(layers, "ligament", inside(medial, edge))
    paint(layers, "ligament", inside(tube(x, y, z, [(41, 23, 5), (40, -16, 19)], 1.8), edge))
    band = np.abs(both - 1 - 5 * ramp(y, -16, 14) - 0.4 * noise[0]) - 0.9 * ramp(y, -17, -8)
    band = np.maximum(np.maximum(band, np.abs(z + 14) - 10), np.maximum(-17 - y, 12 - x))
    paint(layers, "ligament", 0.9 * inside(band, edge))
    popliteus = [(40, 6, 9), (37, -4, 19), (20, -16, 30)]
    paint(layers, "ligament", inside(tube(x, y, z, popliteus, 2.3), edge))
    tendon = tube(x / 3.2, y, z, [(0, 12, -42), (0.6, -36, -29)], 3.0)
    tendon = np.minimum(tendon, tube(x / 4, y, z, [(0, 40, -40), (0, 150, -46)], 3.4))
    paint(layers, "ligament", inside(tendon, edge))
    # Cartilage on the sides of the bones that face the joint.
    thick = who.cartilage + 0.2 * noise[0]
    facing = ramp(17 + 0.8 * np.clip(z - 16, 0, 25) + 1.6 * np.clip(-z - 14, 0, 20) - y, 0, 8)
    facing = facing * ramp(joint.notch(x, y, z), 1, 3)
    on_femur = between(femur, -1, thick, edge) * facing
    on_tibia = between(tibia, -1, thick, edge) * ramp(y - joint.plateau(x, z, who.space), -1.5, 0)
    on_tibia = on_tibia * ramp(np.abs(x), 7, 9) * ramp(-np.abs(x), -38, -35)
    for cover in (on_femur, on_tibia):
        paint(layers, "cartilage", cover)
    behind = between(bones["patella"], -1, thick, edge) * ramp(z, -40, -36)
    paint(layers, "cartilage", behind)
    for side in (-1, 1):
        wedge = joint.meniscus(x, z, side, femur - thick, tibia - thick)
        paint(layers, "meniscus", inside(wedge, edge) * inside(both - 3, 1))
    return bones


def _bone(layers, who: Knee, bones, x, y, z, noise, pixel) -> None:
    """Cortex, marrow, growth-plate scars, red marrow, marrow oedema."""
    shaft = ramp(np.abs(y), 30, 90)
    for name, distance in bones.items():
        cortex = {"fibula": 1.4, "patella": 1.2}.get(name, 0.9) + 2.6 * shaft + 0.15 * noise[1]
        paint(layers, "bone", slab(distance, pixel, THICKNESS))
        core = slab(distance + cortex, pixel, THICKNESS)
        paint(layers, "marrow", core)
        if name in ("femur", "tibia"):
            level = 27 if name == "femur" else -19
            scar = np.abs(y - level - 1.5 * noise[0] - 0.004 * x * x * np.sign(level)) - 0.25
            paint(layers, "bone", 0.3 * core * inside(scar, 0.8) * ramp(noise[0], -1.5, 0.5))
            island = ramp(who.red_marrow + 0.9 * noise[0] + 0.5 * noise[1], 0, 1)
            paint(layers, "red_marrow", 0.8 * core * island * ramp(np.abs(y), 22, 40))
    if who.oedema is not None:
        centre, r = who.oedema
        cloud = ellipsoid(x, y, z, centre, (r, r, r)) + 0.25 * r * noise[0] + noise[1]
        within = layers.get("marrow", 0) + layers.get("red_marrow", 0)
        paint(layers, "lesion", 0.65 * within * ramp(-cloud, -2, 0.5 * r))


def _slices(shape: tuple[int, int, int], seed: int):
    """Yield the tissue fractions of each slice, {name: (height, width)}."""
    who = subject(seed)
    rows, columns, pixel = axes(*shape[1:], who.field_of_view)
    z = levels(who, shape[0])
    edge = max(pixel, 0.3)
    rng = np.random.default_rng([seed, 14])
    noise = np.stack([noise3d(rng, z, rows, columns, s) for s in (8, 3, 1.3)])
    place = _positions(who, seed, z, rows, columns)
    for k in range(shape[0]):
        x, y, depth = place[:, k]
        layers: dict[str, np.ndarray] = {}
        _soft_tissue(layers, who, x, y, depth, noise[:, k], edge, pixel, seed)
        bones = _joint(layers, who, x, y, depth, noise[:, k], edge, seed)
        _bone(layers, who, bones, x, y, depth, noise[:, k], pixel)
        body = inside(joint.skin(x, y, depth, who.girth), edge)
        yield {name: cover * body for name, cover in layers.items()}


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
    volume: dict[str, np.ndarray] = {}
    for k, layers in enumerate(_slices(shape, seed)):
        for name, cover in layers.items():
            volume.setdefault(name, np.zeros(shape, np.float32))[k] = cover
    return volume


# Relative variation of the signal within a tissue.
_GRAIN = {
    "marrow": 0.06, "red_marrow": 0.06, "fat": 0.05, "muscle": 0.06, "ligament": 0.2,
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
    image = np.zeros(shape, np.float32)
    for k, layers in enumerate(_slices(shape, seed)):
        fine = noise2d(rng, rows, columns, 0.55, pixel)
        upright = noise2d(rng, rows, columns, (1.5, 0.5), pixel)  # trabeculae and muscle fibres
        patchy = noise2d(rng, rows, columns, 3.0, pixel)
        leak = np.exp(0.35 * noise2d(rng, rows, columns, 45)) if contrast == "PDFS" else 1
        for name, cover in layers.items():
            grain = _GRAIN.get(name, 0.03)
            along = upright if name in ("marrow", "red_marrow", "muscle", "ligament") else fine
            grey = value[name] * cover * (1 + grain * (along + 0.7 * patchy))
            image[k] += grey * leak if TISSUES[name].fat > 0.5 else grey
    bias = noise2d(rng, rows, columns, 70)
    return np.clip(image * np.exp(0.07 * bias), 0, None).astype(np.float32)
