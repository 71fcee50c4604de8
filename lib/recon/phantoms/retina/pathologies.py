"""What diseases of the macula do to the layers: from a first sign (stage 0) to late (stage 1)."""

from collections.abc import Callable

import numpy as np

from recon.phantoms.retina.anatomy import Scan, smooth, waves
from recon.phantoms.texture import ramp

__all__ = ["CHANGES", "Change"]

Change = Callable[[Scan, float, np.random.Generator], None]


def _places(
    rng: np.random.Generator, scan: Scan, count: int, reach: float = 1.5
) -> list[tuple[float, float]]:
    """Positions (x, y) in mm within what the volume shows, most of them near the fovea."""
    low, high = scan.x.min() + 0.2, scan.x.max() - 0.2
    around = float(scan.y.mean()), float(np.ptp(scan.y) / 2 + 0.05)
    return [
        (
            float(np.clip(rng.normal(0, reach / 1.5), low, high)),
            rng.uniform(around[0] - around[1], around[0] + around[1]),
        )
        for _ in range(count)
    ]


def _bell(scan: Scan, x: float, y: float, radius: float) -> np.ndarray:
    return np.exp(-((scan.x - x) ** 2 + (scan.y - y) ** 2) / (2 * radius**2))


def drusen(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """Deposits between the pigment epithelium and Bruch's membrane; the layers above arch."""
    for x, y in _places(rng, scan, int(4 + 12 * stage)):
        radius = rng.uniform(0.045, 0.07 + 0.10 * stage)
        height = min(rng.uniform(15, 40 + 70 * stage), 800 * radius)
        bump = _bell(scan, x, y, radius)
        scan.thickness["drusen"] = np.maximum(scan.thickness["drusen"], height * bump)
    scan.thickness["drusen"] = smooth(scan, scan.thickness["drusen"], 0.03)
    worn = np.clip(scan.thickness["drusen"] / 110, 0, 0.6)
    for name in ("segments", "EZ", "myoid"):
        scan.thickness[name] *= 1 - worn
        scan.gain[name] *= 1 - 0.7 * worn
    scan.thickness["ONL"] *= 1 - 0.5 * worn
    if stage > 0.6:  # pigment that has moved into the retina
        for x, y in _places(rng, scan, rng.integers(1, 5)):
            scan.blobs.append(("ONL", x, y, rng.uniform(0.3, 0.9), 0.03, 9, 0.85))


def oedema(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """Fluid within the retina: swollen layers, cysts in the inner and outer nuclear layer."""
    x, y = _places(rng, scan, 1, 0.5)[0]
    swelling = (0.3 + 0.7 * stage) * _bell(scan, x, y, rng.uniform(0.5, 0.9))
    for name, amount in (("INL", 60), ("ONL", 120), ("OPL", 12), ("IPL", 12), ("GCL", 10)):
        scan.thickness[name] = scan.thickness[name] + amount * swelling
    for _ in range(int(14 + 60 * stage)):
        layer = "ONL" if rng.random() < 0.5 else "INL"
        away = rng.normal(0, 0.25 + 0.3 * stage, 2)
        size = rng.uniform(0.5, 1.0) * (0.5 + 0.5 * stage)
        scan.blobs.append(
            (
                layer,
                x + away[0],
                y + 0.8 * away[1],
                rng.uniform(0.35, 0.65),
                rng.uniform(0.06, 0.20) * size * (1.2 if layer == "ONL" else 1),
                (110 if layer == "ONL" else 55) * size,
                rng.uniform(0.10, 0.24),
            )
        )
    for x2, y2 in _places(rng, scan, rng.integers(0, 2 + int(8 * stage))):  # hard exudates
        scan.blobs.append(("OPL", x2, y2, rng.uniform(0, 1), rng.uniform(0.02, 0.05), 12, 0.9))


def serous_detachment(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """A dome of clear fluid under the retina, whose outer segments grow long and shaggy."""
    x, y = _places(rng, scan, 1, 0.6)[0]
    radius, height = rng.uniform(0.5, 0.8) + 0.6 * stage, 50 + 190 * stage * rng.uniform(0.6, 1)
    away = ((scan.x - x) ** 2 + (1.2 * (scan.y - y)) ** 2) / radius**2
    dome = smooth(scan, np.clip(1 - away, 0, None), 0.07)
    fluid = height * dome * (1 + 0.06 * waves(rng, scan.x, scan.y, 0.5))
    shaggy = 0.35 * stage * ramp(dome, 0, 0.4) * (1 + waves(rng, scan.x, scan.y, 0.06))
    longer = np.clip(scan.thickness["segments"] * np.clip(shaggy, -0.4, 1.2), None, 0.7 * fluid)
    scan.thickness["segments"] = scan.thickness["segments"] + longer
    scan.thickness["fluid"] = fluid - np.maximum(longer, 0)
    if rng.random() < 0.4:  # a small detachment of the pigment epithelium with it
        below = 50 * stage * _bell(scan, x, y, 0.14)
        scan.thickness["drusen"] = scan.thickness["drusen"] + below
        scan.thickness["fluid"] = np.maximum(scan.thickness["fluid"] - below, 0)


def vitreous_detachment(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """The hind face of the vitreous lifts off, at first still held at the fovea."""
    gap = (25 + 110 * stage) * (1 + 0.25 * waves(rng, scan.x, scan.y, 1.5))
    held = np.exp(-((scan.radius / rng.uniform(0.25, 0.6)) ** 2)) if stage < 0.6 else 0
    slope = 1 + rng.normal(0, 0.15) * scan.x
    scan.hyaloid, scan.held = np.maximum(gap * slope, 0), held + 0 * gap
    if stage < 0.6 and rng.random() < 0.5:  # pulled at: the pit is lifted, a cyst below it
        pull = np.exp(-((scan.radius / 0.35) ** 2)) * (0.4 + stage)
        scan.thickness["INL"] = scan.thickness["INL"] + 25 * pull
        scan.thickness["ONL"] = scan.thickness["ONL"] + 45 * pull
        scan.blobs.append(("INL", 0.0, 0.0, 0.5, 0.07, 14 + 20 * stage, 0.14))


def myopia(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """A long eye: steep bowl, thin choroid, somewhat thinner retina."""
    middle = rng.normal(0, 0.5)
    scan.bottom += (12 + 34 * stage) * ((scan.x - middle) ** 2 + scan.y**2)
    scan.thickness["choroid"] = np.maximum(scan.thickness["choroid"] * (0.65 - 0.4 * stage), 35)
    for name in ("GCL", "IPL", "INL", "ONL"):
        scan.thickness[name] = scan.thickness[name] * (1 - 0.08 * stage)


def atrophy(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """Geographic atrophy: no photoreceptors, no pigment epithelium, light passes below."""
    zone, around = np.zeros_like(scan.bottom), np.zeros_like(scan.bottom)
    for x, y in _places(rng, scan, int(1 + 3 * stage), 0.8):
        radius = rng.uniform(0.15, 0.35) + 0.5 * stage * rng.random()
        rim = np.hypot(scan.x - x, scan.y - y) + 0.05 * waves(rng, scan.x, scan.y, 0.15)
        zone = np.maximum(zone, ramp(-rim, -radius - 0.06, -radius + 0.06))
        around = np.maximum(around, ramp(-rim, -radius - 0.2, -radius + 0.2))
    for name, left in (("ELM", 0), ("myoid", 0), ("EZ", 0), ("segments", 0.05), ("RPE", 0.35)):
        scan.thickness[name] = scan.thickness[name] * (1 - (1 - left) * zone)
    scan.thickness["ONL"] = scan.thickness["ONL"] * (1 - (0.3 + 0.4 * stage) * around)
    scan.gain["RPE"] = scan.gain["RPE"] * (1 - 0.15 * zone)
    streaks = 1 + 0.12 * waves(rng, scan.x, scan.y, 0.05)
    scan.below = scan.below * (1 + 0.40 * zone * streaks)
    drusen(scan, 0.4 * stage, rng)


def epiretinal_membrane(scan: Scan, stage: float, rng: np.random.Generator) -> None:
    """A bright film on the retina that draws it into folds and fills its pit."""
    extent = ramp(waves(rng, scan.x, scan.y, 1.2), -1.2, 0.2)
    scan.thickness["membrane"] = (6 + 8 * stage) * extent
    folds = waves(rng, scan.x, scan.y, 0.11)
    scan.thickness["NFL"] = np.maximum(
        scan.thickness["NFL"] + (3 + 8 * stage) * extent * np.abs(folds), 2
    )
    fill = stage * extent * np.exp(-((scan.radius / 0.5) ** 2))
    for name, amount in (("GCL", 18), ("IPL", 22), ("INL", 34), ("ONL", 30)):
        scan.thickness[name] = scan.thickness[name] + amount * fill


CHANGES: dict[str, Change] = {
    "drusen": drusen,
    "oedema": oedema,
    "serous_detachment": serous_detachment,
    "vitreous_detachment": vitreous_detachment,
    "myopia": myopia,
    "atrophy": atrophy,
    "epiretinal_membrane": epiretinal_membrane,
}
