"""ADMM-Net: compressed sensing, unrolled and then trained (after Yang et al. 2016).

Compressed sensing minimises ``|A x - y|^2 / 2 + mu |W x|_1``. The alternating direction method of
multipliers does so in turns,

    z <- W^H shrink(W (x + u)),   u <- u + x - z,
    x <- (A^H A + rho I)^-1 (A^H y + rho (z - u)),

with a wavelet transform W. Here W is the undecimated Haar transform, a tight frame; the thresholds
of every turn, scale and direction and every rho are learned, and a small CNN, zero at first, adds
what wavelets cannot say. So before its first training step the network approximates compressed
sensing: it stops after a few turns of a few conjugate gradients, and in a redundant frame shrinking
is not quite the proximal step of ``|W x|_1``. No coil array is foreign to it.
"""

import math

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.deep_cascade import conv_stack
from recon.physics.encoding import adjoint
from recon.physics.sense import solve

UNIT = 10


def split(image: Tensor, shift: int, axis: int) -> tuple[Tensor, Tensor]:
    """Sums and differences of pixels ``shift`` apart, halved: low and high pass, undecimated."""
    moved = torch.roll(image, -shift, axis)
    return (image + moved) / 2, (image - moved) / 2


def join(low: Tensor, high: Tensor, shift: int, axis: int) -> Tensor:
    """The adjoint of `split`, and its inverse."""
    return (low + torch.roll(low, shift, axis) + high - torch.roll(high, shift, axis)) / 2


def soft(values: Tensor, threshold: Tensor) -> Tensor:
    """Shorten complex numbers by a threshold: the real and imaginary parts together."""
    return values * (1 - threshold / values.abs().clamp_min(1e-9)).clamp_min(0)


def shrink(image: Tensor, thresholds: Tensor, shift: int = 1) -> Tensor:
    """Soften the details of an image, scale by scale.

    Parameters
    ----------
    image : Tensor
        ``(..., height, width)`` complex; edges wrap around.
    thresholds : Tensor
        ``(scales, 3)``, finest scale first: details along the rows, the columns, and both. With
        zeros the image comes back.
    """
    if not len(thresholds):
        return image
    low, high = split(image, shift, -1)
    smooth, rows = split(low, shift, -2)
    columns, both = split(high, shift, -2)
    smooth = shrink(smooth, thresholds[1:], 2 * shift)
    parts = zip((rows, columns, both), thresholds[0], strict=True)
    rows, columns, both = (soft(part, threshold) for part, threshold in parts)
    return join(join(smooth, rows, shift, -2), join(columns, both, shift, -2), shift, -1)


class ADMMNet(nn.Module):
    """ADMM-Net between measured k-space and the image.

    Parameters
    ----------
    width : int
        Feature maps of the CNN.
    convs, turns, gradients, scales : int
        Convolutions of the CNN; turns of ADMM; iterations of conjugate gradients in each; wavelet
        scales.
    penalty, threshold : float
        rho and thresholds before training, for k-space in units of its zero-filled mean.
    """

    def __init__(
        self,
        width: int = 32,
        convs: int = 4,
        turns: int = 8,
        gradients: int = 6,
        scales: int = 3,
        penalty: float = 0.02,
        threshold: float = 0.15,
    ):
        super().__init__()
        self.turns, self.gradients = turns, gradients
        # Logarithms, in units in which one step of an optimiser for weights is a step for them too.
        self.log_penalty = nn.Parameter(torch.full((turns + 1,), math.log(penalty) / UNIT))
        self.log_threshold = nn.Parameter(
            torch.full((turns, scales, 3), math.log(threshold) / UNIT)
        )
        self.correction = conv_stack(2, width, 2, convs, nn.ReLU())
        nn.init.zeros_(self.correction[-1].weight)
        nn.init.zeros_(self.correction[-1].bias)

    def extra_repr(self) -> str:
        scales = self.log_threshold.shape[1]
        return f"turns={self.turns}, gradients={self.gradients}, scales={scales}"

    def forward(self, kspace: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        """The image ``(batch, 1, height, width)`` complex; arguments as for `VSNet`."""
        first = adjoint(kspace, sensitivities, mask)
        penalties = (UNIT * self.log_penalty).exp()
        thresholds = (UNIT * self.log_threshold).exp()
        image = solve(first, sensitivities, mask, penalties[0], first, self.gradients)
        dual = torch.zeros_like(image)
        for turn in range(self.turns):
            noisy = image + dual
            channels = to_channels(noisy.unsqueeze(1))
            clean = shrink(noisy, thresholds[turn]) + to_complex(self.correction(channels))[:, 0]
            dual = noisy - clean
            penalty = penalties[turn + 1]
            right = first + penalty * (clean - dual)
            image = solve(right, sensitivities, mask, penalty, image, self.gradients)
        return image.unsqueeze(1)
