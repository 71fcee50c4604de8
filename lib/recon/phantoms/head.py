"""What surrounds the brain phantom: vessels, dura, skull, scalp, orbits and skull base.

All functions take template (MNI) coordinates in mm of the pixels of one slice, and `depth`, the
signed distance in mm to the smooth hull of the brain (positive outside).
"""

import numpy as np

from recon.phantoms.texture import (
    between,
    ellipsoid,
    inside,
    paint,
    ramp,
    slab,
    smooth_min,
    tube,
)

# Relative variation of the signal within a tissue.
GRAIN = {
    "white": 0.012, "grey": 0.02, "csf": 0.01, "scalp": 0.06, "muscle": 0.08, "diploe": 0.12,
    "mucosa": 0.15, "skin": 0.06, "plexus": 0.15, "enhancing": 0.08, "bone": 0.2,
}  # fmt: skip


def inner_table(noise: np.ndarray) -> np.ndarray:
    """Depth in mm of the inner surface of the skull."""
    return 1.6 + 0.7 * noise[3]


def _outline(x, y, z, depth, noise) -> np.ndarray:
    """Signed distance in mm to the skin."""
    temple = np.exp(-(((z + 12) / 26) ** 2) - ((y - 15) / 30) ** 2) * ramp(np.abs(x), 40, 60)
    vault = depth - (14.5 + 5 * temple + 1.5 * noise[3])
    face = ellipsoid(x, y, z, (0, 28, -52), (67, 64, 72))
    nape = ellipsoid(x, y, z, (0, -48, -92), (66, 62, 66))
    nose = tube(x, y, z, [(0, 84, -28), (0, 104, -62)], [8, 12])
    skin = smooth_min(smooth_min(vault, face, 20), nape, 20)
    return smooth_min(skin, nose, 12)


def outside(x, y, z, depth, noise, pixel: float, thickness: float) -> dict[str, np.ndarray]:
    """Tissue fractions {name: (height, width)} of the head around the brain.

    From the outside in: skin, fat, muscle, bone with marrow, dura; then the face.
    """
    layers: dict[str, np.ndarray] = {}
    edge = max(pixel, 0.35)
    skin = _outline(x, y, z, depth, noise)
    paint(layers, "skin", slab(skin, pixel, thickness))
    paint(layers, "scalp", slab(skin + 1.5 + 0.15 * noise[2], pixel, thickness))
    # Muscle fills what lies deeper than the fat; on the vault only a thin galea remains of it.
    fat = 3.6 + 1.0 * noise[3] + 3 * ramp(-z, 25, 60)
    fibres = 0.8 - 0.5 * ramp(noise[2], 0.6, 1.6)
    paint(layers, "muscle", slab(skin + 1.5 + fat, pixel, thickness) * fibres)
    _face(layers, x, y, z, noise, edge)
    # The vault: outer table, marrow, inner table, dura.
    inner = inner_table(noise)
    thick = 7.2 + 1.3 * noise[3]
    thick = thick * (1 - 0.4 * ramp(np.abs(x), 50, 66) * ramp(-z, -25, 10))
    base = ramp(-z, 5, 25)
    shell = slab(depth - inner - thick, pixel, thickness) - slab(depth - inner, pixel, thickness)
    paint(layers, "bone", np.clip(shell, 0, 1))
    marrow = between(depth, inner + 1.6, inner + thick - 1.5, 1.2)
    paint(layers, "diploe", marrow * ramp(0.5 * noise[0] + 1.0 - 0.9 * base, -0.3, 0.6))
    _skull_base(layers, x, y, z, depth, noise, edge)
    paint(layers, "dura", 0.7 * between(depth, inner - 0.1, inner + 0.6, edge))
    return layers


def _skull_base(layers, x, y, z, depth, noise, edge: float) -> None:
    """Clivus and sphenoid sinus."""
    clivus = ellipsoid(x, y, z, (0, 0, -40), (13, 8, 22))
    clivus = np.maximum(clivus + noise[0], 1 - depth)
    paint(layers, "bone", inside(clivus, edge))
    paint(layers, "diploe", inside(clivus + 1.2, 1.2))
    for side in (-1, 1):
        sinus = ellipsoid(side * x, y, z, (7, 18, -38), (9, 13, 11)) + 1.8 * noise[0]
        _air_space(layers, np.maximum(sinus, 2 - depth), edge)


def _air_space(layers, distance, edge: float) -> None:
    paint(layers, "bone", inside(distance - 1.2, 1.2))
    paint(layers, "mucosa", inside(distance - 0.2, edge))
    paint(layers, None, inside(distance + 0.7, 1))


def _face(layers, x, y, z, noise, edge: float) -> None:
    """Orbits with globes, muscles and nerve; ethmoid and frontal sinuses; nasal cavity."""
    for side in (-1, 1):
        u = x * side
        cone = tube(u, y, z, [(14, 22, -30), (33, 58, -34), (34, 66, -34)], [5, 17, 17])
        paint(layers, "bone", inside(np.maximum(cone - 1.8, y - 62), 1.5))
        paint(layers, "scalp", inside(cone, 1))
        recti = (
            [(20, 66, -36), (17, 46, -35), (15, 24, -31)],
            [(48, 62, -36), (40, 44, -35), (17, 24, -31)],
        )
        for path in recti:
            paint(layers, "muscle", inside(tube(u, y, z, path, [1.2, 2.4, 1.5]), edge))
        for rise in (-9, 9):
            path = [(33, 64, -35 + rise), (26, 44, -33 + rise), (15, 24, -30)]
            paint(layers, "muscle", inside(tube(u, y, z, path, [1.5, 2.4, 1.5]), edge))
        nerve = tube(u, y, z, [(33, 54, -36), (24, 38, -34), (13, 22, -29)], [1.9, 1.9, 1.9])
        paint(layers, "csf", inside(nerve - 1.0, edge))
        paint(layers, "white", inside(nerve, edge))
        globe = ellipsoid(u, y, z, (34, 66, -36), (12.2, 12.4, 12.2))
        paint(layers, "muscle", 0.7 * inside(np.maximum(globe - 5, 70 - y), 2))  # the lids
        paint(layers, "dura", inside(globe, edge))
        paint(layers, "vitreous", inside(globe + 0.9, edge))
        paint(layers, "lens", inside(ellipsoid(u, y, z, (34, 74.3, -36), (4.6, 2.2, 4.6)), edge))
        frontal = ellipsoid(u, y, z, (11, 76, 0), (9, 5.5, 13)) + 1.5 * noise[0]
        _air_space(layers, frontal, edge)
    nasal = ellipsoid(x, y, z, (0, 52, -48), (14, 32, 24)) + 0.8 * noise[0]
    _air_space(layers, nasal, edge)
    cells = ramp(np.cos(y / 1.9 + noise[0]) * np.cos(x / 1.5 + noise[1]) - 0.15, 0, 0.4)
    paint(layers, "mucosa", inside(nasal + 1, edge) * (0.15 + 0.6 * cells * ramp(np.abs(x), 3, 6)))
    paint(layers, "bone", inside(nasal, edge) * inside(np.abs(x + noise[0]) - 0.5, edge))


def inclusions(layers: dict[str, np.ndarray], x, y, z, depth, noise, edge: float) -> None:
    """Paint bones of the base, falx, arteries, dural sinuses and choroid plexus into `layers`."""
    for side in (-1, 1):
        # The petrous bone fills the wedge of space between temporal lobe and cerebellum.
        petrous = ellipsoid(x * side, y, z, (45, -28, -40), (24, 16, 14)) + 1.5 * noise[0]
        free = 1 - ramp(layers.get("grey", 0) + layers.get("white", 0), 0.1, 0.6)
        cover = inside(petrous, 2) * free * inside(depth - 8, 2)
        paint(layers, "bone", cover)
        paint(layers, "mucosa", cover * 0.5 * ramp(noise[2] - 0.9, 0, 0.6))
    fluid = layers.get("csf", np.zeros_like(x))
    roof = ramp(-z, 8, 15) * ramp(y, 16, 28) * ramp(depth, -7, -2) * ramp(np.abs(x), 6, 12)
    paint(layers, "bone", 0.8 * fluid * roof)
    falx = inside(np.abs(x + 0.5 * noise[0]) - 0.45, edge) * ramp(z, -5, 10)
    paint(layers, "dura", 0.8 * falx * np.clip(fluid * 1.5, 0, 1) * inside(depth + 2, 2))
    for path, radius in _ARTERIES:
        for side in (-1, 1):
            paint(
                layers, "artery", inside(tube(side * x, y, z, path, radius) + 0.3 * noise[2], edge)
            )
    sagittal = np.maximum(np.abs(x + noise[0]) - (1.2 + 0.75 * (depth + 3)), depth - 4.0)
    sagittal = np.maximum(sagittal, np.minimum(y - 45, 40 - z))
    sagittal = np.maximum(sagittal, -z - 8)
    paint(layers, "vein", inside(sagittal, edge))
    transverse = np.abs(z + 22 - 0.12 * np.abs(x)) + 0.8 * np.abs(depth - 0.5 - noise[3]) - 3.2
    paint(layers, "vein", inside(np.maximum(transverse, y + 52), edge))
    straight = tube(x, y, z, [(0, -42, 8), (0, -92, -12)], 2.0)
    paint(layers, "vein", inside(straight, edge))
    for side in (-1, 1):
        path = [(side * 17, -28, 16), (side * 24, -40, 8), (side * 26, -34, -4)]
        plexus = tube(x, y, z, path, [1.5, 3.2, 1.5]) + 0.7 * noise[2]
        paint(layers, "plexus", inside(plexus, edge) * np.clip(1.3 * fluid, 0, 1))


_ARTERIES = (
    ([(0, -10, -60), (0, -15, -40), (0, -13, -18)], [2.2, 2.0, 1.8]),  # basilar
    ([(22, 0, -60), (20, 2, -40), (12, 8, -28), (13, 4, -17)], [2.6, 2.6, 2.5, 2.2]),  # carotid
    ([(13, 4, -17), (26, 6, -17), (37, 2, -15), (42, -4, -4), (44, -22, 8)], [2, 1.8, 1.6, 1.3, 1]),
    ([(13, 6, -17), (3, 18, -14), (2, 34, -4), (2, 42, 10), (2, 30, 26), (2, 4, 32)],
     [1.6, 1.5, 1.4, 1.3, 1.2, 1.0]),
    ([(1, -13, -18), (12, -18, -16), (22, -32, -8), (14, -52, 0)], [1.5, 1.4, 1.2, 1.0]),
)  # fmt: skip
