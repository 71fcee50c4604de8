"""Convolutions with another padding or routine than a layer would take by itself."""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["channels_last", "convolve", "forced_onednn", "reach_of", "spread", "zeros_of"]


def forced_onednn(layer: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether PyTorch computes a float32 convolution on a CPU by oneDNN.

    PyTorch sends small inputs to a matrix product instead (``ConvParams::use_mkldnn`` in
    ``aten/src/ATen/native/Convolution.cpp``), which adds up in another order. ``shape`` is the
    input's; of a volume's axes the last is not counted there, so it is not here.
    """
    kernel = (1, *layer.kernel_size)  # a line is computed as an image of one row
    shape = (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape
    point = kernel[-1] == kernel[-2] == 1
    busy = torch.get_num_threads() > 1 or shape[0] >= 16
    moved = any(s != 1 for s in layer.stride) or any(d != 1 for d in layer.dilation)
    large = kernel[-1] > 3 and kernel[-2] > 3
    many = layer.groups > 1 or large or shape[0] > 1 or prod(shape[:4]) > 20480
    big = any(o >= s for o, s in zip(layer.output_padding, layer.stride, strict=True))
    return (moved or busy or not point) and many and not big


def reach_of(layer: nn.Module) -> list[int]:
    """Pixels from the first to the last tap, along each axis."""
    return [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]


def zeros_of(layer: nn.Module) -> tuple[int, ...]:
    """Zeros that the convolution itself adds on both sides, not a padding before it."""
    if layer.padding == "same" and layer.padding_mode == "zeros":
        return tuple(r // 2 for r in reach_of(layer))
    if layer.padding == "valid" or layer.padding_mode != "zeros":
        return (0,) * len(layer.kernel_size)
    return layer.padding


def channels_last(x: Tensor) -> Tensor:
    """An image's or a volume's array with its channels last in memory."""
    form = torch.channels_last_3d if x.ndim == 5 else torch.channels_last
    return x.contiguous(memory_format=form)


def convolve(
    layer: nn.Module, x: Tensor, padding: tuple[int, ...], onednn: bool, last: bool = False
) -> Tensor:
    """A convolution with another padding than its own, by oneDNN (channels last) if so told."""
    rest = (padding, layer.stride, layer.dilation, layer.groups)
    if last:
        result = torch.mkldnn_convolution(x, channels_last(layer.weight), layer.bias, *rest)
        return channels_last(result)  # of one channel it is not
    if onednn and x.ndim == 3:
        rest = ((0, *padding), (1, *layer.stride), (1, *layer.dilation), layer.groups)
        row = layer.weight[:, :, None]
        return torch.mkldnn_convolution(x[:, :, None], row, layer.bias, *rest)[:, :, 0]
    if onednn:
        return torch.mkldnn_convolution(x, layer.weight, layer.bias, *rest)
    apply = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    stride, dilation = layer.stride, layer.dilation
    return apply(x, layer.weight, layer.bias, stride, padding, dilation, layer.groups)


def spread(layer: nn.Module, x: Tensor) -> Tensor:
    """A transposed convolution by oneDNN."""
    weight, rest = layer.weight, [layer.padding, layer.output_padding, layer.stride, layer.dilation]
    line = x.ndim == 3
    if line:
        x, weight = x[:, :, None], weight[:, :, None]
        rest = [(first, *one) for first, one in zip((0, 0, 1, 1), rest, strict=True)]
    made = torch.ops.mkldnn._convolution_transpose_pointwise(
        x, weight, layer.bias, *rest, layer.groups, "none", [], ""
    )
    return made[:, :, 0] if line else made
