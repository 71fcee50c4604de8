"""KIKI-Net: convolutions in k-space and in the image by turns (Eo et al. 2018).

K-I-K-I: a network completes k-space, one corrects the image, data consistency, and both again with
weights of their own. The K-network draws all of k-space, the I-network a correction. The benchmark
that Chen 2022 took it from (Ramzi et al. 2020) closes every I-network with data consistency, and so
does this one. ReLU dies in the K-network, whose inputs span decades, so both use a leaky one.

A K-network with random weights erases all that was not measured, and a short training ends before
it has learned to pass k-space on. As for PC-RNN (`recon.networks.identity`), some feature maps
therefore carry k-space through from the first step; all weights are trained.
"""

import torch
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.identity import connect
from recon.physics.encoding import data_consistency
from recon.physics.fourier import fft2c, ifft2, ifft2c

SLOPE = 0.1  # of the leaky ReLUs


def pass_on(stack: nn.Sequential, channels: int) -> None:
    """Make a stack of convolutions the identity of its inputs, if its feature maps are enough.

    Each input and its negative take a feature map; ``leaky(x) - leaky(-x) = (1 + slope) x``.
    """
    first, *middle, last = [layer for layer in stack if isinstance(layer, nn.Conv2d)]
    if first.out_channels < 2 * channels:
        return
    merge = torch.cat([torch.eye(channels), -torch.eye(channels)], dim=1) / (1 + SLOPE)
    split = torch.cat([torch.eye(channels), -torch.eye(channels)])
    connect(first, split)
    for layer in middle:
        connect(layer, split @ merge)
    with torch.no_grad():
        last.weight.zero_()
        last.weight[:, : 2 * channels, 0, 0] = merge
        last.bias.zero_()


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
    start : {"identity", "random"}
        First weights of the K-networks.
    """

    def __init__(self, coils: int = 1, width: int = 48, depth: int = 16, start: str = "identity"):
        super().__init__()

        def stack() -> nn.Sequential:
            layers: list[nn.Module] = []
            for inputs in [2 * coils, *[width] * (depth - 2)]:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
                # torch's default halves the signal in each layer: nothing passes through sixteen.
                nn.init.kaiming_normal_(layers[-2].weight, a=SLOPE)
            return nn.Sequential(*layers, nn.Conv2d(width, 2 * coils, 1))

        self.kspace_nets = nn.ModuleList(stack() for _ in range(2))
        self.image_nets = nn.ModuleList(stack() for _ in range(2))
        if start == "identity":
            for kspace_net in self.kspace_nets:
                pass_on(kspace_net, 2 * coils)

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` from masked corner k-space, same shape."""
        image = ifft2(torch.where(mask, kspace, 0))
        for kspace_net, image_net in zip(self.kspace_nets, self.image_nets, strict=True):
            # Centred: low frequencies are neighbours only where they lie in the middle.
            image = ifft2c(to_complex(kspace_net(to_channels(fft2c(image)))))
            image = image + to_complex(image_net(to_channels(image)))
            image = data_consistency(image, kspace, mask)
        return image
