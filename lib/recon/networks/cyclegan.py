"""HDcycleGAN, and the plain cycleGAN that it grew from, each change a switch.

Manakov et al. (2019), tables A.1 and A.2. Two generators translate between images of much and of
little noise; a discriminator tells real images of either domain from generated ones. What the
tables leave open follows the published code where it says more: zero padding in the generators,
reflection in the discriminators, no learnt scale and offset in normalisation inside residual blocks
and in the discriminators, default first weights.

Every convolution but a generator's last is normalised over its own map, which takes any constant
away: biases before a normalisation cannot change anything. They count as parameters all the same.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recon.errors import InputError

__all__ = ["DOMAINS", "FAKE", "Discriminator", "Generator", "HDCycleGAN"]

DOMAINS = ("high", "low")  # noise; the classes 1 and 2 of a shared discriminator
FAKE = 0


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation: every channel of every image by its own mean and deviation.

    A group normalisation of one channel a group is the same sum, and on a CPU it keeps the memory
    layout in which convolutions are fast, where `torch.nn.InstanceNorm2d` copies.
    """

    def __init__(self, channels: int, affine: bool = False) -> None:
        super().__init__(channels, channels, affine=affine)


def convolution(
    inside: int, outside: int, kernel=3, stride=1, padding="zeros", affine=False
) -> nn.Sequential:
    """A convolution that keeps the size (or divides it by `stride`), its normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, padding_mode=padding),
        InstanceNorm(outside, affine),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """``x + f(x)``, where f is some convolutions in a row, each with normalisation and ReLU."""

    def __init__(self, channels: int, convolutions: int, padding: str = "zeros") -> None:
        super().__init__()
        layers = (convolution(channels, channels, padding=padding) for _ in range(convolutions))
        self.body = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class Generator(nn.Module):
    """Table A.1: down, through residual blocks, up again; no parameter depends on the image's size.

    Parameters
    ----------
    width : int
        Channels at full resolution, 16 in the paper; every step down doubles them.
    depth : int
        Steps down, each by two.
    blocks : int
        Residual blocks of three convolutions at the coarsest resolution.
    skips : bool
        Whether the features on the way down are concatenated to those on the way up, at every
        resolution (the paper's first change of the cycleGAN).
    resize : bool
        Whether a step up is bilinear interpolation and a convolution (the second change) or a
        transposed convolution of stride two, as in the cycleGAN.

    Notes
    -----
    As published (16, 3, 6): 2,948,945 parameters. The layers are ``initial``, ``down``,
    ``residual``, ``up`` and ``final``.
    """

    def __init__(
        self, width: int = 16, depth: int = 3, blocks: int = 6, skips: bool = True, resize=True
    ) -> None:
        super().__init__()
        self.depth, self.skips, self.resize = depth, skips, resize
        widths = [width * 2**level for level in range(depth + 1)]
        self.initial = convolution(1, width, 7, affine=True)
        self.down = nn.ModuleList(
            convolution(fine, 2 * fine, stride=2, affine=True) for fine in widths[:-1]
        )
        self.residual = nn.ModuleList(Residual(widths[-1], 3) for _ in range(blocks))
        self.up = nn.ModuleList(self._step_up(coarse) for coarse in widths[:0:-1])
        # The last has no normalisation: the output is an image, in the units of the input.
        self.final = nn.Sequential(
            nn.Conv2d((2 if skips else 1) * width, 1, 3, padding=1), nn.ReLU()
        )

    def _step_up(self, coarse: int) -> nn.Sequential:
        """From `coarse` channels (twice as many with a skip) to half, at twice the resolution."""
        inside = 2 * coarse if self.skips else coarse
        if self.resize:
            enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
            return nn.Sequential(enlarge, convolution(inside, coarse // 2, affine=True))
        enlarge = nn.ConvTranspose2d(inside, coarse // 2, 3, 2, padding=1, output_padding=1)
        return nn.Sequential(enlarge, InstanceNorm(coarse // 2, affine=True), nn.ReLU())

    def extra_repr(self) -> str:
        return f"skips={self.skips}, resize={self.resize}"

    def forward(self, images: Tensor) -> Tensor:
        """Translate images.

        Parameters
        ----------
        images : Tensor
            ``(batch, 1, height, width)``, sides multiples of ``2**depth``.

        Returns
        -------
        Tensor
            Of the same shape, not negative.

        Raises
        ------
        InputError
            When the sides do not fit.
        """
        step = 2**self.depth
        height, width = images.shape[-2:]
        # At one pixel a map there would be nothing left of it after normalisation.
        if height % step or width % step or min(height, width) < 2 * step:
            raise InputError(
                f"the generator halves images {self.depth} times: sides have to be multiples of "
                f"{step}, at least {2 * step}; these are {height} x {width}"
            )
        features = self.initial(images)
        kept = [features]
        for down in self.down:
            features = down(features)
            kept.append(features)
        for block in self.residual:
            features = block(features)
        for layer in (*self.up, self.final):
            features = layer(torch.cat([features, kept.pop()], 1) if self.skips else features)
        return features


class Discriminator(nn.Module):
    """Table A.2: down to a few pixels, their mean, and one score (logit) a class.

    Parameters
    ----------
    width : int
        Channels after the first step down; every further one doubles them.
    depth : int
        Steps down, each by two.
    block : {"after", "before", None}
        Where residual blocks of two convolutions stand: after every step down, as table A.2 prints
        it; before, as in the published code; nowhere, as in a plain cycleGAN.
    classes : int
        3 for a shared discriminator (generated, real of much noise, real of little); 2 for one of
        a single domain (generated, real).

    Notes
    -----
    As published (16, 7, three classes): 31,463,523 parameters with blocks after, 12,587,127 before.
    """

    def __init__(
        self, width: int = 16, depth: int = 7, block: str | None = "after", classes: int = 3
    ) -> None:
        super().__init__()
        if block not in ("after", "before", None):
            raise InputError(f"a discriminator's block is {block!r}; use 'after', 'before' or None")
        self.depth = depth
        layers, inside = [], 1
        for level in range(depth):
            outside = width * 2**level
            if block == "before":
                layers.append(Residual(inside, 2, "reflect"))
            layers.append(convolution(inside, outside, stride=2, padding="reflect"))
            if block == "after":
                layers.append(Residual(outside, 2, "reflect"))
            inside = outside
        self.body = nn.Sequential(*layers)
        self.logits = nn.Linear(inside, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores before softmax, ``(batch, classes)``, of images ``(batch, 1, height, width)``.

        Raises
        ------
        InputError
            When the images are so small that a single pixel would be left: normalised, it is 0
            whatever it shows.
        """
        least = 2**self.depth + 1
        if min(images.shape[-2:]) < least:
            raise InputError(
                f"the discriminator halves images {self.depth} times, and this leaves a single "
                f"pixel of {images.shape[-2]} x {images.shape[-1]}: take crops of {least} pixels "
                "or more, or a smaller discriminator_depth"
            )
        return self.logits(self.body(images).mean((2, 3)))


class HDCycleGAN(nn.Module):
    """Both generators and the discriminator, or two of them.

    Parameters
    ----------
    width, depth, blocks, skips, resize
        Of the generators.
    shared : bool
        Whether one discriminator with three classes judges both domains (the paper's third change)
        or each domain has its own, with two.
    discriminator_width, discriminator_depth, discriminator_block
        Of the discriminators; the width is the generators' if it is not given.

    Attributes
    ----------
    to_low, to_high : Generator
        ``G_L`` and ``G_H`` of the paper: to little and to much noise.
    discriminator : Discriminator
        The shared one; otherwise ``discriminator_low`` and ``discriminator_high``.
    """

    def __init__(
        self,
        width: int = 16,
        shared: bool = True,
        skips: bool = True,
        resize: bool = True,
        depth: int = 3,
        blocks: int = 6,
        discriminator_width: int | None = None,
        discriminator_depth: int = 7,
        discriminator_block: str | None = "after",
    ) -> None:
        super().__init__()
        self.shared = shared
        self.to_low = Generator(width, depth, blocks, skips, resize)
        self.to_high = Generator(width, depth, blocks, skips, resize)
        judge = (discriminator_width or width, discriminator_depth, discriminator_block)
        if shared:
            self.discriminator = Discriminator(*judge, classes=3)
        else:
            self.discriminator_low = Discriminator(*judge, classes=2)
            self.discriminator_high = Discriminator(*judge, classes=2)

    def judge(self, domain: str) -> tuple[Discriminator, int]:
        """The discriminator that judges a domain ("high" or "low"), and its class for "real"."""
        if self.shared:
            return self.discriminator, 1 + DOMAINS.index(domain)
        return getattr(self, f"discriminator_{domain}"), 1

    def logits(self, images: Tensor, domain: str, frozen: bool = False) -> Tensor:
        """The domain's discriminator on images, ``(batch, classes)`` before softmax.

        With ``frozen``, a gradient reaches the images through it, but not its weights.
        """
        network, _ = self.judge(domain)
        if not frozen:
            return network(images)
        weights = {name: value.detach() for name, value in network.named_parameters()}
        return functional_call(network, weights, (images,))

    def probabilities(self, images: Tensor, domain: str) -> dict[str, Tensor]:
        """How likely images are real ones of the domain, or generated: ``real`` and ``fake``.

        Both ``(batch,)``. Of three classes the third, to be a real image of the other domain, has
        what is left.
        """
        chances = self.logits(images, domain).softmax(1)
        return {"real": chances[:, self.judge(domain)[1]], "fake": chances[:, FAKE]}

    def forward(self, images: Tensor) -> Tensor:
        """What the model is for: less noise, ``(batch, 1, height, width)``."""
        return self.to_low(images)
