"""Whether tiles keep the last bit: which routine adds up a convolution depends on its size.

Sums of floating-point numbers depend on their order. On a CPU, PyTorch computes large float32
convolutions by oneDNN, whose order is the same at every size (the tests check it), and small ones
by a matrix product, whose order is not. So a tile takes the routine that the whole image would.

oneDNN computes in blocks of channels that lie together in memory, and PyTorch copies every input
and output between that order and its own. Where one block holds all channels of an input, an array
with its channels last is that block already: the same sums, without the copies.
"""

import operator
from functools import cache
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recon.learning.tiling.fields import AxisField
from recon.learning.tiling.layers import CONVOLUTIONS, TRANSPOSED, propagate

__all__ = ["Interpreter", "bits", "convolve", "forced_onednn", "may_put_channels_last"]

BLOCK = 16  # channels
# Their results are rounded exactly, number by number, so the order in memory cannot matter.
EXACT = (operator.add, operator.sub, operator.mul, operator.getitem, torch.add, torch.relu, F.relu)
ROUNDED = {nn.ReLU, *EXACT}


def forced_onednn(layer: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether PyTorch computes a float32 convolution on a CPU by oneDNN.

    PyTorch sends small inputs to a matrix product instead (``ConvParams::use_mkldnn`` in
    ``aten/src/ATen/native/Convolution.cpp``), which adds up in another order. ``shape`` is the
    input's; of a volume's axes the last is not counted there, so it is not here.
    """
    kernel = layer.kernel_size
    point = kernel[-1] == kernel[-2] == 1
    busy = torch.get_num_threads() > 1 or shape[0] >= 16
    moved = any(s != 1 for s in layer.stride) or any(d != 1 for d in layer.dilation)
    large = kernel[-1] > 3 and kernel[-2] > 3
    many = layer.groups > 1 or large or shape[0] > 1 or prod(shape[:4]) > 20480
    return (moved or busy or not point) and many


class Interpreter(fx.Interpreter):
    """Runs a traced network layer by layer and lets go of what is no longer needed.

    Layers in ``onednn`` are computed by oneDNN however small the window, because the whole image
    would have been: otherwise their sums are added up in another order and the last bits differ.
    """

    def __init__(self, graph: fx.GraphModule, onednn: tuple[str, ...] = ()):
        super().__init__(graph)
        self.onednn = onednn

    def run_node(self, n: fx.Node) -> Tensor:
        """Result of one layer."""
        if n.name not in self.onednn:
            return super().run_node(n)
        layer, x = self.fetch_attr(n.target), self.env[n.args[0]]
        padding = layer.padding
        if isinstance(padding, str) or layer.padding_mode != "zeros":
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
            padding = (0,) * len(layer.kernel_size)
        return convolve(layer, x, padding, True)


def may_put_channels_last(graph: fx.GraphModule, onednn: tuple[str, ...], itemsize: int) -> bool:
    """Whether arrays of a network may have their channels last in memory without a changed bit.

    So it is for float32 images and volumes, if all convolutions take few enough channels, have no
    strides, pad no more than keeps the size and agree when measured, and the rest rounds exactly.
    """
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        if isinstance(layer, CONVOLUTIONS):
            kernel, dilation = layer.kernel_size, layer.dilation
            pad = (0,) * len(kernel) if layer.padding == "valid" else layer.padding
            plain = layer.groups == 1 and set(layer.stride) == {1} and min(kernel) > 1
            fits = (2 * p <= d * (k - 1) for p, d, k in zip(pad, dilation, kernel, strict=True))
            plain = plain and all(fits) and node.name in onednn
            # An array of one channel lies both ways at once: strides of either, sums of another.
            alone = layer.in_channels == 1 and node.args[0].op != "placeholder"
            if itemsize != 4 or not plain or alone or layer.in_channels > BLOCK:
                return False
            pad = (0, *pad[1:])  # strips bring the zeros along their own axis
            if not _same_bits(layer.in_channels, layer.out_channels, kernel, pad, dilation):
                return False
        elif node.op in ("call_module", "call_function", "call_method"):
            acts = node.target if layer is None else type(layer)
            if acts not in ROUNDED:
                return False
    return True


@cache
def _same_bits(
    inputs: int,
    outputs: int,
    kernel: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
) -> bool:
    """Measured on noise: another processor's blocks, or another oneDNN's order, may differ."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, *kernel, generator=draw)
    shape = (9, 70) if len(kernel) == 2 else (6, 9, 70)
    size = (d * (k - 1) + n for k, d, n in zip(kernel, dilation, shape, strict=True))
    x, rest = torch.randn(1, inputs, *size, generator=draw), (pad, (1,) * len(pad), dilation, 1)
    first = torch.mkldnn_convolution(x, weight, None, *rest)
    return torch.equal(
        first, torch.mkldnn_convolution(channels_last(x), channels_last(weight), None, *rest)
    )


def channels_last(x: Tensor) -> Tensor:
    """An image's or a volume's array with its channels last in memory."""
    form = torch.channels_last_3d if x.ndim == 5 else torch.channels_last
    return x.contiguous(memory_format=form)


@cache
def _alike_in_parts(inputs: int, outputs: int) -> bool:
    """Whether a 1 x 1 convolution by matrix product gives parts of an image the bits of the whole.

    Measured on noise, in parts whose ends lie anywhere in a vector register: an Intel processor's
    product differs for one channel, an AMD processor's (Zen 4) for two and three.
    """
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 1, 1, generator=draw)
    x = torch.randn(1, inputs, 1, 20_007, generator=draw)
    whole = torch.conv2d(x, weight)
    parts = [slice(first, first + 1000 + n) for n in range(BLOCK) for first in (0, 7001)]
    return all(
        torch.equal(torch.conv2d(x[..., part].contiguous(), weight), whole[..., part])
        for part in parts
    )


def convolve(
    layer: nn.Module, x: Tensor, padding: tuple[int, ...], onednn: bool, last: bool = False
) -> Tensor:
    """A convolution with another padding than its own, by oneDNN (channels last) if so told."""
    rest = (padding, layer.stride, layer.dilation, layer.groups)
    if last:
        result = torch.mkldnn_convolution(x, channels_last(layer.weight), layer.bias, *rest)
        return channels_last(result)  # of one channel it is not
    if onednn:
        return torch.mkldnn_convolution(x, layer.weight, layer.bias, *rest)
    apply = nn.functional.conv3d if x.ndim == 5 else nn.functional.conv2d
    stride, dilation = layer.stride, layer.dilation
    return apply(x, layer.weight, layer.bias, stride, padding, dilation, layer.groups)


def bits(
    graph: fx.GraphModule | None, shape: tuple[int, ...], axes: tuple[AxisField, ...], batch: int
) -> tuple[str, tuple[str, ...], str]:
    """What is known about the last bits.

    Returns
    -------
    inexact : str
        Why they may differ, whatever the tile; empty if they do not.
    onednn : tuple of str
        Layers that oneDNN computes on the whole image.
    small : str
        Why the image should better stay whole, if so.
    """
    if graph is None:
        return "the network is tiled approximately", (), ""
    like = next(graph.parameters(), torch.zeros(1))
    if like.device.type != "cpu":
        return "a GPU chooses its algorithm by the shape", (), ""
    if like.dtype == torch.float64:
        return "the order of the sums of float64 depends on the shape", (), ""
    several = torch.get_num_threads() > 1
    along = [
        propagate(graph, n + 2 * axis.pad, place, len(shape))[1]
        for place, (n, axis) in enumerate(zip(shape, axes, strict=True))
    ]
    inexact, small, onednn = "", "", set()
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        mode = getattr(layer, "mode", node.kwargs.get("mode", "nearest"))
        if mode in ("bilinear", "trilinear"):
            inexact = "linear interpolation adds up by the shape"
        if isinstance(layer, TRANSPOSED) and several:
            inexact = "a transposed convolution on several threads adds up by the shape"
        if like.dtype != torch.float32 or not isinstance(layer, CONVOLUTIONS):
            continue
        size = (batch, layer.in_channels, *(sizes[node.name][0] for sizes in along))
        if forced_onednn(layer, size):
            onednn.add(node.name)
        elif any(k > 1 for k in layer.kernel_size):
            small = "a layer of so few pixels adds up by their number"
        elif layer.out_channels == 1 or not _alike_in_parts(
            layer.in_channels // layer.groups, layer.out_channels // layer.groups
        ):
            inexact = "a 1 x 1 convolution to few channels on one thread adds up by the shape"
    return inexact, tuple(sorted(onednn)), small
