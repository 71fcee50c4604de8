"""The U-Net baseline: fastMRI's own, fed with the stack of coil images.

Chen 2022 (section IV-B) changes the input channels of fastMRI's U-Net to take every coil's real
and imaginary part; it has no data consistency. Here the U-Net draws a correction to the zero-filled
image: its instance normalisation forgets the image's scale, and without the sum a short training
is spent on finding it again. It is meant to help the baseline.
"""

import torch
import torch.nn.functional as F
from fastmri.models import Unet
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.physics.fourier import ifft2


class UNet(nn.Module):
    """fastMRI's U-Net between zero-filled and reconstructed coil images.

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data.
    chans : int
        Feature maps of the first level (12 gives the paper's 1.1 M parameters at 4 levels).
    levels : int
        Number of poolings.
    residual : bool
        Add the zero-filled image to what the network draws.
    """

    def __init__(self, coils: int = 1, chans: int = 12, levels: int = 4, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.multiple = 2**levels
        self.unet = Unet(2 * coils, 2 * coils, chans=chans, num_pool_layers=levels)

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` from masked corner k-space, same shape."""
        channels = to_channels(ifft2(torch.where(mask, kspace, 0)))
        height, width = channels.shape[-2:]
        # Instance normalisation needs more than one value at the deepest level.
        size = [max(2 * self.multiple, n + -n % self.multiple) for n in (height, width)]
        mode = "reflect" if size[0] < 2 * height and size[1] < 2 * width else "replicate"
        padded = F.pad(channels, (0, size[1] - width, 0, size[0] - height), mode=mode)
        drawn = self.unet(padded)[..., :height, :width]
        return to_complex(channels + drawn if self.residual else drawn)
