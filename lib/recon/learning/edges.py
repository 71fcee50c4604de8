"""The loss of Remedios et al. (2022), section 3.3: absolute error plus that of the Sobel edges.

The paper names the two terms only. Here they weigh the same, edges are the two derivatives (not
their magnitude), and the Sobel filters are divided by 8, so that a ramp has its slope.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, l1_loss

__all__ = ["L1Sobel", "sobel"]

KERNEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8


def sobel(image: Tensor) -> Tensor:
    """Derivatives along columns and rows, ``(batch, 1, h, w)`` to ``(batch, 2, h - 2, w - 2)``."""
    kernels = torch.stack([KERNEL, KERNEL.T])[:, None]
    return conv2d(image, kernels.to(image))


class L1Sobel(nn.Module):
    """``mean |x - t| + weight * mean |sobel(x) - sobel(t)|``.

    Parameters
    ----------
    weight : float
        Of the edges.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Loss of images ``(batch, 1, height, width)``."""
        return l1_loss(image, target) + self.weight * l1_loss(sobel(image), sobel(target))
