"""Bicubic interpolation: how a low-resolution image is made, and the baseline that enlarges it.

There are several "bicubic" kernels. This one is Keys' with a = -0.5, and when an image is reduced
the kernel is widened by the factor, which keeps high frequencies from folding into low ones
(anti-aliasing): the convention of Pillow and, but for the borders, of MATLAB's ``imresize``. What
libraries call bicubic without anti-aliasing is another thing, and a network trained on one of them
is no good on the other.
"""

import torch
from torch import Tensor

from recon.errors import InputError

__all__ = ["bicubic", "enlarge", "reduce", "whole_crop"]


def bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample images by Keys' kernel (a = -0.5), anti-aliased where they shrink.

    Parameters
    ----------
    image : Tensor
        ``(batch, channels, height, width)`` float.
    size : (int, int)
        New height and width.
    """
    return torch.nn.functional.interpolate(
        image, size=size, mode="bicubic", align_corners=False, antialias=True
    )


def enlarge(low: Tensor, scale: int) -> Tensor:
    """``(batch, channels, h, w)`` to ``(batch, channels, scale h, scale w)``."""
    return bicubic(low, (scale * low.shape[-2], scale * low.shape[-1]))


def reduce(image: Tensor, scale: int) -> Tensor:
    """``(batch, channels, H, W)`` to ``(batch, channels, H / scale, W / scale)``.

    Raises
    ------
    InputError
        When a side is no multiple of the scale: the two grids would not fit.
    """
    height, width = image.shape[-2:]
    if height % scale or width % scale:
        raise InputError(
            f"an image of {height} x {width} cannot be reduced {scale} times to whole pixels: "
            "cut it with whole_crop first"
        )
    return bicubic(image, (height // scale, width // scale))


def whole_crop(image: Tensor, scale: int) -> Tensor:
    """The middle of an image ``(..., H, W)`` whose sides are multiples of the scale."""
    height, width = (side - side % scale for side in image.shape[-2:])
    if not height or not width:
        raise InputError(f"an image of {tuple(image.shape[-2:])} is smaller than the scale {scale}")
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
