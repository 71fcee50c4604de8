"""Small lesions of known place, size and strength, to be put into a body before it is scanned.

A lesion is a disc seen as sharply as the full scan can see anything, and no sharper: its spectrum
ends inside the acquired k-space. Whatever a reconstruction then lacks of it was lost to the
columns left out, not to the size of the voxels. Its host tissue and its sign (brighter or darker)
are those of a disease; strength and diameter are free, so that detection can be measured against
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.special import j1

from recon.phantoms.signals import signals

__all__ = ["KINDS", "MARGIN", "Kind", "Lesion", "Wish", "place", "profile", "sign_of", "template"]

#: Rows between the discs of two lesions of one picture, and from a disc to the picture's edge.
MARGIN = 5


@dataclass(frozen=True)
class Kind:
    """A disease: the tissues that it grows in and the one that it turns them into.

    ``share`` is the part of the lesion's energy that has to lie within its hosts; thin hosts
    (cartilage, menisci) can hold less of it than bone or white matter.
    """

    hosts: tuple[str, ...]
    becomes: str  # key of `recon.phantoms.signals.TISSUES`
    share: float


KINDS = {
    "marrow_oedema": Kind(("marrow", "red_marrow"), "lesion", 0.97),
    "cartilage_defect": Kind(("cartilage",), "fluid", 0.6),
    "meniscal_tear": Kind(("meniscus",), "fluid", 0.6),
    "white_matter_lesion": Kind(("white",), "hyperintensity", 0.9),
}


@dataclass(frozen=True)
class Wish:
    """A lesion to be placed: what, how wide (pixels of the picture), how strong."""

    kind: str
    diameter: float
    contrast: float  # peak over the object's 95th percentile, positive


@dataclass(frozen=True)
class Lesion:
    """A lesion in its place; ``contrast`` is negative where it is darker than its host."""

    kind: str
    slice: int
    row: int  # of the picture
    column: int
    diameter: float
    contrast: float


def sign_of(kind: str, contrast: str) -> int:
    """Whether a disease is brighter (1) or darker (-1) than its first host, by signal equations.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    contrast : str
        PD, PDFS, T1, T2, FLAIR or T1POST.
    """
    value = signals(contrast, np.random.default_rng(0))
    return 1 if value[KINDS[kind].becomes] > value[KINDS[kind].hosts[0]] else -1


def profile(
    shape: tuple[int, int], centre: tuple[float, float], diameter: float, finer: int = 1
) -> np.ndarray:
    """A band-limited disc with peak 1.

    The transform of a disc of diameter d is ``d J1(pi d f) / (2 f)``; a raised cosine lets it fall
    to zero at half a cycle a pixel, the highest frequency of the full scan. So even a point is two
    pixels wide at half its height.

    Parameters
    ----------
    shape : (rows, columns)
        Of the grid.
    centre : (row, column)
        In samples of the grid, fractions allowed.
    diameter : float
        Pixels of the picture.
    finer : int
        Samples of the grid to a pixel of the picture, in both directions.

    Returns
    -------
    np.ndarray
        ``shape`` float32.
    """
    down = scipy.fft.fftfreq(shape[0])[:, None]
    across = scipy.fft.rfftfreq(shape[1])
    f = finer * np.hypot(down, across)  # cycles a pixel
    near = np.maximum(f, 1e-6)
    disc = diameter * j1(np.pi * diameter * near) / (2 * near)
    window = np.where(f < 0.5, 0.5 * (1 + np.cos(2 * np.pi * f)), 0)
    shift = np.exp(-2j * np.pi * (down * centre[0] + across * centre[1]))
    peak = scipy.fft.irfft2(disc * window, shape).max()  # of the disc in the middle of a sample
    return (scipy.fft.irfft2(disc * window * shift, shape) / peak).astype(np.float32)


def template(diameter: float) -> np.ndarray:
    """The same disc on the picture's own pixels: ``(side, side)`` float32, side odd, peak 1."""
    side = 2 * reach(diameter) + 1
    wide = 64
    whole = profile((wide, wide), (wide // 2, wide // 2), diameter)
    part = slice(wide // 2 - side // 2, wide // 2 + side // 2 + 1)
    return whole[part, part]


def reach(diameter: float) -> int:
    """Pixels from the middle of a lesion to where its profile has all but ended."""
    return int(np.ceil(diameter / 2)) + 1


def place(
    tissues: Mapping[str, np.ndarray],
    wishes: Sequence[Wish],
    contrast: str,
    rng: np.random.Generator,
    window: tuple[int, int, int, int],
    number: int = 0,
) -> list[Lesion]:
    """Places for lesions in one slice, each within its host and no two in the same rows.

    Leaving columns of k-space out mixes pixels of one row and of no other, so lesions in rows of
    their own do not alias onto one another and can share a scan.

    Parameters
    ----------
    tissues : mapping
        Tissue name to its fraction of each pixel ``(2 rows, 2 columns)``, on a grid twice as fine
        as the picture.
    wishes : sequence of Wish
        In the order in which they are placed: those hard to place first. A wish for which there is
        no room is passed over.
    contrast : str
        Of the scan, for the signs.
    rng : np.random.Generator
    window : (top, bottom, left, right)
        Rows and columns of the picture that may hold lesions, margins aside.
    number : int
        Of the slice.
    """
    placed: list[Lesion] = []
    top, bottom, left, right = window
    for wish in wishes:
        kind = KINDS[wish.kind]
        host = sum((tissues[name] for name in kind.hosts if name in tissues), np.float32(0))
        if np.ndim(host) == 0:
            continue
        room = _within(host, wish.diameter)[::2, ::2] >= kind.share
        margin = reach(wish.diameter) + MARGIN
        inner = np.zeros_like(room)
        inner[top + margin : bottom - margin, left + margin : right - margin] = True
        room &= inner
        for other in placed:
            gap = int(np.ceil((other.diameter + wish.diameter) / 2)) + MARGIN
            room[max(0, other.row - gap) : other.row + gap + 1] = False
        spots = np.argwhere(room)
        if len(spots):
            row, column = (int(x) for x in spots[rng.integers(len(spots))])
            strength = sign_of(wish.kind, contrast) * wish.contrast
            placed.append(Lesion(wish.kind, number, row, column, wish.diameter, strength))
    return placed


def _within(host: np.ndarray, diameter: float) -> np.ndarray:
    """Share of a lesion's energy that lies in a host, for every middle on the host's own grid."""
    energy = profile(host.shape, (0, 0), diameter, finer=2).astype(np.float64) ** 2
    spectrum = scipy.fft.rfft2(host) * scipy.fft.rfft2(energy / energy.sum()).conj()
    return scipy.fft.irfft2(spectrum, host.shape)
