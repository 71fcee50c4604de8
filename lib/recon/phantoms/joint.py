"""The shapes of a knee in mm: signed distances, negative inside.

x points to the lateral side, y up, z backwards; the origin is the middle of the joint line. Sizes
are those of an adult knee of average size (the femoral condyles are about 80 mm wide).
"""

import numpy as np

from recon.phantoms.texture import ellipsoid, ramp, smooth_min, tube


def _column(x, z, half_x, half_z, centre_x=0.0, centre_z=0.0) -> np.ndarray:
    """Distance to a vertical column of elliptic section whose half-widths vary with height."""
    u, w = (x - centre_x) / half_x, (z - centre_z) / half_z
    k0 = np.sqrt(u * u + w * w)
    k1 = np.sqrt((u / half_x) ** 2 + (w / half_z) ** 2)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-6)


def smooth_max(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Intersection of two distances with a seam rounded over about k mm."""
    return -smooth_min(-a, -b, k)


def notch(x, y, z) -> np.ndarray:
    """The intercondylar notch: an arch, deeper towards the back."""
    return ellipsoid(x, y, z, (1, 5, 24), (10.5, 21, 30), 2.4)


def femur(x, y, z) -> np.ndarray:
    """Shaft, flare, two condyles and the trochlea, less the notch."""
    flare = np.exp(-((np.clip(y - 18, 0, None) / 31) ** 2))
    shaft = _column(x, z, 13.5 + 26 * flare, 13 + 13 * flare, 1.5 * (1 - flare), -5)
    shaft = smooth_max(shaft, 17 - y, 10)
    medial = ellipsoid(x, y, z, (-21, 18.5, 6), (19.5, 19, 31), 2.5)
    lateral = ellipsoid(x, y, z, (22, 18.8, 4), (18.5, 18.4, 30), 2.5)
    trochlea = ellipsoid(x, y, z, (1, 24, -14), (31, 19, 15), 2.4)
    body = smooth_min(smooth_min(medial, lateral, 5), smooth_min(shaft, trochlea, 8), 8)
    return smooth_max(body, -notch(x, y, z), 4)


def plateau(x, z, space: float) -> np.ndarray:
    """Height y in mm of the tibial joint surface, with the two spines; `space` lowers it."""
    spines = 6.5 * np.exp(-(((x + 4.5) / 2.7) ** 2)) + 5.5 * np.exp(-(((x - 5) / 2.7) ** 2))
    dish = 0.003 * ((np.abs(x) - 22) ** 2) * (x < 0)
    return -space + dish + spines * np.exp(-(((z - 3) / 11) ** 2)) - 0.06 * (z - 2)


def tibia(x, y, z, space: float) -> np.ndarray:
    """Plateau with spines, flare, shaft and tuberosity."""
    flare = np.exp(-((np.clip(-8 - y, 0, None) / 27) ** 2))
    body = _column(x, z, 13.5 + 26 * flare, 14 + 13 * flare, -2 * (1 - flare), 3 - 4 * (1 - flare))
    tuberosity = ellipsoid(x, y, z, (2, -34, -17), (9, 16, 10))
    body = smooth_min(body, tuberosity, 10)
    return smooth_max(body, y - plateau(x, z, space), 4)


def fibula(x, y, z) -> np.ndarray:
    """Head below the lateral plateau, thin shaft."""
    path = [(37, -20, 20), (36, -30, 19), (33, -60, 14), (31, -160, 10)]
    return tube(x, y, z, path, [7, 7, 5, 5.5])


def patella(x, y, z) -> np.ndarray:
    """Knee cap, in front of the trochlea."""
    return ellipsoid(x, y, z, (2, 27, -40), (21, 21, 9.5), 2.3)


def meniscus(x, y, z, side: int, to_femur, to_tibia) -> np.ndarray:
    """One meniscus: what a C-shaped ring leaves free between the two cartilages.

    The gap opens outwards, which is what makes the section a triangle.

    Parameters
    ----------
    side : -1 medial, 1 lateral
    to_femur, to_tibia : distances in mm to the cartilage surfaces
    """
    u, w = (x * side - 21) / 18.5, (z - 3) / (23 if side < 0 else 19)
    r = np.sqrt(u * u + w * w)
    ring = np.maximum(r - 1.06, (0.5 if side < 0 else 0.42) - r) * 18
    ring = np.maximum(ring, np.minimum(-0.3 - u, 0.72 - np.abs(w)) * 18)
    lips = np.maximum(0.25 - to_femur, 0.25 - to_tibia)
    return np.maximum(np.maximum(ring, lips), np.abs(y + 1.5) - 5.5)


def muscles(x, y, z, bulk: float) -> tuple[np.ndarray, np.ndarray]:
    """The nearest and the second nearest muscle: distances in mm.

    Where the two are equal lies the fascia that parts them.
    """
    nearest = np.full(np.broadcast(x, y, z).shape, 1e3, np.float32)
    second = nearest.copy()
    for path, radii in _MUSCLES:
        if all(abs(p[2] - z.mean()) > r * bulk + 22 for p, r in zip(path, radii, strict=True)):
            continue
        d = tube(x, y, z, path, [r * bulk for r in radii])
        second = np.minimum(second, np.maximum(nearest, d))
        nearest = np.minimum(nearest, d)
    return nearest, second


_MUSCLES = (
    ([(-30, 150, -8), (-35, 62, -12), (-31, 28, -18)], [26, 20, 6]),  # vastus medialis
    ([(36, 150, -8), (37, 66, -10), (35, 40, -14)], [22, 14, 3]),  # vastus lateralis
    ([(0, 150, -26), (2, 66, -24)], [18, 7]),  # vastus intermedius
    ([(-38, 150, 18), (-43, 40, 30), (-40, -4, 32), (-34, -40, 12)], [12, 9, 6, 2]),  # sartorius
    ([(36, 150, 28), (42, 36, 34), (38, -8, 28)], [16, 11, 3]),  # biceps femoris
    ([(-16, 150, 38), (-20, 34, 42), (-25, 4, 38)], [17, 13, 5]),  # semimembranosus
    ([(-20, 26, 40), (-26, -22, 43), (-28, -150, 36)], [6, 15, 25]),  # gastrocnemius, medial
    ([(20, 25, 40), (24, -22, 42), (26, -150, 34)], [5, 13, 20]),  # gastrocnemius, lateral
    ([(12, -38, 26), (4, -150, 22)], [6, 26]),  # soleus
    ([(12, -16, 30), (-12, -48, 18), (-14, -70, 12)], [5, 9, 4]),  # popliteus
    ([(30, -26, -4), (28, -62, -6), (27, -150, -4)], [2, 13, 17]),  # tibialis anterior
    ([(44, -30, 10), (43, -70, 6), (41, -150, 4)], [2, 10, 14]),  # peroneus longus
)


def skin(x, y, z, girth: float) -> np.ndarray:
    """The outline of the leg: thigh above, calf below."""
    half_x = 57 + 17 * ramp(y, 10, 100) + 4 * np.exp(-(((y + 75) / 40) ** 2))
    half_z = 55 + 14 * ramp(y, 10, 100) + 3 * np.exp(-(((y + 75) / 40) ** 2))
    return _column(x, z, half_x * girth, half_z * girth, 1.0, 3.0)
