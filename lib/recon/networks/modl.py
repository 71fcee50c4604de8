"""MoDL: unrolled reconstruction with exact data consistency (Aggarwal et al. 2019).

Not one of the networks of Chen 2022. It alternates a denoiser D with the solution of

    (A^H A + lambda I) x = A^H y + lambda D(x)

by conjugate gradients. Where the coils' maps are known, the equation says all that the measurement
says, for any coil array; what has to be learned is the image alone.
"""

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.deep_cascade import conv_stack
from recon.physics.encoding import adjoint
from recon.physics.sense import solve


class MoDL(nn.Module):
    """MoDL between measured k-space and the image.

    Parameters
    ----------
    width : int
        Feature maps of the denoiser, 64 in the original.
    convs : int
        Its convolutions, 5 in the original.
    turns : int
        Denoisings, all with one set of weights; 10 in the original.
    gradients : int
        Iterations of conjugate gradients before the first and after each.
    """

    def __init__(self, width: int = 64, convs: int = 5, turns: int = 10, gradients: int = 10):
        super().__init__()
        self.turns, self.gradients = turns, gradients
        self.denoiser = conv_stack(2, width, 2, convs, nn.ReLU())
        # At first D(x) = x, and the network is regularised SENSE.
        nn.init.zeros_(self.denoiser[-1].weight)
        nn.init.zeros_(self.denoiser[-1].bias)
        self.log_weight = nn.Parameter(torch.tensor(-3.0))

    def extra_repr(self) -> str:
        return f"turns={self.turns}, gradients={self.gradients}"

    def forward(self, kspace: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        """The image ``(batch, 1, height, width)`` complex; arguments as for `VSNet`."""
        weight = self.log_weight.exp()
        first = adjoint(kspace, sensitivities, mask)
        image = solve(first, sensitivities, mask, weight, first, self.gradients)
        for _ in range(self.turns):
            channels = to_channels(image.unsqueeze(1))
            denoised = to_complex(channels + self.denoiser(channels))[:, 0]
            right = first + weight * denoised
            image = solve(right, sensitivities, mask, weight, denoised, self.gradients)
        return image.unsqueeze(1)
