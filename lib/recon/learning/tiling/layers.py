"""What every layer does to a `Line`; what has no rule here is refused, never guessed."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recon.learning.tiling.lines import Line, Mismatch, NotTileable, join
from recon.learning.tiling.tracing import CONVOLUTIONS, TRANSPOSED

__all__ = ["OTHER_TILES", "enlarge", "follow_layer", "pad", "repeat", "unshuffle"]

POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
)  # fmt: skip
PADS = {
    "zeros": (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d,
              nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
}  # fmt: skip
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.RReLU,
)  # fmt: skip
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid,
    nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Softsign, nn.Softplus, nn.Threshold,
    nn.Identity,
)  # fmt: skip
OVER_SPACE = (
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm,
    nn.LocalResponseNorm,
)  # fmt: skip
GLOBAL = (
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip


def follow_layer(layer: nn.Module, line: Line, where: str, axis: int, ndim: int) -> Line:
    """Apply the rule of one module."""
    name = type(layer).__name__
    if isinstance(layer, POINTWISE):
        return line
    if isinstance(layer, (*BATCH_NORMS, *DROPOUTS)):
        if layer.training:
            raise NotTileable(f"{where} ({name}) is in training mode; call network.eval() first.")
        if isinstance(layer, BATCH_NORMS) and layer.running_mean is None:
            raise NotTileable(f"{where} ({name}) normalises over space: {OTHER_TILES}")
        return line
    if isinstance(layer, nn.Softmax | nn.LogSoftmax) and layer.dim in (1, -1 - ndim):
        return line
    for mode, kinds in PADS.items():
        if isinstance(layer, kinds):
            return pad(line, layer.padding, mode, axis, ndim)
    if isinstance(layer, CONVOLUTIONS):
        taps = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
        if layer.padding == "same":
            whole = taps[2] * (taps[0] - 1)
            pads = whole // 2, whole - whole // 2
        else:
            pads = (0, 0) if layer.padding == "valid" else (layer.padding[axis],) * 2
        return line.padded(*pads, layer.padding_mode).slide(*taps, where)
    if isinstance(layer, TRANSPOSED):
        taps = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
        return line.spread(*taps, layer.padding[axis], layer.output_padding[axis])
    if isinstance(layer, POOLS):
        kernel, stride, edge, dilation = (
            value[axis] if isinstance(value, tuple) else value
            for value in (layer.kernel_size, layer.stride, layer.padding,
                          getattr(layer, "dilation", 1))
        )  # fmt: skip
        if getattr(layer, "return_indices", False):
            raise NotTileable(f"{where} ({name}) returns positions, which a tile does not know.")
        if layer.ceil_mode:
            raise NotTileable(f"{where} ({name}) rounds sizes up (ceil_mode).")
        return line.padded(edge, edge).slide(kernel, stride, dilation, where)
    if isinstance(layer, nn.Upsample):
        return enlarge(line, layer.scale_factor, layer.mode, layer.align_corners, where, axis)
    if isinstance(layer, nn.PixelShuffle):
        return repeat(line, layer.upscale_factor)
    if isinstance(layer, nn.PixelUnshuffle):
        return unshuffle(line, layer.downscale_factor, where)
    if isinstance(layer, OVER_SPACE):
        raise NotTileable(f"{where} ({name}) normalises over space: {OTHER_TILES}")
    if isinstance(layer, GLOBAL):
        raise NotTileable(f"{where} ({name}) pools over the whole image: {OTHER_TILES}")
    raise NotTileable(f"{where}: there is no rule for {name}, so what it sees is not known.")


OTHER_TILES = (
    "every pixel depends on all others, so no margin makes a tile exact; pass approximate=True "
    "and a margin to tile it all the same."
)


def repeat(line: Line, factor: int) -> Line:
    return line.take(np.arange(len(line) * factor) // factor, line.step / factor)


def unshuffle(line: Line, factor: int, where: str) -> Line:
    if len(line) % factor:
        raise Mismatch(f"{where} takes a multiple of {factor} pixels, and there are {len(line)}.")
    return line.slide(factor, factor, 1, where)


TAPS = {"linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 4}


def enlarge(line: Line, factor: Any, mode: str, corners: Any, where: str, axis: int) -> Line:
    """Enlarge by a whole factor; interpolation weights are exact only for powers of two."""
    factor = factor[axis] if isinstance(factor, tuple | list) else factor
    if factor is None or factor != int(factor) or factor < 1:
        raise NotTileable(f"{where} resizes to a fixed size or by a fraction.")
    factor = int(factor)
    if mode in ("nearest", "nearest-exact") or factor == 1:
        places = torch.arange(len(line), dtype=torch.float64)[None, None]
        places = F.interpolate(places, scale_factor=float(factor), mode=mode)[0, 0]
        return line.take(places.long().numpy(), line.step / factor)  # by PyTorch's own rounding
    if mode not in TAPS or corners or factor & (factor - 1):
        raise NotTileable(
            f"{where} interpolates ({mode}, factor {factor}) with weights that depend on the size "
            "of the image; nearest, or linear by a power of two without align_corners, do not."
        )
    half = TAPS[mode] // 2
    wide, fine = line.padded(half, half, "replicate"), np.arange(len(line) * factor)
    first = np.floor((fine + 0.5) / factor - half + 0.5).astype(int) + half
    taps = [wide.take(first + tap, line.step / factor) for tap in range(2 * half)]
    return join(taps, where)


def pad(line: Line, pad: Any, mode: str, axis: int, ndim: int) -> Line:
    place = 2 * (ndim - 1 - axis)
    before, after = (*pad, *(0,) * 6)[place : place + 2]
    return line.padded(before, after, "zeros" if mode == "constant" else mode)
