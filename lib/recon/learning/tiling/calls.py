"""What every call does to a `Line`; what has no rule is refused, never guessed.

Following the lines through a traced network gives the exact receptive field of each single output
pixel, edges included (compare Araujo et al. 2019, who give the sums for chains of layers).
"""

import operator
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from recon.learning.tiling.layers import (
    DROPOUTS,
    OTHER_TILES,
    enlarge,
    follow_layer,
    pad,
    repeat,
    unshuffle,
)
from recon.learning.tiling.lines import Line, NotTileable, join
from recon.learning.tiling.tracing import FRONT, enlarged, refronted, slices_of

__all__ = ["IN_PLACE", "PLAIN", "PLAIN_METHODS", "propagate"]

# Of one image or of several, position by position.
PLAIN = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd,
    operator.imul, operator.isub, operator.pow, torch.add, torch.sub, torch.mul, torch.div,
    torch.relu, torch.sigmoid, torch.tanh, torch.exp, torch.abs, torch.clamp, torch.sqrt,
    torch.square, torch.maximum, torch.minimum, torch.cat, F.relu, F.relu6, F.leaky_relu, F.elu,
    F.gelu, F.silu, F.mish, F.sigmoid, F.hardsigmoid, F.hardswish, F.tanh, F.softplus, F.prelu,
}  # fmt: skip
PLAIN_METHODS = {
    "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "relu", "relu_", "sigmoid", "tanh",
    "exp", "sqrt", "square", "pow", "clamp", "clamp_", "clamp_min", "abs", "contiguous", "clone",
}  # fmt: skip
IN_PLACE = {operator.iadd, operator.imul, operator.isub, F.relu_, F.leaky_relu_, F.elu_}
PLAIN |= IN_PLACE
SAME = {operator.getitem, "contiguous", refronted}  # the same memory in another form
NORMS = {F.group_norm, F.instance_norm, F.layer_norm}


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
                _fixed_nowhere(graph, node, ndim)
                env[node] = _follow(node, [env[n] for n in given], modules, axis, ndim)
                if len(given) > 1:
                    _written(node, modules)
                grid = int(np.lcm(grid, env[node].step.numerator))
                sizes[node.name] = len(env[given[0]]), len(env[node])
            else:
                raise NotTileable(f"{node.name} works on weights, not on the image.")
    raise NotTileable("the network has no output.")


def _fixed_nowhere(graph: fx.GraphModule, node: fx.Node, ndim: int) -> None:
    """Weights that belong to positions are refused: a tile does not know where it lies."""
    for one in node.all_input_nodes:
        if one.op == "get_attr" and node.target is not F.prelu:
            shape = tuple(operator.attrgetter(one.target)(graph).shape)
            if any(n != 1 for n in shape[-ndim:]):
                raise NotTileable(
                    f"{node.name} uses weights of shape {shape}, a value for each position, and "
                    "a tile has another position than the image."
                )


def _written(node: fx.Node, modules: Mapping) -> None:
    """Refuse what is used again after another image was put into it, as the lines do not see it."""

    def changes(one: fx.Node) -> bool:
        layer = modules.get(one.target) if one.op == "call_module" else None
        method = one.op == "call_method" and one.target.endswith("_")
        inplace = getattr(layer, "inplace", False) or one.kwargs.get("inplace", False)
        return method or one.target in IN_PLACE or inplace

    if not changes(node):
        return
    one = node.args[0]
    while isinstance(one, fx.Node) and one.op != "get_attr":
        if any(user > node for user in one.users):
            raise NotTileable(f"{node.name} changes in place what {one.name} is used for later.")
        layer = modules.get(one.target) if one.op == "call_module" else None
        same = isinstance(layer, (nn.Identity, *DROPOUTS)) or one.target in SAME
        one = one.args[0] if changes(one) or same else None


def _follow(node: fx.Node, lines: list[Line], modules: Mapping, axis: int, ndim: int) -> Line:
    if node.op == "call_module":
        where = f"layer {node.target.removeprefix('network.')}"
        return follow_layer(modules[node.target], lines[0], where, axis, ndim)
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    given = _arguments(node, NAMES.get(name, ()))
    if node.target is operator.getitem:
        return _cut(lines[0], node, axis, ndim)
    if node.target in (PLAIN if node.op == "call_function" else PLAIN_METHODS):
        if node.target is torch.cat and not _in_front(node.args[0][0], given.get("dim", 0), ndim):
            raise NotTileable(f"{node.name} joins arrays along another axis than the channels.")
        return join(lines, node.name)
    if node.target is F.dropout and not given.get("training", True):
        return lines[0]
    if name in FRONT and "shape" in node.meta:
        return _front(node, name, given, lines[0], ndim)
    if node.target is refronted:
        return lines[0]
    if node.target in (F.interpolate, enlarged):
        factor = None if given.get("size") is not None else given.get("scale_factor")
        mode, corners = given.get("mode", "nearest"), given.get("align_corners")
        return enlarge(lines[0], factor, mode, corners, node.name, axis)
    if node.target in NORMS:
        raise NotTileable(f"{node.name} normalises over space: {OTHER_TILES}")
    if node.target is F.pad:
        return pad(lines[0], given["pad"], given.get("mode", "constant"), axis, ndim)
    if node.target in (torch.pixel_shuffle, F.pixel_shuffle):
        return repeat(lines[0], given["upscale_factor"])
    if node.target in (torch.pixel_unshuffle, F.pixel_unshuffle):
        return unshuffle(lines[0], given["downscale_factor"], node.name)
    raise NotTileable(
        f"{node.name}: there is no rule for {name or node.target}, so what it sees is not known; "
        "pass approximate=True and a margin to tile it all the same."
    )


# Of arguments after the first, where they are given by place.
NAMES = {
    "cat": ("dim",), "dropout": ("p", "training"), "interpolate": ("size", "scale_factor", "mode"),
    "pad": ("pad", "mode", "value"), "pixel_shuffle": ("upscale_factor",),
    "pixel_unshuffle": ("downscale_factor",), "chunk": ("chunks", "dim"), "split": ("size", "dim"),
} | dict.fromkeys(
    ("softmax", "log_softmax", "sum", "mean", "amax", "amin", "unsqueeze", "squeeze", "unflatten"),
    ("dim",),
)  # fmt: skip


def _arguments(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)


def _in_front(node: fx.Node, dims: Any, ndim: int, more: int = 0) -> bool:
    """Whether axes of an array are in front of its spatial axes, and none the batch."""
    shape = node.meta.get("shape", (1,) * (ndim + 2))
    if shape is None or dims is None:
        return False
    rank = len(shape) + more
    return all(0 < d % rank < rank - ndim for d in (dims if isinstance(dims, tuple | list) else
                                                    (dims,)))  # fmt: skip


def _front(node: fx.Node, name: str, given: dict, line: Line, ndim: int) -> Line:
    """A call about axes in front of the spatial ones, as long as it is about no others."""
    more = int(name == "unsqueeze")
    dims = given.get("dim", 0 if name in ("chunk", "split") else None)
    if name in ("reshape", "view") or not _in_front(node.args[0], dims, ndim, more):
        raise NotTileable(f"{node.name} ({name}) is about the pixels' axes, or about all.")
    return line


def _cut(line: Line, node: fx.Node, axis: int, ndim: int) -> Line:
    """``image[..., a:b, c:d]``."""
    index, shape = node.args[1], node.args[0].meta.get("shape", (1,) * (ndim + 2))
    if shape is None and isinstance(index, int):  # one of several arrays
        return line
    index = index if isinstance(index, tuple) else (index,)
    taken = [i for i in index if i is not None]
    if shape is not None and Ellipsis not in index and len(taken) <= len(shape) - ndim:
        return line
    index = slices_of(index, ndim)
    if (shape is None or len(shape) != ndim + 2
            or not all(isinstance(i, slice) and i.step in (None, 1) for i in index)):  # fmt: skip
        raise NotTileable("the network picks single rows or every n-th of them by an index.")
    return line.take(index[2 + axis])
