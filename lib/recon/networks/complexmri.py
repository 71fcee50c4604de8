"""ComplexMRI: a cascade of complex convolutions (Wang et al. 2020).

Ten blocks of five complex convolutions. A complex convolution with weights ``A + iB`` maps
``a + ib`` to ``(A a - B b) + i (A b + B a)``; biases and ReLU act on real and imaginary parts.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.physics.encoding import data_consistency
from recon.physics.fourier import ifft2


class ComplexConv(nn.Module):
    """3 x 3 complex convolution of stacked channels: first all real parts, then all imaginary ones.

    One real convolution with the block matrix ``[[A, -B], [B, A]]`` does it, which is faster than
    four small ones.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.real = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.imag = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(2 * outputs))
        # Half the variance each: the sum over both parts has that of a real convolution.
        for part in (self.real, self.imag):
            nn.init.kaiming_uniform_(part, a=5**0.5)
            part.data.mul_(0.5**0.5)

    def forward(self, channels: Tensor) -> Tensor:
        above = torch.cat([self.real, -self.imag], dim=1)
        below = torch.cat([self.imag, self.real], dim=1)
        return F.conv2d(channels, torch.cat([above, below]), self.bias, padding=1)


class ComplexMRI(nn.Module):
    """ComplexMRI between zero-filled and reconstructed coil images.

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data; a coil is one complex channel.
    width : int
        Complex feature maps: 32 in the original. 48 gives about the 1.6 M of Chen 2022.
    cascades, convs : int
        Blocks, and convolutions in each.
    """

    def __init__(self, coils: int = 1, width: int = 48, cascades: int = 10, convs: int = 5):
        super().__init__()
        sizes = [coils, *[width] * (convs - 1), coils]
        self.blocks = nn.ModuleList(
            nn.ModuleList(ComplexConv(before, after) for before, after in pairwise(sizes))
            for _ in range(cascades)
        )

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` from masked corner k-space, same shape."""
        image = ifft2(torch.where(mask, kspace, 0))
        for block in self.blocks:
            features = to_channels(image)
            for conv in block[:-1]:
                features = F.relu(conv(features))
            image = data_consistency(image + to_complex(block[-1](features)), kspace, mask)
        return image
