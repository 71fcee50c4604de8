"""VS-Net: variable splitting for parallel imaging (Duan et al. 2019).

Each of five cascades holds three steps: a CNN denoises the combined image; every coil is made
consistent with what it measured; both are averaged with learned weights. The CNN and the data step
start from the *same* image, side by side.
"""

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.deep_cascade import conv_stack
from recon.physics.encoding import adjoint
from recon.physics.fourier import fft2, ifft2


class VSNet(nn.Module):
    """VS-Net between measured k-space and the image.

    Parameters
    ----------
    width : int
        Feature maps: 64 in the original (0.57 M parameters); 108 gives the 1.6 M of Chen 2022, 112
        runs faster on a CPU.
    cascades, convs : int
        Cascades, and convolutions in each.
    """

    def __init__(self, width: int = 108, cascades: int = 5, convs: int = 5):
        super().__init__()
        self.blocks = nn.ModuleList(
            conv_stack(2, width, 2, convs, nn.ReLU()) for _ in range(cascades)
        )
        # mu: how far measured samples are pulled to the measurement; nu: weight of the CNN.
        self.mu = nn.Parameter(torch.full((cascades,), 0.1))
        self.nu = nn.Parameter(torch.full((cascades,), 0.1))

    def forward(self, kspace: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        """The image ``(batch, 1, height, width)`` complex.

        Parameters
        ----------
        kspace, sensitivities : Tensor
            ``(batch, coils, height, width)`` complex, corner layout.
        mask : Tensor
            Bool, broadcastable, corner layout.
        """
        image = adjoint(kspace, sensitivities, mask)
        for block, mu, nu in zip(self.blocks, self.mu, self.nu, strict=True):
            channels = to_channels(image.unsqueeze(1))
            denoised = to_complex(channels + block(channels))[:, 0]
            coils = fft2(sensitivities * image.unsqueeze(1))
            coils = torch.where(mask, mu * coils + (1 - mu) * kspace, coils)
            consistent = (sensitivities.conj() * ifft2(coils)).sum(1)
            image = nu * denoised + (1 - nu) * consistent
        return image.unsqueeze(1)
