"""The shapes of a knee in mm: signed distances, negative inside.

x points to the lateral side, y up, z backwards; the origin is the middle of the joint line. Sizes
are those of an adult knee of average size (the femoral condyles are about 80 mm wide).
"""

import numpy as np

from recon.phantoms.texture import FAR, ellipsoid, ramp, smooth_min, tube


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
    shaft = _column(x, z, 14 + 25.5 * flare, 15 + 10 * flare, 1.5 * (1 - flare), -4)
    shaft = smooth_max(shaft, 17 - y, 10)
    medial = ellipsoid(x, y, z, (-21, 18.5, 6), (19.5, 19, 31), 2.25)
    lateral = ellipsoid(x, y, z, (22, 18.8, 4), (18.5, 18.4, 30), 2.25)
    trochlea = ellipsoid(x, y, z, (1, 24, -14), (31, 19, 15), 2.4)
    body = smooth_min(smooth_min(medial, lateral, 5), smooth_min(shaft, trochlea, 8), 8)
    return smooth_max(body, -notch(x, y, z), 4)


def plateau(x, z, space: float) -> np.ndarray:
    """Height y in mm of the tibial joint surface, with the two spines; `space` lowers it."""
    spines = 6.0 * np.exp(-(((x + 5) / 3.6) ** 2)) + 5.0 * np.exp(-(((x - 5.5) / 3.6) ** 2))
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


def meniscus(x, z, side: int, to_femur, to_tibia) -> np.ndarray:
    """One meniscus: a C-shaped wedge that lies on the tibial cartilage and rises outwards.

    Parameters
    ----------
    side : -1 medial, 1 lateral
    to_femur, to_tibia : distances in mm to the cartilage surfaces
    """
    u, w = (x * side - 21) / 18.5, (z - 3) / (23 if side < 0 else 19)
    r = np.sqrt(u * u + w * w)
    rise = (r - (0.5 if side < 0 else 0.42)) * 18
    open_side = np.minimum(-0.3 - u, 0.72 - np.abs(w)) * 18
    wedge = np.maximum(to_tibia - 0.1 - 0.62 * rise, np.maximum((r - 1.06) * 18, open_side))
    return np.maximum(wedge, np.maximum(0.2 - to_femur, 0.15 - to_tibia))


def muscles(x, y, z, bulk: float) -> tuple[np.ndarray, np.ndarray]:
    """The nearest and the second nearest muscle: distances in mm.

    Where the two are equal lies the fascia that parts them.
    """
    nearest = np.full(x.shape, FAR, np.float32)
    second = nearest.copy()
    for path, radii in _MUSCLES:
        d = tube(x, y, z, path, [r * bulk for r in radii])
        second = np.minimum(second, np.maximum(nearest, d))
        nearest = np.minimum(nearest, d)
    return nearest, second


_MUSCLES = (
    ([(-30, 150, -8), (-35, 62, -12), (-33, 26, -18)], [27, 22, 9]),  # vastus medialis
    ([(-28, 150, 12), (-32, 74, 12), (-36, 34, 8)], [20, 17, 7]),  # adductor magnus
    ([(36, 150, -8), (37, 66, -10), (36, 36, -14)], [23, 16, 4]),  # vastus lateralis
    ([(0, 150, -26), (2, 66, -24)], [18, 7]),  # vastus intermedius
    ([(-40, 150, 18), (-45, 40, 28), (-43, -4, 30), (-36, -40, 12)], [13, 10, 7, 2]),  # sartorius
    ([(36, 150, 30), (43, 36, 34), (40, -8, 28)], [17, 12, 3]),  # biceps femoris, long head
    ([(26, 150, 12), (33, 64, 17), (39, 22, 27)], [19, 16, 6]),  # biceps femoris, short head
    ([(-16, 150, 38), (-20, 34, 42), (-25, 4, 38)], [18, 14, 5]),  # semimembranosus
    ([(-20, 26, 40), (-26, -22, 43), (-28, -150, 36)], [6, 17, 26]),  # gastrocnemius, medial
    ([(20, 25, 40), (24, -22, 42), (26, -150, 34)], [5, 15, 22]),  # gastrocnemius, lateral
    ([(22, -40, 26), (10, -70, 22), (4, -150, 20)], [5, 15, 26]),  # soleus
    ([(-28, -48, 16), (-31, -80, 14), (-28, -150, 12)], [3, 12, 18]),  # flexor digitorum
    ([(-30, -26, 24), (-37, -66, 14), (-36, -150, 8)], [4, 15, 21]),  # soleus, medial part
    ([(14, -14, 31), (-10, -44, 20), (-14, -70, 12)], [5, 11, 5]),  # popliteus
    ([(30, -24, -4), (28, -58, -6), (27, -150, -4)], [3, 15, 19]),  # tibialis anterior
    ([(45, -28, 8), (44, -64, 6), (42, -150, 4)], [3, 12, 16]),  # peroneus longus
)


def skin(x, y, z, girth: float) -> np.ndarray:
    """The outline of the leg: thigh above, calf below."""
    half_x = 55.5 + 17 * ramp(y, 10, 100) + 4 * np.exp(-(((y + 75) / 40) ** 2))
    half_z = 60 + 14 * ramp(y, 10, 100) + 3 * np.exp(-(((y + 75) / 40) ** 2))
    return _column(x, z, half_x * girth, half_z * girth, 1.0, 3.0)
