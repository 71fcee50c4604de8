"""Vessels and neurons of a mouse cortex, each found from the block of space that it lies in.

Space is cut into blocks, and a block's random numbers come from a hash of its place, so whatever
reaches into a box is found without drawing anything else. All are made of capsules, segments with
a radius at either end, in micrometres; axes as for `recon.phantoms.microscopy.Cortex`.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np

__all__ = ["capsules", "draw", "stream"]

LATTICE = 40.0  # um between the nodes of the capillaries
COLUMNS = 150.0  # um between penetrating vessels
REACH = 70.0  # um that an object may leave its block
SOMATA = 4e-5  # a cubic um, where they are densest
EDGE = 0.411  # um over which a surface fades
CAPILLARY, VESSEL, CELL = 60.0, 75.0, 130.0  # photons a voxel


def stream(seed: int, kind: int, index: tuple[int, ...]) -> np.random.Generator:
    """Random numbers of one place."""
    return np.random.default_rng((seed, kind, *(i + (1 << 20) for i in index)))


# A capsule is a segment with a radius at either end: (start, end, radii, brightness, lumen).
Capsule = tuple[np.ndarray, np.ndarray, tuple[float, float], float, float]


def capsules(seed: int, places: list) -> Iterator[Capsule]:
    """All that may reach into a box of voxels with centres `places` (um, by axis)."""
    low = np.array([x[0] for x in places])
    high = np.array([x[-1] for x in places])
    for kind, side in ((_block, LATTICE), (_column, COLUMNS)):
        first = np.floor((low - REACH) / side).astype(int)
        last = np.floor((high + REACH) / side).astype(int)
        ranges = [range(a, b + 1) for a, b in zip(first, last, strict=True)]
        if kind is _column:
            ranges[1] = range(int(low[1] // 25) - 1, int(high[1] // 25) + 2)
        for index in product(*ranges):
            for one in kind(seed, index):
                reach = max(one[2]) + 1
                if np.all(np.minimum(one[0], one[1]) - reach < high) and np.all(
                    np.maximum(one[0], one[1]) + reach > low
                ):
                    yield one


def _node(seed: int, index: tuple[int, ...]) -> np.ndarray:
    """Where capillaries meet."""
    return (np.array(index) + stream(seed, 1, index).uniform(0.1, 0.9, 3)) * LATTICE


@lru_cache(maxsize=8192)
def _block(seed: int, index: tuple[int, int, int]) -> list[Capsule]:
    """Capillaries that begin in one block, and the neurons in it."""
    chance = stream(seed, 2, index)
    found = []
    begin = _node(seed, index)
    for axis in range(3):
        joined, radius = chance.random() < 0.5, chance.uniform(1.8, 3.0)
        bend = chance.normal(0, 9, (2, 3))
        if joined:
            beyond = tuple(i + (a == axis) for a, i in enumerate(index))
            path = _curve(begin, _node(seed, beyond), bend)
            found += _tube(path, radius, radius, CAPILLARY, 0.7)
    for _ in range(chance.poisson(SOMATA * LATTICE**3)):
        place = (np.array(index) + chance.random(3)) * LATTICE
        depth = place[1] - 75
        layers = 0.35 + 0.65 * np.exp(-(((depth % 320) - 190) ** 2) / (2 * 70**2))
        kept = chance.random() < layers and depth > 70  # the first layer has few
        size, long = chance.uniform(3.6, 6.0), chance.uniform(1.0, 4.0)
        bright, tilt = CELL * chance.lognormal(-0.3, 0.6), chance.normal(0, 0.15, 3)
        if kept:
            up = np.array([0.0, -1.0, 0.0]) + tilt
            found.append((place, place + up * long, (size, size * 0.75), bright, 1.0))
            tip = place + up * chance.uniform(25, 55)
            found += _tube(_curve(place, tip, chance.normal(0, 2, (2, 3))), 1.5, 0.7, bright / 3, 1)
    return found


@lru_cache(maxsize=4096)
def _column(seed: int, index: tuple[int, int, int]) -> list[Capsule]:
    """A stretch of 25 um of a penetrating vessel, and a branch of it now and then."""
    chance = stream(seed, 3, (index[0], 0, index[2]))
    place, radius = chance.uniform(0.2, 0.8, 2) * COLUMNS, chance.uniform(4.5, 9)
    wave, phase = chance.uniform(5, 14, 2), chance.uniform(0, 6.28, 2)

    def at(depth: float) -> np.ndarray:
        moved = place + wave * np.sin(depth / 60 + phase)
        return np.array([index[0] * COLUMNS + moved[0], depth, index[2] * COLUMNS + moved[1]])

    def wide(depth: float) -> float:
        return max(2.5, radius * (1 - depth / 1600))

    depths = np.linspace(25 * index[1], 25 * (index[1] + 1), 4)
    path = np.array([at(depth) for depth in depths])
    found = _tube(path, wide(depths[0]), wide(depths[-1]), VESSEL, 0.3)
    chance = stream(seed, 4, index)
    if chance.random() < 0.4:
        block = tuple(int(x // LATTICE) for x in path[0])
        branch = _curve(path[0], _node(seed, block), chance.normal(0, 6, (2, 3)))
        found += _tube(branch, 4.0, 2.5, VESSEL, 0.4)
    return found


def _curve(start: np.ndarray, end: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Seven points of a cubic Bezier curve."""
    t = np.linspace(0, 1, 7)[:, None]
    one, two = start + (end - start) / 3 + bend[0], start + 2 * (end - start) / 3 + bend[1]
    return (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * one + 3 * t**2 * (1 - t) * two + t**3 * end


def _tube(path: np.ndarray, first: float, last: float, bright: float, lumen: float) -> list:
    """Capsules along a path, their radius from one to another."""
    radii = np.linspace(first, last, len(path))
    return [
        (path[i], path[i + 1], (radii[i], radii[i + 1]), bright, lumen)
        for i in range(len(path) - 1)
    ]


def draw(light: np.ndarray, places: list, capsule: Capsule) -> None:
    """Lay a capsule over an image: where several overlap, the brightest is seen.

    Parameters
    ----------
    light : (slices, depth, optical) float32
        Changed in place.
    places : list of float32 arrays
        Centres of the voxels along each axis, um.
    capsule : Capsule
    """
    start, end, radii, bright, lumen = capsule
    reach = max(radii) + 1
    box = tuple(
        slice(*np.searchsorted(x, (min(a, b) - reach, max(a, b) + reach)))
        for x, a, b in zip(places, start, end, strict=True)
    )
    grid = [
        (x[part] - a).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, (x, part, a) in enumerate(zip(places, box, start, strict=True))
    ]
    if 0 in (len(places[axis][part]) for axis, part in enumerate(box)):
        return
    along = (end - start).astype(np.float32)
    t = sum(g * v for g, v in zip(grid, along, strict=True)) / max(float(along @ along), 1e-6)
    t = np.clip(t, 0, 1)
    square = sum((g - t * v) ** 2 for g, v in zip(grid, along, strict=True))
    depth = radii[0] + (radii[1] - radii[0]) * t - np.sqrt(square)  # um below its surface
    shade = np.clip(depth / EDGE + 0.5, 0, 1)
    if lumen < 1:
        shade *= lumen + (1 - lumen) * np.exp(-((np.maximum(depth, 0) / 1.2) ** 2))
    np.maximum(light[box], bright * shade, out=light[box])
