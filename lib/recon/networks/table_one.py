"""The networks of table 1 of Stoian (2020) by name, and their parameters by arithmetic.

Names are those of ``book/claims/stoian-2020.yml``: ``carn_3_8`` is CARN-3-8-8, three blocks with 8
channels and 8 anchors; ``new_carn_3_8`` its cheaper form; ``counted_3_8`` the same with the middle
blocks that the table counts; ``srcnn_16`` has 16 feature maps, ``srcnn_original`` 64 and 32.
"""

from torch import nn

from recon.networks.anchored_regression import CARN, NewCARN
from recon.networks.srcnn import SRCNN

__all__ = ["arithmetic", "build", "carn_block", "new_block"]


def build(name: str, scale: int = 4) -> nn.Module:
    """A freshly started network by its name."""
    kind, numbers = _parts(name)
    if kind == "srcnn":
        return SRCNN(*numbers, scale=scale)
    blocks, channels = numbers
    if kind == "carn":
        return CARN(blocks, channels, channels, scale)
    return NewCARN(blocks, channels, channels, scale, as_counted=kind == "counted")


def _parts(name: str) -> tuple[str, tuple[int, ...]]:
    """Kind and numbers of a name."""
    if name == "srcnn_original":
        return "srcnn", (64, 32)
    words = name.split("_")
    return "_".join(w for w in words if not w.isdigit()), tuple(
        map(int, filter(str.isdigit, words))
    )


def conv(inputs: int, outputs: int, side: int) -> int:
    """Weights and biases of a convolution."""
    return outputs * (inputs * side**2 + 1)


def normalised(inputs: int, outputs: int, side: int) -> int:
    """The same with normalised weights: a length more for each filter."""
    return conv(inputs, outputs, side) + outputs


def carn_block(c: int, o: int, m: int) -> int:
    """Parameters of CARN's block, c to o channels with m anchors: m (o + 1) (9 c + 1)."""
    return conv(c, m * o, 3) + conv(c, m, 3)


def new_block(c: int, o: int, m: int) -> int:
    """Parameters of the new block: regressors 1 x 1, anchors and the linear layer 3 x 3."""
    return normalised(c, m * o, 1) + normalised(c, m, 3) + normalised(o, o, 3)


def arithmetic(name: str, scale: int = 4) -> tuple[str, int]:
    """The parameters of a network by arithmetic, not by counting: the sum in words, and its value.

    For CARN and New CARN the terms are the features, the blocks ``only`` and ``last`` (of one
    size), ``first``, and the middle ones; for SRCNN its three layers.
    """
    kind, numbers = _parts(name)
    if kind == "srcnn":
        first, second = numbers if len(numbers) == 2 else numbers * 2
        terms = [(1, conv(1, first, 9)), (1, conv(first, second, 5)), (1, conv(second, 1, 5))]
    else:
        blocks, c = numbers
        if kind == "carn":
            block, middle = carn_block, carn_block
            slopes = 64 + 64 + c  # one of each PReLU's channels
            features = conv(1, 64, 3) + conv(64, 64, 3) + conv(64, c, 3) + slopes
        else:
            block, middle = new_block, carn_block if kind == "counted" else new_block
            features = normalised(1, c, 3) + c
        terms = [(1, features), (2, block(c, scale**2, c)), (1, block(c, c, c))]
        terms += [(blocks - 2, middle(c, c, c))] * (blocks > 2)
    words = " + ".join(f"{n} x {size:,}" if n > 1 else f"{size:,}" for n, size in terms)
    return words, sum(n * size for n, size in terms)
