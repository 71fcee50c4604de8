"""Whether tiles keep the last bit: which routine adds up a convolution depends on its size.

Sums of floating-point numbers depend on their order. On a CPU, PyTorch computes large float32
convolutions by oneDNN, whose order is the same at every size (the tests check it), and small ones
by a matrix product, whose order is not. So a tile takes the routine that the whole image would.
"""

from math import prod

import torch
from torch import Tensor, fx, nn

from recon.learning.tiling.fields import AxisField
from recon.learning.tiling.layers import CONVOLUTIONS, TRANSPOSED, propagate

__all__ = ["Interpreter", "bits", "convolve", "forced_onednn"]


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


def convolve(layer: nn.Module, x: Tensor, padding: tuple[int, ...], onednn: bool) -> Tensor:
    """A convolution with another padding than its own, by oneDNN if so told."""
    rest = (padding, layer.stride, layer.dilation, layer.groups)
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
        elif layer.out_channels == 1:
            inexact = "a 1 x 1 convolution to one channel on one thread adds up by the shape"
    return inexact, tuple(sorted(onednn)), small
