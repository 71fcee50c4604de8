"""Thickness of the retina's layers around the fovea, and where a scan puts them.

Lengths down are in micrometres, lengths across in millimetres, as clinicians give them. x runs
towards the nose, y from B-scan to B-scan, both from the fovea. Thicknesses follow published mean
maps of healthy eyes in shape and size (a pit without inner layers, a rim at 1 mm, a nerve fibre
layer that thickens towards the optic disc); every eye scales them its own way.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from recon.phantoms.retina.noise import noise
from recon.phantoms.texture import ramp

#: Layers from the vitreous down; four of them have no thickness in a healthy eye.
LAYERS = (
    "membrane", "NFL", "GCL", "IPL", "INL", "OPL", "ONL", "ELM", "myoid", "EZ", "segments",
    "fluid", "RPE", "drusen", "choriocapillaris", "choroid",
)  # fmt: skip

#: Boundaries that the truth names, from top to bottom: ILM is the upper face of the retina, RPE the
#: upper face of the pigment epithelium, BM Bruch's membrane below it (they part over drusen).
BOUNDARIES = (
    "ILM", "NFL-GCL", "IPL-INL", "INL-OPL", "OPL-ONL", "ELM", "EZ", "RPE", "BM", "choroid-sclera",
)  # fmt: skip

#: The layer that begins at each boundary; None is the sclera.
BEGINS = ("NFL", "GCL", "INL", "OPL", "ONL", "ELM", "EZ", "RPE", "choriocapillaris", None)

PATHOLOGIES = (
    "none", "drusen", "oedema", "serous_detachment", "vitreous_detachment", "myopia", "atrophy",
    "epiretinal_membrane",
)  # fmt: skip

FIELD = (0.96, 4.4)  # mm down and across that a B-scan shows unless told: half of 30 degrees


@dataclass
class Scan:
    """The layers of one eye where its B-scans cut them; pathologies change it in place.

    Attributes
    ----------
    x, y : np.ndarray
        ``(1, W)`` and ``(B, 1)``, mm from the fovea.
    thickness : dict
        By layer, ``(B, W)`` micrometres.
    bottom : np.ndarray
        ``(B, W)`` micrometres, height of Bruch's membrane above its own mean.
    gain : dict
        By layer, ``(B, W)`` factor of its grey value.
    below : np.ndarray
        ``(B, W)`` factor of the grey values under the pigment epithelium.
    hyaloid : np.ndarray or None
        ``(B, W)`` micrometres from the smoothed ILM up to the detached vitreous.
    held : np.ndarray or None
        ``(B, W)`` how far the vitreous still clings to the ILM, 0 to 1.
    blobs : list of tuple
        Cysts and exudates: ``(layer, x, y, fraction of the layer, radius mm, radius um, grey)``.
    """

    x: np.ndarray
    y: np.ndarray
    thickness: dict[str, np.ndarray]
    bottom: np.ndarray
    gain: dict[str, np.ndarray]
    below: np.ndarray
    hyaloid: np.ndarray | None = None
    held: np.ndarray | None = None
    blobs: list[tuple] = field(default_factory=list)

    @property
    def radius(self) -> np.ndarray:
        """``(B, W)`` mm from the centre of the fovea."""
        return np.hypot(self.x, self.y)


def waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Smooth noise of unit variance ``(B, W)`` over the retina, details of about ``scale`` mm."""
    return noise(rng, 1000 * y.ravel(), 1000 * x.ravel(), (1000 * scale, 1000 * scale))


def draw_scan(shape: tuple[int, int, int], rng: np.random.Generator, width: float) -> Scan:
    """A healthy eye, cut by B-scans of ``width`` mm that pass the fovea or near it."""
    count, _, columns = shape
    side = rng.choice([-1.0, 1.0])  # left eyes have the nose on the other side
    spacing = rng.uniform(0.10, 0.20)
    start = rng.uniform(-0.8, 0.8) * spacing * max(1, count - 1) - spacing * (count - 1) / 2
    y = (start + spacing * np.arange(count))[:, None]
    across = (np.arange(columns) - (columns - 1) / 2) * width / columns
    x = (side * (across - rng.normal(0, 0.07) * width))[None, :]
    return Scan(
        x=x,
        y=y,
        thickness=_thickness(rng, x, y),
        bottom=_shape_of_eye(rng, x, y),
        gain={name: 1 + 0.05 * waves(rng, x, y, 0.35) for name in LAYERS},
        below=np.ones((count, columns)),
    )


def _thickness(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Micrometres of every layer of a healthy eye, ``(B, W)``."""
    r = np.hypot(x, y)
    own = {name: np.exp(rng.normal(0, 0.09)) for name in LAYERS}
    pit = np.exp(rng.normal(0, 0.12))  # width of the pit

    def outside(width: float) -> np.ndarray:
        """0 in the centre of the pit, 1 well outside."""
        return 1 - np.exp(-((r / (width * pit)) ** 2))

    nasal = ramp(x, -1.0, 3.5)
    arcs = 1 + 0.5 * ramp(np.abs(y), 0.3, 1.5)
    healthy = {
        "membrane": 0 * r,
        "NFL": 5 + (7 + 36 * nasal * arcs) * outside(0.75),
        "GCL": 1 + 52 * outside(0.50) * (0.35 + 0.65 * np.exp(-(((r - 0.9) / 1.5) ** 2))),
        "IPL": 3 + 39 * outside(0.48) * (0.65 + 0.35 * np.exp(-(((r - 0.9) / 1.6) ** 2))),
        "INL": 4 + 34 * outside(0.42) * (0.8 + 0.2 * np.exp(-(((r - 0.9) / 1.6) ** 2))),
        "OPL": 9 + 22 * outside(0.40),
        "ONL": 66 + 42 * np.exp(-((r / (0.55 * pit)) ** 2)) - 4 * ramp(r, 1.0, 3.5),
        "ELM": 7 + 0 * r,
        "myoid": 17 + 8 * np.exp(-((r / 0.35) ** 2)),
        "EZ": 13 + 0 * r,
        "segments": 22 + 13 * np.exp(-((r / 0.4) ** 2)),
        "fluid": 0 * r,
        "RPE": 23 + 0 * r,
        "drusen": 0 * r,
        "choriocapillaris": 14 + 0 * r,
        "choroid": rng.uniform(160, 290) * (1 + 0.10 * waves(rng, x, y, 0.9)) - 18 * x,
    }
    for name in LAYERS:
        wobble = 1 + (0.02 if name in ("ELM", "EZ", "RPE") else 0.045) * waves(rng, x, y, 0.45)
        healthy[name] = np.maximum(healthy[name] * own[name] * wobble, 0)
    healthy["choroid"] = np.maximum(healthy["choroid"], 60)
    return healthy


def _shape_of_eye(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Micrometres of Bruch's membrane above its mean: bowl, tilt of the scan, slow waves."""
    bowl = rng.uniform(2, 11) * (x**2 + y**2)
    tilt = rng.normal(0, 22) * x + rng.normal(0, 12) * y
    return bowl + tilt + 2.5 * waves(rng, x, y, 0.7)


def smooth(scan: Scan, values: np.ndarray, scale: float) -> np.ndarray:
    """``(B, W)`` values blurred along the B-scan by a Gaussian of ``scale`` mm."""
    pixel = float(np.abs(np.diff(scan.x.ravel()[:2]))[0])
    return ndimage.gaussian_filter1d(values, scale / pixel, axis=-1, mode="nearest")


def settle(scan: Scan) -> None:
    """Let the soft layers take up what bulges or is lost below them, so the ILM stays smooth.

    The outer nuclear layer yields first, then the inner layers, none to less than a third.
    """
    below = ("ELM", "myoid", "EZ", "segments", "fluid", "RPE", "drusen")
    lift = sum(scan.thickness[name] for name in below)
    left = lift - smooth(scan, lift, 0.22)
    for name, share in (("ONL", 0.8), ("INL", 0.4), ("IPL", 0.6), ("GCL", 1.0)):
        thick = scan.thickness[name]
        taken = np.clip(share * left, -0.8 * thick, 0.67 * thick)
        scan.thickness[name] = thick - taken
        left = left - taken


def edges(scan: Scan, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Upper faces of all layers, and the lower one of the last, placed in the image.

    A scan that bends out of the image is flattened until it fits, as an operator would move the
    scanner until the retina is in view.

    Returns
    -------
    np.ndarray
        ``(len(LAYERS) + 1, B, W)`` micrometres below the upper edge of the image.
    """
    stack = np.stack([scan.thickness[name] for name in LAYERS])
    faces = np.concatenate([np.zeros((1, *stack.shape[1:])), np.cumsum(stack, axis=0)])
    faces -= faces[LAYERS.index("choriocapillaris")]  # micrometres below Bruch's membrane
    bend = scan.bottom - scan.bottom.mean()
    top, bottom = 0.10 * depth, 0.93 * depth
    for _ in range(40):
        placed = faces - bend
        if np.ptp(placed) <= bottom - top:
            break
        bend = 0.93 * bend
        faces = np.where(faces > 60, 60 + 0.97 * (faces - 60), faces)  # and the choroid thinner
    room = bottom - top - np.ptp(placed)
    return placed - placed.min() + top + rng.uniform(0.1, 0.8) * room
