"""A normalisation that does not hide how noisy an image is.

Instance normalisation divides a channel by its deviation over the image that is being looked at.
What a high-pass filter leaves of a noisy and of a calm image then has the same deviation: the noise
level, which is all that tells the two domains of Manakov 2019 apart, is gone from every layer. Here
a channel is normalised by its mean and deviation over images of both domains, measured once before
the training; a noisy image still differs from a calm one behind it.
"""

import torch
from torch import Tensor, nn

from recon.networks.cyclegan import HDCycleGAN, InstanceNorm

__all__ = ["DomainNorm", "with_domain_norm"]


class DomainNorm(nn.Module):
    """Every channel less its mean, over its deviation, both over the images of `calibrate`.

    No parameters; the two numbers of a channel are buffers and never change with training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def extra_repr(self) -> str:
        return str(self.mean.shape[1])

    def calibrate(self, features: Tensor) -> None:
        """Take mean and deviation from features ``(batch, channels, height, width)``."""
        deviation, mean = torch.std_mean(features, (0, 2, 3), correction=0, keepdim=True)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=1e-5))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


@torch.no_grad()
def with_domain_norm(model: HDCycleGAN, images: Tensor) -> HDCycleGAN:
    """Replace the instance normalisation of a model's discriminators, which keep their weights.

    Parameters
    ----------
    model : HDCycleGAN
        Changed in place; before its training.
    images : Tensor
        ``(batch, 1, height, width)`` of both domains, as the training will see them.

    Returns
    -------
    HDCycleGAN
        The same model. It has as many parameters as before.
    """
    judges = {id(judge): judge for judge in (model.judge(d)[0] for d in ("high", "low"))}
    for judge in judges.values():
        for module in [*judge.modules()]:
            for name, child in module.named_children():
                if isinstance(child, InstanceNorm):
                    setattr(module, name, DomainNorm(child.num_channels))
        hooks = [
            part.register_forward_pre_hook(lambda norm, inputs: norm.calibrate(inputs[0]))
            for part in judge.modules()
            if isinstance(part, DomainNorm)
        ]
        try:
            judge(images)
        finally:
            for hook in hooks:
                hook.remove()
    return model
