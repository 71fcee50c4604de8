"""Tiles as common tools put them together: overlapping patches, averaged or cropped.

MONAI (Cardoso et al. 2022) and nnU-Net (Isensee et al. 2021) average, under a window; that softens
seams and leaves their cause. TorchIO (Pérez-García et al. 2021) averages if told to. Its default
crops half the overlap from every patch, which is exact once that half is the network's margin.
"""

from itertools import product

import torch
from torch import Tensor, nn

from recon.errors import InputError

__all__ = ["WINDOWS", "blend", "crop_overlap", "starts", "window"]

WINDOWS = ("constant", "gaussian", "hann")


def starts(length: int, patch: int, overlap: int) -> list[int]:
    """Where patches begin along an axis; the last one is moved back to end with the image."""
    step = patch - overlap
    return [min(at, length - patch) for at in range(0, max(length - overlap, 1), step)]


def window(kind: str, patch: int) -> Tensor:
    """Weights ``(patch, patch)``.

    ``gaussian`` has a standard deviation of an eighth of the patch, as MONAI and nnU-Net have it,
    with its maximum in the middle and no weight below 1e-3; ``hann`` is TorchIO's, which starts
    beyond zero.
    """
    place = torch.arange(patch, dtype=torch.float32)
    if kind == "constant":
        line = torch.ones(patch)
    elif kind == "gaussian":
        line = torch.exp(-((place - (patch - 1) / 2) ** 2) / (2 * (patch / 8) ** 2))
    elif kind == "hann":
        line = torch.hann_window(patch + 2, periodic=False)[1:-1]
    else:
        raise InputError(f"the window is {kind!r}; use one of {', '.join(WINDOWS)}.")
    weights = line[:, None] * line[None, :]
    return weights.clamp(min=1e-3) if kind == "gaussian" else weights


@torch.no_grad()
def blend(network: nn.Module, image: Tensor, patch: int, overlap: float, kind: str) -> Tensor:
    """Weighted mean of the outputs of overlapping patches.

    Parameters
    ----------
    network : nn.Module
        That keeps the size.
    image : (1, channels, height, width) Tensor
        At least as large as a patch.
    patch : int
        Pixels along each side.
    overlap : float
        Share of a patch, 0 to below 1.
    kind : str
        See `window`.
    """
    height, width = _fitting(image, patch, overlap, 0 <= overlap < 1)
    weights = window(kind, patch).to(image)
    total, norm = None, torch.zeros(height, width).to(image)
    shared = int(patch * overlap)
    for top, left in product(starts(height, patch, shared), starts(width, patch, shared)):
        at = (..., slice(top, top + patch), slice(left, left + patch))
        result = network(image[at])
        if total is None:
            total = image.new_zeros(*result.shape[:2], height, width)
        total[at] += weights * result
        norm[at] += weights
    return total / norm


@torch.no_grad()
def crop_overlap(network: nn.Module, image: Tensor, patch: int, overlap: int) -> Tensor:
    """Outputs of overlapping patches without half the overlap: TorchIO's default.

    What ``GridSampler`` and ``GridAggregator(overlap_mode="crop")`` do: patches begin every
    ``patch - overlap`` pixels, the last one ends with the image; half the overlap is cropped on
    each side that is no border of the image; where patches still overlap, the later one stays.

    Parameters
    ----------
    network : nn.Module
        That keeps the size.
    image : (1, channels, height, width) Tensor
        At least as large as a patch.
    patch, overlap : int
        Pixels along each side; the overlap is even.
    """
    height, width = _fitting(image, patch, overlap, 0 <= overlap < patch and overlap % 2 == 0)
    drawn = None
    for top, left in product(starts(height, patch, overlap), starts(width, patch, overlap)):
        result = network(image[..., top : top + patch, left : left + patch])
        if drawn is None:
            drawn = image.new_zeros(*result.shape[:2], height, width)
        rows, columns = (
            slice(overlap // 2 * (at > 0), patch - overlap // 2 * (at + patch < length))
            for at, length in ((top, height), (left, width))
        )
        there = drawn[..., top : top + patch, left : left + patch]
        there[..., rows, columns] = result[..., rows, columns]
    return drawn


def _fitting(image: Tensor, patch: int, overlap: float, sound: bool) -> tuple[int, int]:
    """Height and width of an image that the patches fit."""
    height, width = image.shape[-2:]
    if min(height, width) < patch or not sound:
        raise InputError(f"patch {patch} and overlap {overlap} do not go with {height} x {width}.")
    return height, width
