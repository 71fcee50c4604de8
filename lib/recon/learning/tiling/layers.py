"""What every layer does to a `Line`; what has no rule here is refused, never guessed.

Following the lines through a traced network gives the exact receptive field of each single output
pixel, edges included (compare Araujo et al. 2019, who give the sums for chains of layers).
"""

import operator
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from recon.learning.tiling.lines import Line, NotTileable, join

__all__ = ["CONVOLUTIONS", "TRANSPOSED", "propagate", "slices_of", "trace"]

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
POOLS = (nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)
BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.Identity,
)  # fmt: skip
# Of one image or of several, position by position.
PLAIN = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd,
    operator.imul, operator.isub, torch.add, torch.sub, torch.mul, torch.relu, torch.sigmoid,
    torch.tanh, torch.exp, torch.abs, torch.clamp, torch.cat, F.relu, F.relu6, F.leaky_relu, F.elu,
    F.gelu, F.silu, F.sigmoid, F.tanh, F.softplus, F.prelu,
}  # fmt: skip
PLAIN_METHODS = {
    "add", "add_", "sub", "mul", "mul_", "div", "relu", "relu_", "sigmoid", "tanh", "clamp",
    "abs", "contiguous", "clone",
}  # fmt: skip
OVER_SPACE = (
    nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm,
)  # fmt: skip
GLOBAL = (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)


def trace(network: nn.Module) -> fx.GraphModule:
    """The network as a graph of layers.

    Raises
    ------
    NotTileable
        When what it computes depends on the values or the size of its input.
    """
    alone = type(network).__module__.startswith("torch.nn") and not list(network.children())
    try:
        # What is traced itself is taken apart; a single layer has to stay one.
        return fx.symbolic_trace(nn.Sequential(network) if alone else network)
    except Exception as error:  # whatever the network's own code raises on a symbol
        raise NotTileable(
            f"{type(network).__name__} cannot be traced, because its forward depends on the values "
            f"or the size of its input ({str(error).splitlines()[0]}); pass approximate=True and "
            "a margin to tile it all the same."
        ) from error


def propagate(graph: fx.GraphModule, length: int, axis: int, ndim: int) -> tuple[Line, dict, int]:
    """Follow an input of ``length`` pixels along one axis through the network.

    Parameters
    ----------
    graph : fx.GraphModule
        From `trace`.
    length : int
    axis : int
        0 to ``ndim - 1``, among the spatial axes.
    ndim : int
        Spatial axes.

    Returns
    -------
    line : Line
        Of the output.
    sizes : dict
        By the name of each node, how many positions its first input and its output have.
    grid : int
        The least distance by which an input may be shifted so that every layer shifts along.

    Raises
    ------
    NotTileable
        For a layer without a rule, with the reason.
    """
    index = np.arange(length)
    env: dict[fx.Node, Any] = {}
    sizes, grid = {}, 1
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            if env:
                raise NotTileable("the network takes more than one input; only images can be cut.")
            env[node] = Line(index, index, np.zeros(length, bool), Fraction(1))
            sizes[node.name] = length, length
        elif node.op == "get_attr":
            env[node] = None
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise NotTileable("the network returns more than one image.")
            return env[node.args[0]], sizes, grid
        else:
            given = [n for n in node.all_input_nodes if env[n] is not None]
            if given:
                env[node] = _follow(node, [env[n] for n in given], modules, axis, ndim)
                grid = int(np.lcm(grid, env[node].step.numerator))
                sizes[node.name] = len(env[given[0]]), len(env[node])
            else:
                env[node] = None  # made of weights alone
    raise NotTileable("the network has no output.")


def _follow(node: fx.Node, lines: list[Line], modules: Mapping, axis: int, ndim: int) -> Line:
    if node.op == "call_module":
        return _layer(modules[node.target], lines[0], f"layer {node.target}", axis)
    if node.op == "call_method":
        if node.target in PLAIN_METHODS:
            return join(lines, node.name)
        raise NotTileable(f"{node.name}: there is no rule for the method {node.target}.")
    if node.target is operator.getitem:
        return _cut(lines[0], node.args[1], axis, ndim)
    if node.target is torch.cat:
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if dim not in (1, -1 - ndim):
            raise NotTileable(f"{node.name} joins arrays along axis {dim}, not as channels.")
    if node.target in PLAIN:
        return join(lines, node.name)
    if node.target is F.interpolate:
        return _resize(lines[0], node, axis)
    if node.target is F.pad:
        return _pad(lines[0], node, axis, ndim)
    if node.target in (torch.pixel_shuffle, F.pixel_shuffle):
        return _repeat(lines[0], node.args[1])
    name = getattr(node.target, "__name__", str(node.target))
    raise NotTileable(
        f"{node.name}: there is no rule for {name}, so what it sees is not known; pass "
        "approximate=True and a margin to tile it all the same."
    )


def _layer(layer: nn.Module, line: Line, where: str, axis: int) -> Line:
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
    if isinstance(layer, nn.Softmax | nn.LogSoftmax) and layer.dim == 1:
        return line
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
        kernel, stride, pad, dilation = (
            value[axis] if isinstance(value, tuple) else value
            for value in (layer.kernel_size, layer.stride, layer.padding,
                          getattr(layer, "dilation", 1))
        )  # fmt: skip
        if layer.ceil_mode:
            raise NotTileable(f"{where} ({name}) rounds sizes up (ceil_mode).")
        return line.padded(pad, pad).slide(kernel, stride, dilation, where)
    if isinstance(layer, nn.Upsample):
        return _scale(line, layer.scale_factor, layer.mode, layer.align_corners, where, axis)
    if isinstance(layer, nn.PixelShuffle):
        return _repeat(line, layer.upscale_factor)
    if isinstance(layer, nn.PixelUnshuffle):
        return line.slide(layer.downscale_factor, layer.downscale_factor, 1, where)
    if isinstance(layer, OVER_SPACE):
        raise NotTileable(f"{where} ({name}) normalises over space: {OTHER_TILES}")
    if isinstance(layer, GLOBAL):
        raise NotTileable(f"{where} ({name}) pools over the whole image: {OTHER_TILES}")
    raise NotTileable(f"{where}: there is no rule for {name}, so what it sees is not known.")


OTHER_TILES = (
    "every pixel depends on all others, so no margin makes a tile exact; pass approximate=True "
    "and a margin to tile it all the same."
)


def _cut(line: Line, index: Any, axis: int, ndim: int) -> Line:
    """``image[..., a:b, c:d]``."""
    index = slices_of(index, ndim)
    picked = index[2 + axis]
    if not all(isinstance(i, slice) and i.step in (None, 1) for i in index):
        raise NotTileable("the network picks single rows or every n-th of them by an index.")
    return line.take(picked)


def slices_of(index: Any, ndim: int) -> tuple:
    """An index ``[..., a:b]`` with an entry for each axis of ``(batch, channels, ...)``."""
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        place = index.index(Ellipsis)
        fill = (slice(None),) * (ndim + 3 - len(index))
        index = index[:place] + fill + index[place + 1 :]
    return index + (slice(None),) * (ndim + 2 - len(index))


def _repeat(line: Line, factor: int) -> Line:
    return line.take(np.arange(len(line) * factor) // factor, line.step / factor)


def _scale(line: Line, factor: Any, mode: str, corners: Any, where: str, axis: int) -> Line:
    """Enlarge by a whole factor; interpolation weights are exact only for powers of two."""
    factor = factor[axis] if isinstance(factor, tuple | list) else factor
    if factor is None or factor != int(factor) or factor < 1:
        raise NotTileable(f"{where} resizes to a fixed size or by a fraction.")
    factor = int(factor)
    near = _repeat(line, factor)
    if mode == "nearest" or factor == 1:
        return near
    if mode not in ("bilinear", "trilinear") or corners or factor & (factor - 1):
        raise NotTileable(
            f"{where} interpolates ({mode}, factor {factor}) with weights that depend on the size "
            "of the image; nearest, or linear by a power of two without align_corners, do not."
        )
    wide = line.padded(1, 1, "replicate")
    below = np.floor((np.arange(len(near)) + 0.5) / factor - 0.5).astype(int) + 1
    return replace(join([wide.take(below), wide.take(below + 1)], where), step=near.step)


def _arguments(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)


def _resize(line: Line, node: fx.Node, axis: int) -> Line:
    given = _arguments(node, ("size", "scale_factor", "mode", "align_corners"))
    factor = None if given.get("size") is not None else given.get("scale_factor")
    mode = given.get("mode", "nearest")
    return _scale(line, factor, mode, given.get("align_corners"), node.name, axis)


def _pad(line: Line, node: fx.Node, axis: int, ndim: int) -> Line:
    given = _arguments(node, ("pad", "mode", "value"))
    place = 2 * (ndim - 1 - axis)
    before, after = (*given["pad"], *(0,) * 6)[place : place + 2]
    mode = given.get("mode", "constant")
    return line.padded(before, after, "zeros" if mode == "constant" else mode)
