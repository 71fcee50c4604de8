"""Tissues at 3 T, and the signal equations of the sequences that fastMRI holds.

Relaxation times and proton densities are literature-typical values at 3 T, rounded; fat carries
the longer apparent T2 that a train of echoes gives it. They set the order of the greys, not a
measurement: every volume draws its own within a few percent.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Tissue(NamedTuple):
    """T1 and T2 in ms, proton density relative to water, and the fraction of it that is fat."""

    t1: float
    t2: float
    density: float
    fat: float = 0.0


TISSUES: dict[str, Tissue] = {
    # brain
    "white": Tissue(820, 72, 0.71),
    "grey": Tissue(1430, 98, 0.81),
    "csf": Tissue(4200, 1600, 1.0),
    "iron": Tissue(1000, 58, 0.76),  # pallidum, red nucleus: short T2
    "hyperintensity": Tissue(1450, 170, 0.86),
    "oedema": Tissue(1600, 180, 0.88),
    "enhancing": Tissue(1450, 130, 0.86),
    "plexus": Tissue(1700, 115, 0.88),
    "dura": Tissue(1000, 25, 0.45),
    "mucosa": Tissue(1500, 150, 0.88),
    "vitreous": Tissue(4000, 900, 1.0),
    "lens": Tissue(1000, 25, 0.6),
    "scalp": Tissue(430, 140, 0.72, fat=1.0),
    "diploe": Tissue(560, 90, 0.6, fat=0.8),
    # everywhere
    "skin": Tissue(950, 38, 0.75),
    "fat": Tissue(370, 130, 0.95, fat=1.0),
    "septum": Tissue(900, 40, 0.6),
    "muscle": Tissue(1420, 35, 0.83),
    "bone": Tissue(800, 8, 0.12),
    "marrow": Tissue(380, 115, 0.82, fat=0.93),
    "red_marrow": Tissue(600, 75, 0.82, fat=0.75),
    "artery": Tissue(1650, 60, 0.03),  # flow void: the moving spins miss the echo
    "vein": Tissue(1600, 60, 0.25),
    # knee
    "cartilage": Tissue(1240, 42, 0.86),
    "meniscus": Tissue(900, 12, 0.45),
    "ligament": Tissue(900, 11, 0.45),
    "fluid": Tissue(3600, 700, 1.0),
    "lesion": Tissue(1400, 90, 0.88),  # marrow oedema: water in the place of fat
    "slow_vein": Tissue(1900, 160, 0.9),
}

# The tissues that take up gadolinium, and the T1 (ms) that a usual dose leaves them.
ENHANCED_T1 = {
    "enhancing": 450,
    "plexus": 480,
    "vein": 290,
    "artery": 300,
    "mucosa": 420,
    "dura": 480,
    "muscle": 1000,
    "skin": 600,
}


def flash(t: Tissue, repetition: float, echo: float, flip: float) -> float:
    """Spoiled gradient echo in its steady state (Ernst): times in ms, flip angle in radians."""
    e1 = np.exp(-repetition / t.t1)
    return (
        t.density * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * np.exp(-echo / (0.6 * t.t2))
    )


def spin_echo(t: Tissue, repetition: float, echo: float) -> float:
    """Spin echo, or turbo spin echo at its effective echo time: times in ms."""
    return t.density * (1 - np.exp(-repetition / t.t1)) * np.exp(-echo / t.t2)


def inversion_recovery(t: Tissue, repetition: float, inversion: float, echo: float) -> float:
    """Magnitude of an inversion-recovery turbo spin echo (FLAIR): times in ms."""
    recovered = 1 - 2 * np.exp(-inversion / t.t1) + np.exp(-repetition / t.t1)
    return t.density * abs(recovered) * np.exp(-echo / t.t2)


def null_time(t1: float, repetition: float) -> float:
    """Inversion time in ms at which a tissue of this T1 gives no signal."""
    return t1 * (np.log(2) - np.log1p(np.exp(-repetition / t1)))


def _signal(name: str, t: Tissue, contrast: str, timing: np.ndarray, suppression: float) -> float:
    a, b = timing
    if contrast == "T1":
        return 2.6 * flash(t, 250 * a, 3.0 * b, np.deg2rad(70))
    if contrast == "T1POST":
        t = t._replace(t1=ENHANCED_T1.get(name, t.t1))
        if name in ("vein", "artery"):  # in-flow: vessels no longer look empty
            t = t._replace(density=0.8 if name == "vein" else 0.5)
        return 2.6 * flash(t, 250 * a, 3.0 * b, np.deg2rad(70))
    if contrast == "T2":
        return 1.35 * spin_echo(t, 6000 * a, 100 * b)
    if contrast == "FLAIR":
        repetition = 9000 * a
        inversion = null_time(TISSUES["csf"].t1, repetition)
        return 2.6 * inversion_recovery(t, repetition, inversion, 90 * b)
    if contrast == "PD":
        return 1.12 * spin_echo(t, 2900 * a, 29 * b)
    if contrast == "PDFS":
        return 2.0 * (1 - t.fat * (1 - suppression)) * spin_echo(t, 2900 * a, 33 * b)
    raise KeyError(contrast)


def signals(contrast: str, rng: np.random.Generator) -> Mapping[str, float]:
    """Grey value of every tissue in one volume.

    Parameters
    ----------
    contrast : T1, T2, FLAIR, T1POST (brain) or PD, PDFS (knee)
    rng : draws the timing of the sequence (to 5 percent), the tissue parameters (to 3 percent)
        and how much fat the suppression leaves (7 to 14 percent)

    Returns
    -------
    tissue name -> signal, scaled so that the bright tissues of a picture are near 1
    """
    timing = 1 + 0.05 * rng.uniform(-1, 1, 2)
    suppression = rng.uniform(0.07, 0.14)
    values = {}
    for name, t in TISSUES.items():
        a, b, c = 1 + 0.03 * rng.uniform(-1, 1, 3)
        drawn = Tissue(t.t1 * a, t.t2 * b, min(t.density * c, 1.0), t.fat)
        values[name] = float(_signal(name, drawn, contrast, timing, suppression))
    return values
