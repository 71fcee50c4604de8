"""Start PC-RNN near the identity, so that it has something to correct from the first step on.

The papers do not say how weights start. From random ones, a decoder draws noise, and much of a
short training is spent on learning to pass the image on. Here some feature maps carry the image
through from the beginning: its positive and its negative part, each through ReLUs that leave it
alone, smoothed where the encoder halves the resolution and interpolated where the decoder doubles
it. All other weights stay random, and every weight is trained.
"""

import torch
from torch import Tensor, nn


def outer(*taps: float) -> Tensor:
    """The separable kernel with these taps along both axes."""
    line = torch.tensor(taps)
    return line[:, None] * line


# By stride, for 3 x 3 convolutions and for 4 x 4 transposed ones.
ANALYSIS = {1: outer(0, 1, 0), 2: outer(0.25, 0.5, 0.25)}
SYNTHESIS = {1: outer(0, 1, 0, 0), 2: outer(0.5, 1, 0.5, 0)}

GAIN = 0.4  # of the decoders


@torch.no_grad()
def connect(conv: nn.Conv2d | nn.ConvTranspose2d, table: Tensor) -> None:
    """Make the first outputs of a convolution the combinations of its inputs in ``table``.

    Parameters
    ----------
    conv : nn.Conv2d or nn.ConvTranspose2d
        3 x 3, or transposed 4 x 4.
    table : Tensor
        ``(outputs, inputs)``, for the first outputs and the first inputs.
    """
    transposed = isinstance(conv, nn.ConvTranspose2d)
    weight = conv.weight.transpose(0, 1) if transposed else conv.weight
    kernel = (SYNTHESIS if transposed else ANALYSIS)[conv.stride[0]]
    rows, columns = table.shape
    weight[:rows] = 0
    weight[:rows, :columns] = table[..., None, None] * kernel
    conv.bias[:rows] = 0


def start_near_identity(network: nn.Module, gain: float = GAIN) -> None:
    """Set the first weights of a `PCRNN`, in place, wherever its feature maps are enough.

    A module needs two feature maps for each of its channels; a narrower one stays random.

    Parameters
    ----------
    network : PCRNN
        Freshly built.
    gain : float
        Factor of every decoder. A hidden state adds up the images of earlier turns, so 1 over the
        number of turns would draw their mean.
    """
    modules = list(network.modules_by_scale)
    channels = modules[0].encoder[0].in_channels
    same = torch.eye(2 * channels)
    merge = torch.cat([torch.eye(channels), -torch.eye(channels)], dim=1)
    split = merge.T
    for module in modules:
        first, _, second, _ = module.encoder
        if first.out_channels < 2 * channels:
            continue
        connect(first, split)
        connect(second, same)
        for residual in module.resblock:
            connect(residual.second, 0 * same)
        connect(module.decoder[0].conv, same)
        connect(module.decoder[2].conv, gain * merge)
    first, second, third, last = network.final[::2]
    if first.out_channels >= 2 * channels:
        earlier = torch.zeros(2 * channels, channels * (len(modules) - 1))
        connect(first, torch.cat([earlier, split], dim=1))
        connect(second, same)
        connect(third, same)
        connect(last, merge)
