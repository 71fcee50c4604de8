"""SRCNN (Dong et al. 2016): three convolutions on the interpolated image."""

import torch
from torch import Tensor, nn

from recon.classical.interpolation import enlarge

QUIET = 0.01  # factor of the other first weights into the output


class SRCNN(nn.Module):
    """Convolutions of 9, 5 and 5 pixels with ReLUs between, after bicubic interpolation.

    The paper of the network has 64 and 32 feature maps; Stoian (2020) also gives all layers one
    width. Neither says how the weights start. Here the first feature map carries the interpolated
    image through, so that a short training is spent on correcting it; all other weights are
    random, and every weight is trained.

    Parameters
    ----------
    width : int
        Feature maps of the first layer.
    second : int, optional
        Feature maps of the second layer; as many when not given.
    scale : int
        Factor of the interpolation.
    """

    def __init__(self, width: int, second: int | None = None, scale: int = 4):
        super().__init__()
        self.scale = scale
        second = second or width
        self.extract = nn.Conv2d(1, width, 9, padding=4)
        self.map = nn.Conv2d(width, second, 5, padding=2)
        self.draw = nn.Conv2d(second, 1, 5, padding=2)
        self._pass_the_image_on()

    @torch.no_grad()
    def _pass_the_image_on(self) -> None:
        self.draw.weight *= QUIET
        for layer in (self.extract, self.map, self.draw):
            middle = layer.kernel_size[0] // 2
            layer.weight[0] = layer.weight[0] if layer is self.draw else 0
            layer.weight[0, 0] = 0
            layer.weight[0, 0, middle, middle] = 1
            layer.bias[0] = 0

    def forward(self, low: Tensor) -> Tensor:
        """``(batch, 1, h, w)`` to ``(batch, 1, scale h, scale w)``."""
        features = self.extract(enlarge(low, self.scale)).relu()
        return self.draw(self.map(features).relu())

    def extra_repr(self) -> str:
        return f"scale={self.scale}"
