"""CARN, the convolutional anchored regression network, and the cheaper one of Stoian (2020).

CARN (Li et al. 2018) turns local linear regression into convolutions. In every pixel a *regression
block* computes what each of several regressors would predict, and weighs the predictions by how
near the pixel's features lie to each regressor's anchor. Everything happens on the grid of the
small image; the last block predicts all pixels of the large one at once, as channels.

Both networks build a block ``only`` for networks of one block, and ``first``, ``middle`` and
``last`` for longer ones. One of the two kinds is never called, and its weights are dead: they are
counted as trainable parameters, and no gradient reaches them. They are built here because the
counts in table 1 of Stoian (2020) fit such a network. The published code of CARN (ofsoundof/CARN,
``model.py`` at 13fbf9b) builds only the kind that it calls; the report's program is not public.

As in that code, every block of CARN whose output has as many channels as its input has a shortcut:
the block that predicts the pixels of the large image too, where ``channels == scale**2``. Where New
CARN has shortcuts is not in the report's words; here around all blocks but that last one.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from recon.classical.interpolation import enlarge

QUIET = 0.1  # factor of the first weights into the output: the start is near bicubic


@torch.no_grad()
def _quiet(*weights: Tensor) -> None:
    """Shrink first weights in place."""
    for weight in weights:
        weight *= QUIET


def regress(regressors: Tensor, anchors: Tensor) -> Tensor:
    """Predictions weighted by the nearness of their anchors, summed (figure 1).

    Parameters
    ----------
    regressors : Tensor
        ``(batch, anchors * outputs, h, w)``, the predictions of all regressors.
    anchors : Tensor
        ``(batch, anchors, h, w)``, the nearness before the softmax.

    Returns
    -------
    Tensor
        ``(batch, outputs, h, w)``.
    """
    batch, count, height, width = anchors.shape
    predictions = regressors.reshape(batch, count, -1, height, width)
    return (predictions * anchors.softmax(1)[:, :, None]).sum(1)


class RegressionBlock(nn.Module):
    """The block of CARN (figure 1): regressors and anchors by 3 x 3 convolutions."""

    def __init__(self, features: int, outputs: int, anchors: int):
        super().__init__()
        self.regressors = nn.Conv2d(features, anchors * outputs, 3, padding=1)
        self.anchors = nn.Conv2d(features, anchors, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, features, h, w)`` to ``(batch, outputs, h, w)``."""
        return regress(self.regressors(features), self.anchors(features))

    def quieten(self) -> None:
        """Start with a small output."""
        _quiet(self.regressors.weight, self.regressors.bias)


class NewRegressionBlock(nn.Module):
    """The block of New CARN (figure 3): 1 x 1 regressors, and a linear convolution at the end.

    All weights are normalised: a length for each filter, and a direction (Salimans 2016).
    """

    def __init__(self, features: int, outputs: int, anchors: int):
        super().__init__()
        self.regressors = weight_norm(nn.Conv2d(features, anchors * outputs, 1))
        self.anchors = weight_norm(nn.Conv2d(features, anchors, 3, padding=1))
        self.linear = weight_norm(nn.Conv2d(outputs, outputs, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, features, h, w)`` to ``(batch, outputs, h, w)``."""
        return self.linear(regress(self.regressors(features), self.anchors(features)))

    def quieten(self) -> None:
        """Start with a small output: short filters, of any direction."""
        _quiet(self.linear.parametrizations.weight.original0, self.linear.bias)


Block = Callable[[int, int, int], nn.Module]


class Chain(nn.Module):
    """Regression blocks one after the other, with shortcuts around all but the last, or around all.

    Parameters
    ----------
    blocks : int
        How many are called.
    channels, outputs, anchors : int
        Channels between blocks, channels of the last one, anchors of each.
    ends, middle : callable
        Make the blocks ``only``, ``first`` and ``last``, and those between.
    through : bool
        A shortcut around the block that draws the output too; needs ``channels == outputs``.
    """

    def __init__(
        self,
        blocks: int,
        channels: int,
        outputs: int,
        anchors: int,
        ends: Block,
        middle: Block,
        through: bool = False,
    ):
        super().__init__()
        if blocks < 1:
            raise ValueError(f"blocks is {blocks}; a network needs one at least")
        self.blocks = blocks
        self.only = ends(channels, outputs, anchors)
        self.first = ends(channels, channels, anchors)
        between = range(max(blocks - 2, 0))
        self.middle = nn.ModuleList(middle(channels, channels, anchors) for _ in between)
        self.last = ends(channels, outputs, anchors)
        self.only.quieten()
        self.last.quieten()
        self.through = through
        if through:  # all blocks add to the output
            for block in (self.first, *self.middle):
                block.quieten()

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, channels, h, w)`` to ``(batch, outputs, h, w)``."""
        *inner, last = (self.first, *self.middle, self.last) if self.blocks > 1 else (self.only,)
        for block in inner:
            features = features + block(features)
        return features + last(features) if self.through else last(features)

    def extra_repr(self) -> str:
        return f"blocks={self.blocks}, through={self.through}"


class CARN(nn.Module):
    """CARN-``blocks``-``channels``-``anchors`` (figure 2): three layers of features, then blocks.

    Parameters
    ----------
    blocks : int
        Regression blocks, 1 or more.
    channels : int
        Inner channels.
    anchors : int
        Anchors of each block.
    scale : int
        Factor of the enlargement.
    """

    def __init__(self, blocks: int, channels: int, anchors: int, scale: int = 4):
        super().__init__()
        self.scale = scale
        layers = []
        for inputs, outputs in ((1, 64), (64, 64), (64, channels)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.PReLU(outputs)]
        self.features = nn.Sequential(*layers)
        block = RegressionBlock
        through = channels == scale**2
        self.chain = Chain(blocks, channels, scale**2, anchors, block, block, through)
        if through:
            _quiet(layers[-2].weight, layers[-2].bias)

    def forward(self, low: Tensor) -> Tensor:
        """``(batch, 1, h, w)`` to ``(batch, 1, scale h, scale w)``."""
        return upscale(self, low)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class NewCARN(nn.Module):
    """New CARN-``blocks``-``channels``-``anchors`` (figure 4): one layer of features, new blocks.

    Parameters
    ----------
    blocks, channels, anchors, scale : int
        As for `CARN`.
    as_counted : bool
        The text replaces every block by the new one, and so does the default. The parameters that
        table 1 counts are those of a network whose middle blocks are still CARN's: this one.
    """

    def __init__(
        self, blocks: int, channels: int, anchors: int, scale: int = 4, as_counted: bool = False
    ):
        super().__init__()
        self.scale = scale
        first = weight_norm(nn.Conv2d(1, channels, 3, padding=1))
        self.features = nn.Sequential(first, nn.PReLU(channels))
        middle = RegressionBlock if as_counted else NewRegressionBlock
        self.chain = Chain(blocks, channels, scale**2, anchors, NewRegressionBlock, middle)

    def forward(self, low: Tensor) -> Tensor:
        """``(batch, 1, h, w)`` to ``(batch, 1, scale h, scale w)``."""
        return upscale(self, low)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


def upscale(network: CARN | NewCARN, low: Tensor) -> Tensor:
    """The interpolated image plus what the blocks predict, their channels laid out as pixels."""
    detail = network.chain(network.features(low))
    return enlarge(low, network.scale) + nn.functional.pixel_shuffle(detail, network.scale)
