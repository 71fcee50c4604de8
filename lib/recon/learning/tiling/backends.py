"""Whether tiles keep the last bit: which routine adds up a convolution depends on its size.

Sums of floating-point numbers depend on their order. On a CPU, PyTorch computes large float32
convolutions by oneDNN, whose order is mostly the same at every size (it is measured), small ones
by a matrix product, whose order is not. So a tile takes the routine that the whole image would.

oneDNN computes in blocks of channels that lie together in memory, and PyTorch copies every input
and output between that order and its own. Where one block holds all channels of an input, an array
with its channels last is that block already: the same sums, without the copies.
"""

import itertools
import operator
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recon.learning.tiling.calls import propagate
from recon.learning.tiling.convolutions import (
    channels_last,
    convolve,
    forced_onednn,
    reach_of,
    spread,
    zeros_of,
)
from recon.learning.tiling.fields import AxisField
from recon.learning.tiling.layers import DROPOUTS, PADS, POOLS
from recon.learning.tiling.memory import channels_of, input_channels
from recon.learning.tiling.tracing import CONVOLUTIONS, TRANSPOSED, enlarged, refronted

__all__ = ["Interpreter", "bits", "convolve", "forced_onednn", "may_put_channels_last"]

BLOCK = 16  # channels
SUMS = (*CONVOLUTIONS, *TRANSPOSED)
# Their results are rounded exactly, number by number, so the order in memory cannot matter.
EXACT = (operator.add, operator.sub, operator.mul, operator.getitem, torch.add, torch.relu, F.relu)
ROUNDED = {nn.ReLU, *EXACT}
KEPT = (
    nn.ReLU, nn.Identity, nn.PixelShuffle, nn.PixelUnshuffle, *DROPOUTS, *POOLS,
    *(kind for kinds in PADS.values() for kind in kinds),
)  # fmt: skip
MOVED = {
    F.pad, F.pixel_shuffle, F.pixel_unshuffle, torch.pixel_shuffle, torch.pixel_unshuffle,
    torch.cat, F.dropout, refronted, *EXACT,
}  # fmt: skip


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
        if isinstance(layer, TRANSPOSED):
            return spread(layer, x)
        if layer.padding_mode != "zeros":
            pads = layer._reversed_padding_repeated_twice
            x, padding = F.pad(x, pads, mode=layer.padding_mode), (0,) * len(layer.kernel_size)
        elif isinstance(padding, str):  # of an odd number, the last one by itself, as PyTorch does
            padding = zeros_of(layer)
            x = F.pad(x, [n for p, r in zip(padding[::-1], reach_of(layer)[::-1], strict=True)
                          for n in (0, (r - 2 * p) * (layer.padding == "same"))])  # fmt: skip
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
    bias = torch.randn(outputs, generator=draw)  # before the sum or after it
    first = torch.mkldnn_convolution(x, weight, bias, *rest)
    return torch.equal(
        first, torch.mkldnn_convolution(channels_last(x), channels_last(weight), bias, *rest)
    )


@cache
def _alike_in_parts(inputs: int, outputs: int) -> bool:
    """Whether a 1 x 1 convolution by matrix product gives parts of an image the bits of the whole.

    An Intel processor's product differs for one channel, an AMD processor's (Zen 4) for two and
    three.
    """
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 1, 1, generator=draw)
    bias = torch.randn(outputs, generator=draw)
    return _parts_agree(lambda x: torch.conv2d(x, weight, bias), torch.float32, [(1, inputs)], 2)


def _parts_agree(call: Callable, dtype: torch.dtype, fronts: list[tuple], ndim: int) -> bool:
    """Measured on noise, in parts whose ends lie anywhere in a vector register.

    What computes a number by vectors may compute the last numbers of an array one by one, by
    another approximation. ``fronts`` are the axes before the spatial ones of every input.
    """
    draw = torch.Generator().manual_seed(0)
    given = [
        torch.randn(*front, *(1,) * (ndim - 1), 20_007, generator=draw).to(dtype)
        for front in fronts
    ]
    parts = [slice(first, first + 1000 + n) for n in range(BLOCK) for first in (0, 7001)]
    parts += [slice(first, first + 1 + first % 15) for first in range(0, 19_900, 61)]

    def results(part: slice, beyond: int = 0) -> list[Tensor]:
        wide = slice(part.start, part.stop + beyond)  # then it does not lie in one piece, as strips
        copies = [x[..., wide].clone(memory_format=torch.contiguous_format) for x in given]
        made = call(*(x[..., : x.shape[-1] - beyond] for x in copies))
        return [made] if isinstance(made, Tensor) else list(made)

    with torch.inference_mode():
        whole = results(slice(0, 20_007))
        return all(
            torch.equal(one.nan_to_num(), other[..., part].nan_to_num())
            for beyond, part in itertools.product((0, 3), parts)
            for one, other in zip(results(part, beyond), whole, strict=True)
        )


_measured: dict[tuple, bool] = {}


@torch.inference_mode()
def _sums_agree(layer: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a convolution by oneDNN gives parts of noise the bits of the whole.

    oneDNN has several routines, and takes one by padding and width too. ``shape`` is the input's;
    of long axes a part is measured.
    """
    ndim, draw = len(layer.kernel_size), torch.Generator().manual_seed(0)
    reach = reach_of(layer)
    most = [r + n * s for n, r, s in zip((6, 36, 120)[-ndim:], reach, layer.stride, strict=True)]
    size = [min(max(n, r + 1), m) for n, r, m in zip(shape[2:], reach, most, strict=True)]
    key = (str(layer), tuple(size), torch.get_num_threads())
    if key in _measured:
        return _measured[key]
    x, same = torch.randn(1, layer.in_channels, *size, generator=draw), True
    own = zeros_of(layer)
    for axis, bare in itertools.product(range(ndim), (True, False)):
        pad = tuple(0 if n == axis and bare else p for n, p in enumerate(own))
        step, edge = layer.stride[axis], 0 if pad[axis] == 0 else reach[axis] + 1
        if size[axis] <= reach[axis]:
            continue
        whole = convolve(layer, x, pad, True)
        for rows in (1, 2, 3, 4, 8, 16, 24, 33):
            first, length = 5 * rows % 13, (rows - 1 + 2 * edge) * step + reach[axis] + 1
            if first * step + length > size[axis]:
                break
            part = x.narrow(2 + axis, first * step, length).contiguous()
            # Padding moves the output of the part and of the whole alike.
            here = convolve(layer, part, pad, True).narrow(2 + axis, edge, rows)
            same = same and torch.equal(here, whole.narrow(2 + axis, first + edge, rows))
    return _measured.setdefault(key, same)


def _same_anywhere(
    graph: fx.GraphModule, node: fx.Node, layer: nn.Module | None, like: Tensor, ndim: int
) -> bool:
    """Whether what acts position by position gives the same bits at every position."""
    counts = channels_of(graph, input_channels(graph))
    given = [n for n in node.all_input_nodes if n.op != "get_attr"]
    fronts = [n.meta["shape"][:-ndim] if n.meta.get("shape") else (1, counts[n]) for n in given]
    weights = {
        n: operator.attrgetter(n.target)(graph) for n in node.all_input_nodes if n.op == "get_attr"
    }
    other = [a for a in (node.args, node.kwargs) if layer is None]
    key = (str(layer or node.target), str(other), tuple(fronts), like.dtype, ndim)
    key += (torch.get_num_threads(),)

    def call(*images: Tensor) -> Tensor:
        if layer is not None:
            return layer.forward(images[0])
        values = {**weights, **dict(zip(given, images, strict=True))}
        args, kwargs = (fx.map_arg(a, values.__getitem__) for a in (node.args, node.kwargs))
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)

    if key not in _measured:
        _measured[key] = _parts_agree(call, like.dtype, fronts, ndim)
    return _measured[key]


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
    if like.dtype not in (torch.float32, torch.bfloat16):
        kind = str(like.dtype).removeprefix("torch.")
        return f"the order of the sums of {kind} depends on the shape", (), ""
    along = [
        propagate(graph, n + 2 * axis.pad, place, len(shape))[1]
        for place, (n, axis) in enumerate(zip(shape, axes, strict=True))
    ]
    inexact, small, onednn = "", "", set()
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        if node.op not in ("call_module", "call_function", "call_method"):
            continue
        what = type(layer).__name__ if layer is not None else str(node.name)
        if isinstance(layer, nn.Upsample) or node.target in (F.interpolate, enlarged):
            mode = getattr(layer, "mode", node.kwargs.get("mode", "nearest"))
            if not mode.startswith("nearest"):
                inexact = "linear interpolation adds up by the shape"
        elif isinstance(layer, TRANSPOSED):  # by oneDNN too: in blocks of some widths
            inexact = "a transposed convolution adds up by the shape"
        elif not (isinstance(layer, (*SUMS, *KEPT)) or node.target in MOVED) and not _same_anywhere(
            graph, node, layer, like, len(shape)
        ):
            inexact = f"{what} computes the last numbers of an array in another way"
        if like.dtype != torch.float32 or not isinstance(layer, SUMS):
            continue
        size = (batch, layer.in_channels, *(sizes[node.name][0] for sizes in along))
        if forced_onednn(layer, size):
            onednn.add(node.name)
            if isinstance(layer, CONVOLUTIONS) and not _sums_agree(layer, size):
                inexact = f"{what}({layer.extra_repr()}) adds up by the shape on this processor"
        elif any(k > 1 for k in layer.kernel_size):
            small = "a layer of so few pixels adds up by their number"
        elif layer.out_channels == 1 or not _alike_in_parts(
            layer.in_channels // layer.groups, layer.out_channels // layer.groups
        ):
            inexact = "a 1 x 1 convolution to few channels on one thread adds up by the shape"
    return inexact, tuple(sorted(onednn)), small
