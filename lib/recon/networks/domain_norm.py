"""Normalisation over the domains, which keeps what is peculiar to an image.

Instance normalisation divides a channel by its deviation over the image that is being looked at.
What a high-pass filter leaves of a noisy and of a calm image then has the same deviation, and how
noisy the image is shows in the shape of the distribution only; brightness and contrast are lost to
a generator in the same way. Here a channel is normalised by its mean and deviation over images of
both domains, measured before the training.

A generator that is normalised so keeps the brightness and the contrast of its input, can start by
returning it exactly, and treats a crop as it treats the whole image.
"""

import torch
from torch import Tensor, nn

from recon.errors import InputError
from recon.networks.cyclegan import Generator, HDCycleGAN, InstanceNorm

__all__ = [
    "DomainNorm",
    "follow",
    "measure",
    "normalise_over_domains",
    "start_from_input",
    "with_domain_norm",
]


class DomainNorm(nn.Module):
    """Every channel less its mean, over its deviation, both over images of both domains.

    No parameters. The two numbers of a channel are buffers: measured by `calibrate`, and while
    `following` is set those of the batch, which the buffers then follow (batch normalisation).
    Otherwise they stay as they are.
    """

    FOLLOW = 0.1  # share of the batch's numbers that a step takes over

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.following = False
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def extra_repr(self) -> str:
        return str(self.mean.shape[1])

    def _measure(self, features: Tensor) -> tuple[Tensor, Tensor]:
        deviation, mean = torch.std_mean(features, (0, 2, 3), correction=0, keepdim=True)
        return mean, deviation.clamp(min=1e-5)

    @torch.no_grad()
    def calibrate(self, features: Tensor, share: float = 1.0) -> None:
        """Take (a share of) mean and deviation from features ``(batch, channels, H, W)``."""
        mean, deviation = self._measure(features)
        self.mean.lerp_(mean, share)
        self.deviation.lerp_(deviation, share)

    def forward(self, features: Tensor) -> Tensor:
        if self.following:
            self.calibrate(features, self.FOLLOW)
            mean, deviation = self._measure(features)
        else:
            mean, deviation = self.mean, self.deviation
        return (features - mean) / deviation


def follow(network: nn.Module, following: bool) -> None:
    """Let all `DomainNorm` of a network follow their batches, or stop it."""
    for part in network.modules():
        if isinstance(part, DomainNorm):
            part.following = following


@torch.no_grad()
def normalise_over_domains(network: nn.Module, images: Tensor) -> None:
    """Put domain for instance normalisation, layer by layer calibrated on the images.

    Parameters
    ----------
    network : nn.Module
        A generator or a discriminator; changed in place.
    images : Tensor
        ``(batch, 1, height, width)``, of both domains.
    """
    for module in [*network.modules()]:
        for name, child in module.named_children():
            if isinstance(child, InstanceNorm):
                setattr(module, name, DomainNorm(child.num_channels))
    measure(network, images)


@torch.no_grad()
def measure(network: nn.Module, images: Tensor) -> None:
    """Calibrate every `DomainNorm` of a network on images, from the first to the last.

    Parameters
    ----------
    network : nn.Module
    images : Tensor
        ``(batch, 1, height, width)``, of both domains.
    """
    hooks = [
        part.register_forward_pre_hook(lambda norm, inputs: norm.calibrate(inputs[0]))
        for part in network.modules()
        if isinstance(part, DomainNorm)
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def start_from_input(generator: Generator) -> Generator:
    """Set first weights so that a generator with skips returns its input, but for normalisation.

    Two channels of the first convolution carry the image, one upside down, for ReLU lets only
    positive values pass; the last convolution puts them together again, and takes nothing else at
    first. With instance normalisation the image comes back with another brightness and contrast.

    Raises
    ------
    InputError
        For a generator without skips: nothing passes its coarse middle unchanged.
    """
    if not generator.skips:
        raise InputError("a generator without skips cannot start by returning its input")
    first, last = generator.initial[0], generator.final[0]
    width, middle = len(first.weight), first.kernel_size[0] // 2
    first.weight[:2] = 0
    first.weight[0, 0, middle, middle], first.weight[1, 0, middle, middle] = 1, -1
    first.bias[:2] = 0
    last.weight.zero_()
    last.weight[0, width, 1, 1], last.weight[0, width + 1, 1, 1] = 1, -1
    last.bias.zero_()
    return generator


@torch.no_grad()
def with_domain_norm(model: HDCycleGAN, images: Tensor) -> HDCycleGAN:
    """Replace a model's instance normalisation; generators with skips start by copying.

    Parameters
    ----------
    model : HDCycleGAN
        Changed in place; before its training.
    images : Tensor
        ``(batch, 1, height, width)`` of both domains, as the training will see them.

    Returns
    -------
    HDCycleGAN
        The same model.
    """
    networks = [model.judge(domain)[0] for domain in ("high", "low")]
    for network in {id(one): one for one in networks}.values():
        normalise_over_domains(network, images)
    for generator in (model.to_low, model.to_high):
        if generator.skips:
            start_from_input(generator)
        normalise_over_domains(generator, images)
        if generator.skips:
            norm, last = generator.initial[1], generator.final[0]
            width = len(norm.mean[0])
            # What the normalisation took from the two channels is put back.
            last.weight[0, width : width + 2] *= norm.deviation[0, :2]
            last.bias += norm.mean[0, 0, 0, 0]
    return model
