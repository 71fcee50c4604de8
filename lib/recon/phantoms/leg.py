"""What fills the shapes of `joint`: soft tissue, ligaments, cartilage, bone.

Positions are in the mm of `joint`; `noise` is (2, height, width), smooth fields of unit variance
at scales of 8 and 3 mm; `who` is a `knee.Knee`.
"""

import numpy as np

from recon.phantoms import joint
from recon.phantoms.texture import (
    between,
    ellipsoid,
    inside,
    noise_at,
    paint,
    ramp,
    slab,
    smooth_min,
    tube,
)


def layers(who, x, y, z, noise, pixel: float, thickness: float, seed: int) -> dict[str, np.ndarray]:
    """Tissue fractions {name: (height, width)} of one slice, painted from the skin inwards."""
    painted: dict[str, np.ndarray] = {}
    _soft_tissue(painted, who, x, y, z, noise, pixel, thickness, seed)
    bones = _joint(painted, who, x, y, z, noise, max(pixel, 0.3), seed)
    _bone(painted, who, bones, x, y, z, noise, pixel, thickness)
    body = slab(joint.skin(x, y, z, who.girth), pixel, thickness)
    return {name: cover * body for name, cover in painted.items()}


def _soft_tissue(layers, who, x, y, z, noise, pixel, thickness, seed) -> None:
    """Skin, fat with septa, muscles with fascia and fibres, vessels."""
    rng = np.random.default_rng([seed, 13])
    edge = max(pixel, 0.3)
    rim = joint.skin(x, y, z, who.girth)
    paint(layers, "skin", slab(rim, pixel, thickness))
    paint(layers, "fat", slab(rim + 1.5 + 0.15 * noise[1], pixel, thickness))
    # Septa run along the skin: ridges of a noise that is long in y and short in depth.
    under = np.clip(1.6 - (-rim) / (who.fat + 3), 0.25, 1)
    for spacing, width in (((2.5, 9.0), 0.06), ((4.0, 16.0), 0.05), ((8.0, 26.0), 0.04)):
        ridge = np.abs(noise_at(rng, rim + 2 * noise[0], y + 0.5 * z, spacing))
        cover = inside((ridge - width) * spacing[0], edge) * inside(rim + 2.5, 2)
        paint(layers, "septum", 0.45 * under * cover)
    nearest, second = joint.muscles(x, y, z, who.bulk)
    deep = rim + who.fat + 1.5 + 1.2 * noise[0]
    belly = np.maximum(nearest + 0.5 * noise[0] + 0.2 * noise[1], deep)
    paint(layers, "septum", 0.6 * between(deep, -0.4, 0.3, edge) * ramp(noise[0], -1.5, 0.3))
    paint(layers, "septum", 0.7 * inside(belly - 0.8, edge))
    paint(layers, "muscle", slab(belly, pixel, thickness))
    # Fat parts two muscles where they meet steeply; where they merge there is none.
    gap = second - nearest
    steep = np.hypot(*np.gradient(gap, pixel))
    seam = inside(gap / np.maximum(steep, 0.5) - 0.4, 0.8) * ramp(steep, 0.9, 1.5)
    paint(layers, "fat", 0.6 * seam * inside(belly, 1))
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


def _joint(layers, who, x, y, z, noise, edge, seed) -> dict[str, np.ndarray]:
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
    cavity = np.maximum(cavity, both - 0.6)
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
    medial = np.maximum(np.maximum(medial, np.abs(z - 3) - 11), x + 20)
    paint(layers, "ligament", inside(medial, edge))
    paint(layers, "ligament", inside(tube(x, y, z, [(41, 23, 5), (40, -16, 19)], 1.8), edge))
    band = np.abs(both - 1 - 5 * ramp(y, -16, 14) - 0.4 * noise[0]) - 0.9 * ramp(y, -17, -8)
    band = np.maximum(np.maximum(band, np.abs(z + 14) - 10), np.maximum(-17 - y, 20 - x))
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


def _bone(layers, who, bones, x, y, z, noise, pixel, thickness) -> None:
    """Cortex, marrow, growth-plate scars, red marrow, marrow oedema."""
    shaft = ramp(np.abs(y), 30, 90)
    for name, distance in bones.items():
        cortex = {"fibula": 1.4, "patella": 1.2}.get(name, 0.9) + 2.6 * shaft + 0.15 * noise[1]
        paint(layers, "bone", slab(distance, pixel, thickness))
        core = slab(distance + cortex, pixel, thickness)
        paint(layers, "marrow", core)
        if name in ("femur", "tibia"):
            level = 27 if name == "femur" else -19
            scar = np.abs(y - level - 1.5 * noise[0] - 0.004 * x * x * np.sign(level)) - 0.25
            paint(layers, "bone", 0.3 * core * inside(scar, 0.8) * ramp(noise[0], -1.5, 0.5))
            island = ramp(who.red_marrow + 0.8 * noise[0] + 0.15 * noise[1], -0.6, 1.6)
            paint(layers, "red_marrow", 0.8 * core * island * ramp(np.abs(y), 22, 40))
    if who.oedema is not None:
        centre, r = who.oedema
        cloud = ellipsoid(x, y, z, centre, (r, r, r)) + 0.25 * r * noise[0]
        within = layers.get("marrow", 0) + layers.get("red_marrow", 0)
        paint(layers, "lesion", 0.7 * within * ramp(-cloud, -0.35 * r, 0.9 * r))
