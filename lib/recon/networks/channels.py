"""The door between complex images and real-valued networks."""

import torch
from torch import Tensor, nn


def to_channels(image: Tensor) -> Tensor:
    """``(batch, coils, height, width)`` complex to ``(batch, 2 coils, height, width)`` real.

    The real parts of all coils come first, then the imaginary parts: section III-D of Chen 2022
    stacks them along one dimension.
    """
    channels = torch.cat([image.real, image.imag], dim=1)
    return channels.contiguous(memory_format=torch.channels_last)


def to_complex(channels: Tensor) -> Tensor:
    """The inverse of `to_channels`; always in 32-bit, whatever precision the network ran in."""
    real, imag = channels.float().chunk(2, dim=1)
    return torch.complex(real.contiguous(), imag.contiguous())


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
