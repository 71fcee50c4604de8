"""KIKI-Net: convolutions in k-space and in the image by turns (Eo et al. 2018).

K-I-K-I: a network completes k-space, one corrects the image, data consistency, and both again with
weights of their own. The K-network draws all of k-space, the I-network a correction. The benchmark
that Chen 2022 took it from (Ramzi et al. 2020) closes every I-network with data consistency, and so
does this one. ReLU dies in the K-network, whose inputs span decades, so both use a leaky one.
"""

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.physics.encoding import data_consistency
from recon.physics.fourier import fft2c, ifft2, ifft2c


class KIKINet(nn.Module):
    """KIKI-Net between zero-filled and reconstructed coil images.

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data.
    width : int
        Feature maps; 48 gives about the 1.2 M parameters of Chen 2022.
    depth : int
        Convolutions in each of the four networks, the last of them 1 x 1.
    """

    def __init__(self, coils: int = 1, width: int = 48, depth: int = 16):
        super().__init__()

        def stack() -> nn.Sequential:
            layers: list[nn.Module] = []
            for inputs in [2 * coils, *[width] * (depth - 2)]:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(0.1)]
            return nn.Sequential(*layers, nn.Conv2d(width, 2 * coils, 1))

        self.kspace_nets = nn.ModuleList(stack() for _ in range(2))
        self.image_nets = nn.ModuleList(stack() for _ in range(2))

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` from masked corner k-space, same shape."""
        image = ifft2(torch.where(mask, kspace, 0))
        for kspace_net, image_net in zip(self.kspace_nets, self.image_nets, strict=True):
            # Centred: low frequencies are neighbours only where they lie in the middle.
            image = ifft2c(to_complex(kspace_net(to_channels(fft2c(image)))))
            image = image + to_complex(image_net(to_channels(image)))
            image = data_consistency(image, kspace, mask)
        return image
