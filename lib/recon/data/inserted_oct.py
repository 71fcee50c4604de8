"""Pairs of B-scans that differ by known lesions and by nothing else.

Lesions are put into the reflectivity of an eye, before there is any speckle. Both scans of a pair
are then acquired with the same random numbers: the same scatterers, seen with and without the
lesion. Beside the average of few frames stand that of many and the picture without speckle, which
only a simulator can know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon.data.manifest import load_manifest
from recon.data.oct_simulated import Plan, plan_volumes
from recon.errors import InputError
from recon.phantoms import retina
from recon.phantoms.lesions import Lesion, Wish, place, profile, retinal_hosts
from recon.physics.speckle import average_frames, expected_intensity, show_intensity

__all__ = ["COMMON", "Scene", "eye_wishes", "grown_into", "inserted_bscans", "regions_of"]

#: The kinds whose size and strength are varied, and the one that has a place of its own.
COMMON, SITE = ("cyst", "focus"), "druse"
SITE_DIAMETER = 3.0
DISPLAY = 0.25  # lesions are as strong as they look on a Spectralis' display


@dataclass(frozen=True)
class Scene:
    """One B-scan without and with lesions.

    Attributes
    ----------
    volume, pathology : str
    lesions : tuple of Lesion
        Their contrast is in grey values of the display, 1 is white.
    without, with_lesions : dict
        ``raw`` (few frames), ``average`` (many), ``truth`` (no speckle): ``(H, W)`` float32.
    regions : dict
        Where spots are looked for, by name, ``(H, W)`` bool.
    """

    volume: str
    pathology: str
    lesions: tuple[Lesion, ...]
    without: dict[str, np.ndarray]
    with_lesions: dict[str, np.ndarray]
    regions: dict[str, np.ndarray]


def eye_wishes(sizes: Sequence[float], contrasts: Sequence[float]) -> list[Wish]:
    """A druse, then cysts and foci of every size at every contrast, the largest first."""
    grid = [(d, c) for d in sorted(sizes, reverse=True) for c in contrasts]
    common = [Wish(COMMON[i % 2], d, c) for i, (d, c) in enumerate(grid)]
    common += [Wish(COMMON[(i + 1) % 2], d, c) for i, (d, c) in enumerate(grid)]
    return [Wish(SITE, SITE_DIAMETER, max(contrasts)), *common]


def grown_into(reflectivity: np.ndarray, lesions: Sequence[Lesion]) -> np.ndarray:
    """A reflectivity ``(H, W)`` with lesions, added as they look: to its fourth root."""
    grey = reflectivity**DISPLAY
    for one in lesions:
        grey = grey + one.contrast * profile(grey.shape, (one.row, one.column), one.diameter)
    return (np.clip(grey, 0, 1.05) ** (1 / DISPLAY)).astype(np.float32)


def regions_of(boundaries: np.ndarray, height: int, margin: int) -> dict[str, np.ndarray]:
    """Where spots are looked for: the plain vitreous, the even outer nuclear layer, the retina.

    Parameters
    ----------
    boundaries : np.ndarray
        ``(len(BOUNDARIES), W)`` rows.
    height : int
    margin : int
        Pixels to keep from the edge of the picture, and in the vitreous from the retina.
    """
    rows = np.arange(height)[:, None]
    at = dict(zip(retina.BOUNDARIES, boundaries, strict=True))
    found = {
        "vitreous": rows < at["ILM"] - margin,
        "outer nuclear layer": (rows > at["OPL-ONL"] + 2) & (rows < at["ELM"] - 2),
        "retina": (rows > at["ILM"]) & (rows < at["BM"]),
    }
    inner = np.zeros((height, boundaries.shape[1]), bool)
    inner[margin:-margin, margin:-margin] = True
    return {name: region & inner for name, region in found.items()}


def inserted_bscans(
    data: str,
    profile_name: str,
    split: str,
    sizes: Sequence[float],
    contrasts: Sequence[float],
    volumes: int,
    draws: int = 1,
    seed: int = 0,
) -> list[Scene]:
    """The middle B-scan of the first eyes of a split, without and with lesions.

    Parameters
    ----------
    data : str
        A simulated set of retinas.
    profile_name : {"quick", "standard", "paper"}
    split : {"train", "val", "test"}
    sizes, contrasts : sequence of float
        Diameters in pixels; peaks in grey values of the display.
    volumes : int
        Eyes; no more than the split has.
    draws : int
        B-scans with lesions of each eye, at other places; what is without lesions is shared.
    seed : int
        Of the eyes, the places and the speckle.

    Raises
    ------
    InputError
        For a set that holds no simulated retinas.
    """
    manifest = load_manifest(data)
    if manifest.kind != "simulated_oct":
        raise InputError(
            f"{data} has no simulated retinas, and lesions must be put into an eye before there "
            "is speckle: pass simulated_retina."
        )
    sizes_of = manifest.profiles[profile_name]
    scenes = []
    for plan in plan_volumes(manifest, profile_name, split, seed)[:volumes]:
        scenes += _scenes(plan, sizes_of, manifest.settings, split, sizes, contrasts, draws, seed)
    return scenes


def _scenes(plan: Plan, sizes_of, settings, split, sizes, contrasts, draws, seed) -> list[Scene]:
    count = sizes_of[split]["bscans"]
    eye = retina.render((count, *sizes_of["shape"]), plan.seed, field=tuple(sizes_of["field_mm"]))
    plain, edges = eye.reflectivity[count // 2], eye.boundaries[count // 2]
    height, width = plain.shape
    few, many = settings["frames"]

    def acquire(reflectivity: np.ndarray) -> dict[str, np.ndarray]:
        own = [np.random.default_rng([plan.seed, seed, 41, frames]) for frames in (few, many)]
        expected = expected_intensity(reflectivity, plan.device)
        return {
            "raw": average_frames(reflectivity, few, plan.device, own[0]),
            "average": average_frames(reflectivity, many, plan.device, own[1]),
            "truth": show_intensity(expected, plan.device),
        }

    without, scenes = acquire(plain), []
    hosts = retinal_hosts(edges, height)
    for draw in range(draws):
        rng = np.random.default_rng([plan.seed, seed, 42, draw])
        window = (0, height, 0, width)
        found = place(hosts, eye_wishes(sizes, contrasts), rng, window)
        scenes.append(
            Scene(
                volume=plan.name,
                pathology=eye.pathology,
                lesions=tuple(found),
                without=without,
                with_lesions=acquire(grown_into(plain, found)),
                regions=regions_of(edges, height, 8),
            )
        )
    return scenes
