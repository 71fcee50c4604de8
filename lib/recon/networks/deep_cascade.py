"""D5C5: a deep cascade of CNNs and data consistency (Schlemper et al. 2018).

Five blocks of five convolutions each, with their own weights. A block adds a correction to the
image and data consistency follows. Coils enter as channels, as Chen 2022 (section IV-B) has it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.physics.encoding import data_consistency
from recon.physics.fourier import ifft2


def conv_stack(inputs: int, width: int, outputs: int, depth: int, activation: nn.Module):
    """``depth`` 3 x 3 convolutions with an activation between each two."""
    sizes = [inputs, *[width] * (depth - 1), outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, padding=1), activation]
    return nn.Sequential(*layers[:-1])


class DeepCascade(nn.Module):
    """D5C5 between zero-filled and reconstructed coil images.

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data.
    width : int
        Feature maps: 64 in the original (0.57 M parameters). 96 gives the 1.3 M of Chen 2022.
    cascades, convs : int
        Blocks, and convolutions in each.
    """

    def __init__(self, coils: int = 1, width: int = 96, cascades: int = 5, convs: int = 5):
        super().__init__()
        channels = 2 * coils
        self.blocks = nn.ModuleList(
            conv_stack(channels, width, channels, convs, nn.LeakyReLU(0.01))
            for _ in range(cascades)
        )

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` from masked corner k-space, same shape."""
        image = ifft2(torch.where(mask, kspace, 0))
        for block in self.blocks:
            image = image + to_complex(block(to_channels(image)))
            image = data_consistency(image, kspace, mask)
        return image
