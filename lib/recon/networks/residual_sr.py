"""Residual networks for super-resolution without and with padding (Remedios et al. 2022).

Both are a convolution (the head), residual blocks of two 3 x 3 convolutions, and a convolution (the
tail), as EDSR has them (Lim et al. 2017). `ValidResidual` never pads, so its output is smaller than
its input; `PaddedResidual` pads every convolution with zeros and keeps the size. Table 1 of the
paper tells the two apart by depth: receptive fields of 33 and 133 pixels.
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``, with ``x`` cropped to what the convolutions leave (figure 2).

    Parameters
    ----------
    width : int
        Feature maps.
    padding : int
        1 keeps the size; 0 (valid convolutions) makes it smaller by 2 pixels on each side.
    """

    def __init__(self, width: int, padding: int):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=padding),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=padding),
        )
        self.crop = 2 - 2 * padding

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, width, height, width)`` to the same, ``2 * crop`` smaller in each direction."""
        return cropped(x, self.crop) + self.convs(x)


def cropped(image: Tensor, pixels: int) -> Tensor:
    """``image`` without its outermost ``pixels`` on each side of the last two axes."""
    if pixels == 0:
        return image
    return image[..., pixels:-pixels, pixels:-pixels]


class _Residual(nn.Module):
    """Head, blocks, tail; what the two networks share."""

    padding: int

    def __init__(
        self, width: int, blocks: int, inputs: int = 1, outputs: int = 1, add_input: bool = False
    ):
        super().__init__()
        if add_input and inputs != outputs:
            raise ValueError("add_input needs as many outputs as inputs")
        self.head = nn.Conv2d(inputs, width, 3, padding=self.padding)
        self.blocks = nn.Sequential(*(ResidualBlock(width, self.padding) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, outputs, 3, padding=self.padding)
        self.add_input = add_input
        self.margin = (2 + 2 * blocks) * (1 - self.padding)

    def extra_repr(self) -> str:
        """What tells one variant from another in print."""
        return f"margin={self.margin}, add_input={self.add_input}"

    def forward(self, image: Tensor) -> Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height - 2 * margin, ...)``."""
        drawn = self.tail(self.blocks(self.head(image)))
        return drawn + cropped(image, self.margin) if self.add_input else drawn


class ValidResidual(_Residual):
    """The crop-equivariant network: N x N pixels become (N - 2 margin) x (N - 2 margin).

    With 7 blocks, as published, there are 16 convolutions: the receptive field is 33 pixels, the
    margin 16 (equation 2), and 64 feature maps give 518,209 parameters. The paper does not name
    the number of feature maps; 64 is EDSR's.

    Parameters
    ----------
    width : int
        Feature maps.
    blocks : int
        Residual blocks; the receptive field is ``5 + 4 * blocks``.
    inputs, outputs : int
        Channels.
    add_input : bool
        Add the (cropped) input to the output, so that the network draws a correction. The paper
        says nothing of it; it makes short trainings work. Needs ``inputs == outputs``.
    """

    padding = 0

    def __init__(
        self,
        width: int = 64,
        blocks: int = 7,
        inputs: int = 1,
        outputs: int = 1,
        add_input: bool = False,
    ):
        super().__init__(width, blocks, inputs, outputs, add_input)


class PaddedResidual(_Residual):
    """The zero-padded comparator, the size kept: 32 blocks, receptive field 133 as published.

    66 convolutions of 64 feature maps have 2,364,609 parameters.

    Parameters
    ----------
    width, blocks, inputs, outputs, add_input
        As for `ValidResidual`.
    """

    padding = 1

    def __init__(
        self,
        width: int = 64,
        blocks: int = 32,
        inputs: int = 1,
        outputs: int = 1,
        add_input: bool = False,
    ):
        super().__init__(width, blocks, inputs, outputs, add_input)
