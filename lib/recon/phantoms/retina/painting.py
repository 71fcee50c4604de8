"""Layers filled with reflectivity: what a scanner without speckle would see.

Grey values are those of a Spectralis' display, the fourth root of the reflectivity, because that is
what one knows from looking at B-scans; `render` returns their fourth power.
"""

from dataclasses import dataclass

import numpy as np

from recon.errors import InputError
from recon.phantoms.retina.anatomy import (
    BEGINS,
    FIELD,
    LAYERS,
    PATHOLOGIES,
    Scan,
    draw_scan,
    edges,
    settle,
    smooth,
)
from recon.phantoms.retina.noise import noise
from recon.phantoms.retina.pathologies import CHANGES
from recon.phantoms.texture import noise_at, ramp

FINER = 2  # rows drawn for each row of the image, so that thin layers keep their share of it

#: Grey value at the upper and the lower face of each layer, and strength of its texture.
GREY = {
    "membrane": (0.84, 0.84, 0.06),
    "NFL": (0.80, 0.72, 0.06),
    "GCL": (0.50, 0.50, 0.05),
    "IPL": (0.60, 0.58, 0.045),
    "INL": (0.41, 0.42, 0.05),
    "OPL": (0.60, 0.50, 0.06),
    "ONL": (0.36, 0.31, 0.035),
    "ELM": (0.50, 0.46, 0.03),
    "myoid": (0.37, 0.42, 0.03),
    "EZ": (0.80, 0.72, 0.05),
    "segments": (0.52, 0.70, 0.06),
    "fluid": (0.07, 0.07, 0.005),
    "RPE": (0.90, 0.84, 0.05),
    "drusen": (0.56, 0.50, 0.05),
    "choriocapillaris": (0.66, 0.56, 0.06),
    "choroid": (0.54, 0.36, 0.05),
}
VITREOUS, SCLERA = 0.06, 0.33
VESSEL_GREY = 0.72


@dataclass(frozen=True)
class Eye:
    """B-scans of one eye without speckle.

    Attributes
    ----------
    reflectivity : np.ndarray
        ``(B, H, W)`` float32, mean intensity; 1 is white on the display.
    boundaries : np.ndarray
        ``(B, len(BOUNDARIES), W)`` float32, rows; row i is the middle of pixel i. Where a layer is
        missing, two boundaries agree.
    pathology : str
        One of `PATHOLOGIES`.
    """

    reflectivity: np.ndarray
    boundaries: np.ndarray
    pathology: str


def render(
    shape: tuple[int, int, int],
    seed: int,
    pathology: str | None = None,
    field: tuple[float, float] = FIELD,
) -> Eye:
    """Draw neighbouring B-scans of one eye.

    Parameters
    ----------
    shape : (B, H, W)
    seed : int
        The eye; the same seed with another pathology is the same eye before it.
    pathology : str, optional
        One of `PATHOLOGIES`; drawn from the seed unless given. Its stage is the seed's.
    field : (float, float)
        Millimetres that the image shows, down and across.

    Returns
    -------
    Eye

    Raises
    ------
    InputError
        For an unknown pathology or a shape that shows nothing.
    """
    if pathology is not None and pathology not in PATHOLOGIES:
        raise InputError(
            f"pathology {pathology!r} is unknown: choose one of {', '.join(PATHOLOGIES)}."
        )
    if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < 48:
        raise InputError(
            f"shape {tuple(shape)} of an eye must be (B-scans, height, width) with at least one "
            "B-scan of 48 x 48 pixels: ask for a larger one."
        )
    disease = np.random.default_rng([seed, 22])
    drawn, stage = str(disease.choice(PATHOLOGIES)), float(disease.beta(1.2, 1.2))
    pathology = pathology or drawn
    rng = np.random.default_rng([seed, 21])
    scan = draw_scan(shape, rng, field[1])
    if pathology != "none":
        CHANGES[pathology](scan, stage, disease)
    settle(scan)
    count, height, width = shape
    depth = 1000 * field[0]
    faces = edges(scan, depth, rng)
    painter = _Painter(scan, faces, height, field, np.random.default_rng([seed, 23]))
    reflectivity = np.empty(shape, np.float32)
    for b in range(count):
        fine = np.clip(painter.grey(b), 0, 1.05) ** 4
        reflectivity[b] = fine.reshape(height, FINER, width).mean(axis=1)
    starts = [LAYERS.index(name) if name else len(LAYERS) for name in BEGINS]
    rows = faces[starts] * (height / depth) - 0.5
    return Eye(reflectivity, rows.transpose(1, 0, 2).astype(np.float32), pathology)


class _Painter:
    """What all B-scans of an eye share: contrasts, textures, vessels."""

    def __init__(
        self,
        scan: Scan,
        faces: np.ndarray,
        height: int,
        field: tuple[float, float],
        rng: np.random.Generator,
    ):
        self.scan, self.faces, self.rng = scan, faces, rng
        pixel = 1000 * field[0] / height / FINER
        self.z = ((np.arange(height * FINER) + 0.5) * pixel).astype(np.float32)  # um
        self.x = (1000 * scan.x.ravel()).astype(np.float32)  # um, from the fovea
        self.pixel = pixel
        contrast = np.exp(rng.normal(0, 0.08))
        self.values = {
            name: np.array([above, below]) ** contrast * (1 + rng.normal(0, 0.035))
            for name, (above, below, _) in GREY.items()
        }
        self.grain = np.exp(rng.normal(0, 0.2))
        self.vessels = self._draw_vessels()
        if scan.hyaloid is not None:  # taut over the pit, unless it still clings there
            free = smooth(scan, np.minimum(faces[0], smooth(scan, faces[0], 0.9)), 0.3)
            free = free - scan.hyaloid
            self.hyaloid = np.minimum(free + scan.held * (faces[0] - free), faces[0])
        self.seed = int(rng.integers(2**31))
        self.planes: dict[int, list[np.ndarray]] = {}

    def _draw_vessels(self) -> list[tuple[float, float, float, float]]:
        """Retinal vessels: x (mm) at y = 0, slope, radius (um), place in the inner retina."""
        rng, reach = self.rng, np.abs(self.scan.x).max()
        found = []
        for _ in range(rng.poisson(2.6 * reach)):
            x = rng.uniform(self.scan.x.min(), self.scan.x.max())
            radius = rng.uniform(8, 22) if rng.random() < 0.65 else rng.uniform(22, 55)
            if abs(x) > 0.45 + radius / 50:
                found.append((x, rng.normal(0, 0.5), radius, rng.uniform(0.2, 0.7)))
        return found

    def _noise(self, b: int, down: float, across: float, key: int) -> np.ndarray:
        """Texture of details (um) that changes slowly from B-scan to B-scan."""
        phase = np.pi / 2 * float(self.scan.y[b, 0]) / 0.12
        if key not in self.planes:
            self.planes[key] = [
                noise(np.random.default_rng([self.seed, key, k]), self.z, self.x, (down, across))
                for k in (0, 1)
            ]
        one, two = self.planes[key]
        return np.cos(phase) * one + np.sin(phase) * two

    def grey(self, b: int) -> np.ndarray:
        """Grey values ``(FINER * H, W)`` of B-scan ``b``."""
        faces, z = self.faces[:, b], self.z[:, None]
        place = np.zeros((z.size, faces.shape[1]), np.float32)  # layers passed, with the fraction
        for k in range(len(LAYERS)):
            thick = np.maximum(faces[k + 1] - faces[k], 1e-3)
            place += np.clip((z - faces[k]) / thick, 0, 1)
        layer = np.minimum(place.astype(np.int32), len(LAYERS) - 1)
        fraction = place - layer
        tops, bottoms = np.array([self.values[name] for name in LAYERS]).T
        grey = tops[layer] + (bottoms - tops)[layer] * fraction
        gains = np.stack([self.scan.gain[name][b] for name in LAYERS])
        columns = np.arange(faces.shape[1])
        grey = grey * gains[layer, columns]
        strength = np.array([GREY[name][2] for name in LAYERS])[layer] * self.grain
        grey += strength * self._grain(b, faces)
        above, beneath = z < faces[0], place >= len(LAYERS)
        grey = self._choroid(b, grey, layer, fraction, faces, beneath)
        grey = self._blobs(b, grey, faces)
        grey = np.where(above, self._vitreous(b, faces), grey)
        grey = self._shadows(b, grey, faces)
        below = z > faces[LAYERS.index("RPE") + 1]
        return np.where(below, grey * self.scan.below[b], grey)

    def _grain(self, b: int, faces: np.ndarray) -> np.ndarray:
        """Fine texture along the layers, and a coarser one across them."""
        rng = np.random.default_rng([self.seed, 1, b])
        depth = self.z[:, None] - faces[LAYERS.index("OPL")]  # follows the layers
        along = np.broadcast_to(self.x, depth.shape)
        streaks = noise_at(rng, depth + 1e4, along + 1e5, (9, 55))
        return 0.6 * streaks + 0.5 * self._noise(b, 14, 30, 2) + 0.3 * self._noise(b, 45, 160, 3)

    def _choroid(self, b, grey, layer, fraction, faces, beneath):
        """Vessels, small ones above large ones, dark in brighter tissue; the sclera fades."""
        inside = layer == LAYERS.index("choroid")
        small, large = self._noise(b, 16, 45, 4), self._noise(b, 40, 110, 5)
        mix = ramp(fraction, 0.18, 0.4)
        lumen = (1 - mix) * small + mix * large
        lumen /= np.sqrt((1 - mix) ** 2 + mix**2)
        dark = ramp(lumen, -0.4, 1.0) * ramp(fraction, 0.0, 0.12)
        grey = np.where(inside & ~beneath, grey * (1.08 - 0.33 * dark), grey)
        depth = (self.z[:, None] - faces[-1]) / 150
        sclera = SCLERA * np.exp(-0.75 * np.clip(depth, 0, None))
        sclera = sclera * (1 + 0.08 * self._noise(b, 14, 70, 6))
        soft = ramp(self.z[:, None] - faces[-1], -25, 25)
        return np.where(inside | beneath, (1 - soft) * grey + soft * sclera, grey)

    def _vitreous(self, b: int, faces: np.ndarray) -> np.ndarray:
        grey = VITREOUS + 0.015 * self._noise(b, 60, 300, 7)
        if self.scan.hyaloid is not None:
            height = self.hyaloid[b]
            line = np.exp(-(((self.z[:, None] - height) / 5.0) ** 2))
            patchy = np.clip(0.34 + 0.08 * self._noise(b, 200, 250, 8), 0.15, 0.6)
            grey = np.maximum(grey, patchy * line * ramp(faces[0] - height, 4, 14))
        return grey

    def _blobs(self, b: int, grey: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Cysts and exudates: ellipsoids that this B-scan may cut."""
        y, x = float(self.scan.y[b, 0]), self.scan.x.ravel()
        uneven = self._noise(b, 20, 45, 10) if self.scan.blobs else 0
        for layer, at, place, part, wide, high, value in self.scan.blobs:
            cut = 1 - ((y - place) / (1.5 * wide)) ** 2
            if cut <= 0:
                continue
            k = LAYERS.index(layer)
            column = int(np.argmin(np.abs(x - at)))
            centre = faces[k, column] + part * (faces[k + 1, column] - faces[k, column])
            half = 0.5 * (faces[k + 1, column] - faces[k, column])
            tall = min(high, 0.95 * half) if value < 0.4 else high
            distance = ((x - at) / wide) ** 2 + ((self.z[:, None] - centre) / tall) ** 2
            edge = np.sqrt(np.maximum(distance, 1e-6)) - np.sqrt(cut) + 0.08 * uneven
            cover = ramp(-edge, -0.12, 0.12)
            grey = grey + cover * (value - grey)
            if value > 0.4:  # exudates throw a shadow
                behind = ramp(self.z[:, None] - centre, 0, 2 * tall)
                grey = grey * (1 - 0.3 * behind * np.exp(-(((x - at) / wide) ** 2)))
        return grey

    def _shadows(self, b: int, grey: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Vessels in the inner retina, what they shade, and fine streaks of capillaries."""
        y, x, z = float(self.scan.y[b, 0]), self.scan.x.ravel(), self.z[:, None]
        inner = faces[LAYERS.index("INL")]
        for start, slope, radius, part in self.vessels:
            at = start + slope * y
            column = int(np.argmin(np.abs(x - at)))
            centre = faces[1, column] + part * (inner[column] - faces[1, column])
            centre = max(centre, faces[1, column] + 0.6 * radius)
            wide = max(radius / 1000, 0.018)
            away = np.hypot((x - at) / wide, (z - centre) / radius)
            wall = np.exp(-(((away - 0.85) / 0.3) ** 2)) * (0.6 + 0.4 * (z < centre))
            inside = ramp(-away, -1.15, -0.75) * (z > faces[0])
            wall = wall * (z > faces[0])
            grey = grey + inside * (0.52 - grey) + 0.9 * wall * np.clip(VESSEL_GREY - grey, 0, None)
            strong = min(0.40, 0.04 + radius / 110)
            shade = strong * np.exp(-(np.abs((x - at) / wide / 1.05) ** 2.5))
            grey = grey * (1 - shade * ramp(z - centre, 0, 1.5 * radius))
        rng = np.random.default_rng([self.seed, 9, b])
        fine, broad = (noise(rng, np.zeros(1), self.x, (1000, size))[0] for size in (22, 90))
        deep = ramp(z - faces[LAYERS.index("IPL")], 0, 80)
        return grey * (1 + deep * (0.035 * fine + 0.03 * broad))
