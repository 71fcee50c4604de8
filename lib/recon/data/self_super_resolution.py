"""Training pairs from one volume alone: its own in-plane slices, made coarse in one direction.

A volume of thick slices is sharp within them. So each slice is blurred and interpolated along one
of its axes as the volume is along its third, and a network learns to undo that; applied to slices
that contain the third axis, it sharpens the volume (Zhao et al. 2021; Remedios et al. 2022,
section 3.3). No other volume is needed, and the thin one is never read.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from recon.errors import InputError
from recon.physics.resolution import degrade, thick_slices, trim

__all__ = ["PatchPairs", "input_slices", "pairs_of", "truth_slices"]

HELD_OUT = 8  # every eighth slice is for validation
SHIFT = 0.1  # largest shift of a patch's intensities
BODY = 0.1  # least mean of a patch, so that few show nothing but air


@dataclass(frozen=True)
class PatchPairs:
    """Slices in two orientations, coarse and fine; the coarse axis is the rows' (axis 1).

    Attributes
    ----------
    coarse, fine : tuple of Tensor
        For either orientation ``(slices, rows, columns)`` float32.
    """

    coarse: tuple[Tensor, ...]
    fine: tuple[Tensor, ...]

    def draw(
        self, batch: int, size: int, margin: int, rng: np.random.Generator, part: str = "train"
    ) -> tuple[Tensor, Tensor]:
        """A batch of patches, mirrored and shifted in intensity at random.

        Parameters
        ----------
        batch : int
        size : int
            Side of the fine patches. The same generator draws the same fine patches whatever the
            margin, so networks that need different inputs learn from the same truth.
        margin : int
            Pixels by which the coarse patch is larger on each side.
        rng : np.random.Generator
        part : {"train", "validation"}
            Validation draws from slices of their own and does not shift intensities.

        Returns
        -------
        coarse : Tensor
            ``(batch, 1, size + 2 margin, size + 2 margin)``.
        fine : Tensor
            ``(batch, 1, size, size)``.
        """
        for fine in self.fine:
            if len(fine) <= HELD_OUT // 2 or min(fine.shape[1:]) < size:
                raise InputError(
                    f"{' x '.join(map(str, fine.shape))} voxels are too few for patches of {size} "
                    f"x {size}, some of them held out: pass a larger volume."
                )
        drawn = [self._one(size, margin, rng, part) for _ in range(batch)]
        return tuple(torch.stack([pair[i] for pair in drawn])[:, None] for i in (0, 1))

    def _one(
        self, size: int, margin: int, rng: np.random.Generator, part: str
    ) -> tuple[Tensor, Tensor]:
        turn = int(rng.integers(len(self.fine)))
        coarse, fine = self.coarse[turn], self.fine[turn]
        validation = np.arange(len(fine)) % HELD_OUT == HELD_OUT // 2
        numbers = np.flatnonzero(validation == (part == "validation"))
        for _ in range(20):
            number = int(rng.choice(numbers))
            top, left = (int(rng.integers(n - size + 1)) for n in fine.shape[1:])
            target = fine[number, top : top + size, left : left + size]
            if target.mean() > BODY:
                break
        # As at test time, an image that ends is continued by its last pixel.
        rows, columns = fine.shape[1:]
        box = [max(top - margin, 0), min(top + size + margin, rows)]
        box += [max(left - margin, 0), min(left + size + margin, columns)]
        image = coarse[number, box[0] : box[1], box[2] : box[3]]
        missing = (box[2] - left + margin, left + size + margin - box[3])
        missing += (box[0] - top + margin, top + size + margin - box[1])
        if any(missing):
            image = pad(image[None, None], missing, mode="replicate")[0, 0]
        flips = [axis for axis in (0, 1) if rng.random() < 0.5]
        shift = float(rng.uniform(-SHIFT, SHIFT)) if part == "train" else 0.0
        return image.flip(flips) + shift, target.flip(flips) + shift


def pairs_of(volume: np.ndarray, factor: int) -> PatchPairs:
    """Pairs from the slices of a thick-sliced volume.

    Parameters
    ----------
    volume : np.ndarray
        The thin truth ``(slices, rows, columns)``: only its thick slices are used.
    factor : int
        Thickness of the slices; their images are degraded by the same.
    """
    seen = thick_slices(trim(volume, factor), factor)
    coarse, fine = [], []
    for turned in (seen, seen.swapaxes(1, 2)):
        turned = np.ascontiguousarray(trim(turned, factor, axis=1))
        fine.append(torch.from_numpy(turned))
        coarse.append(torch.from_numpy(degrade(turned, factor, axis=1)))
    return PatchPairs(tuple(coarse), tuple(fine))


def truth_slices(volume: np.ndarray, factor: int, count: int) -> Tensor:
    """About ``count`` sagittal slices ``(n, 1, through-plane, rows)`` of the thin volume.

    They are equally far apart; those at the sides that show hardly any tissue are left out.
    """
    slices = trim(volume, factor).transpose(2, 0, 1)
    means = slices.mean(axis=(1, 2))
    first, last = np.flatnonzero(means > 0.25 * means.max())[[0, -1]]
    chosen = slices[first : last + 1 : max(1, (last + 1 - first) // count)]
    return torch.from_numpy(np.ascontiguousarray(chosen))[:, None]


def input_slices(truth: Tensor, factor: int) -> Tensor:
    """What thick slices leave of `truth_slices`, interpolated: where the networks start."""
    return torch.from_numpy(degrade(truth.numpy(), factor, axis=2))
