"""Room for lesions: within their host, and apart from one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from recon.phantoms.lesions.discs import Lesion, profile, reach
from recon.phantoms.lesions.hosts import KINDS, sign_of

__all__ = ["MARGIN", "Wish", "place"]

#: Pixels between the discs of two lesions of one picture, and from a disc to the picture's edge.
MARGIN = 5


@dataclass(frozen=True)
class Wish:
    """A lesion to be placed: what, how wide (pixels of the picture), how strong."""

    kind: str
    diameter: float
    contrast: float  # peak in units of the reference level, positive


def place(
    hosts: Mapping[str, np.ndarray],
    wishes: Sequence[Wish],
    rng: np.random.Generator,
    window: tuple[int, int, int, int],
    contrast: str = "",
    number: int = 0,
    finer: int = 1,
    own_rows: bool = False,
) -> list[Lesion]:
    """Places for lesions in one slice, each within its host and apart from the others.

    Parameters
    ----------
    hosts : mapping
        Kind to the share of every pixel that is its host, on a grid ``finer`` times as fine as the
        picture in both directions.
    wishes : sequence of Wish
        In the order in which they are placed: those hard to place first. A wish for which there is
        no room is passed over.
    rng : np.random.Generator
    window : (top, bottom, left, right)
        Rows and columns of the picture that may hold lesions, margins aside.
    contrast : str
        Of the scan, for the signs.
    number : int
        Of the slice.
    finer : int
    own_rows : bool
        Give every lesion rows of its own. Leaving columns of k-space out mixes pixels of one row
        and of no other, so that such lesions do not alias onto one another and can share a scan.
    """
    placed: list[Lesion] = []
    top, bottom, left, right = window
    for wish in wishes:
        if wish.kind not in hosts:
            continue
        within = _within(hosts[wish.kind], wish.diameter, finer)[::finer, ::finer]
        room = within >= KINDS[wish.kind].share
        margin = reach(wish.diameter) + MARGIN
        inner = np.zeros_like(room)
        inner[top + margin : bottom - margin, left + margin : right - margin] = True
        room &= inner
        for other in placed:
            gap = int(np.ceil((other.diameter + wish.diameter) / 2)) + MARGIN
            rows = slice(max(0, other.row - gap), other.row + gap + 1)
            columns = slice(max(0, other.column - gap), other.column + gap + 1)
            room[rows, slice(None) if own_rows else columns] = False
        spots = np.argwhere(room)
        if len(spots):
            row, column = (int(x) for x in spots[rng.integers(len(spots))])
            strength = sign_of(wish.kind, contrast) * wish.contrast
            placed.append(Lesion(wish.kind, number, row, column, wish.diameter, strength))
    return placed


def _within(host: np.ndarray, diameter: float, finer: int) -> np.ndarray:
    """Share of a lesion's energy that lies in a host, for every middle on the host's own grid."""
    energy = profile(host.shape, (0, 0), diameter, finer).astype(np.float64) ** 2
    spectrum = scipy.fft.rfft2(host) * scipy.fft.rfft2(energy / energy.sum()).conj()
    return scipy.fft.irfft2(spectrum, host.shape)
