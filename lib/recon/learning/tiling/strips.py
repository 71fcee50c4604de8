"""Compute a window strip by strip, every layer's rows once.

A layer needs some rows of its input again for the next strip: a 3 x 3 convolution the last two. It
keeps those and lets go of the others, so a window takes the memory of a strip, and its arrays stay
in the processor's cache. Alwani et al. (2016) fuse the layers of a convolutional network so in
hardware. Nothing is computed twice, whatever the depth, and no sum changes its order.
"""

import operator
from collections import defaultdict
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recon.learning.tiling.backends import convolve, may_put_channels_last
from recon.learning.tiling.calls import IN_PLACE, PLAIN, PLAIN_METHODS, propagate
from recon.learning.tiling.layers import (
    BATCH_NORMS,
    DROPOUTS,
    POINTWISE,
)
from recon.learning.tiling.memory import blocked, channels_of, input_channels
from recon.learning.tiling.tracing import CONVOLUTIONS, slices_of

__all__ = ["Strips", "streams"]

STRIP_BYTES = 3_000_000  # of an array in a strip: a processor's second cache holds about as much
FEWEST = {2: 16, 3: 4}  # rows (planes of a volume); fewer would copy more than they compute
SAME_ROWS = (*POINTWISE, *BATCH_NORMS, *DROPOUTS, nn.Softmax, nn.LogSoftmax)


@dataclass(frozen=True)
class Step:
    """New rows ``first:last`` of one node's output.

    ``given`` are the rows of each input that they take, ``beyond`` how many rows of zeros come
    before and after these, ``keep`` the inputs of which only rows from a given one on are needed
    from now on.
    """

    node: fx.Node
    first: int
    last: int
    given: dict[fx.Node, tuple[int, int]]
    beyond: tuple[int, int]
    keep: dict[fx.Node, int]


def streams(graph: fx.GraphModule | None, onednn: tuple[str, ...], like: Tensor) -> bool:
    """Whether a network can be computed in strips without a change of the last bit.

    Convolutions padded with zeros and what acts pixel by pixel can. A convolution must be one that
    adds up in the same order for any number of rows (`recon.learning.tiling.backends`).
    """
    if graph is None or like.device.type != "cpu":
        return False
    modules = dict(graph.named_modules())
    if not any(isinstance(layer, CONVOLUTIONS) for layer in modules.values()):
        return False
    for node in graph.graph.nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        shared = any(len(given.users) > 1 for given in node.all_input_nodes)
        if node.op == "call_module":
            if isinstance(layer, CONVOLUTIONS):
                same = node.name in onednn or all(k == 1 for k in layer.kernel_size)
                plain = layer.padding_mode == "zeros" and layer.padding != "same"
                plain = plain and not isinstance(layer, nn.Conv1d)
                plain = plain and layer.weight.is_contiguous()  # channels last: another layout
                if not plain or not (same or like.dtype != torch.float32):
                    return False
            elif not isinstance(layer, SAME_ROWS) or (shared and getattr(layer, "inplace", False)):
                return False
        elif node.op == "call_method":
            if node.target not in PLAIN_METHODS or (shared and node.target.endswith("_")):
                return False
        elif node.op == "call_function":
            changed = node.target in IN_PLACE or node.kwargs.get("inplace")
            if node.target is not operator.getitem and node.target not in PLAIN:
                return False
            if shared and changed:
                return False
    return True


class Strips:
    """Runs a network for which `streams` holds.

    Parameters
    ----------
    graph : fx.GraphModule
    onednn : tuple of str
        Layers that oneDNN computes.
    ndim : int
        Spatial axes; strips are cut along the first.
    itemsize : int
        Bytes of a number.
    """

    def __init__(self, graph: fx.GraphModule, onednn: tuple[str, ...], ndim: int, itemsize: int):
        self.graph, self.onednn, self.ndim = graph, set(onednn), ndim
        self.modules, self.itemsize = dict(graph.named_modules()), itemsize
        self.nodes = list(graph.graph.nodes)
        self.channels = channels_of(graph, input_channels(graph))
        self.known: dict[tuple[int, int], list[Step]] = {}
        self.last = may_put_channels_last(graph, onednn, itemsize)

    def rows(self, window: tuple[int, ...]) -> int:
        """Output rows of a strip."""
        row = prod(window[1:]) * max(self.channels.values()) * self.itemsize
        return max(FEWEST[self.ndim], min(STRIP_BYTES // row, window[0]))

    def _rows_of(
        self, node: fx.Node, first: int, last: int, have: int
    ) -> tuple[int, int, int, int]:
        """Rows of its input that output rows take, and the zeros before and after them."""
        layer = self.modules.get(node.target) if node.op == "call_module" else None
        if isinstance(layer, CONVOLUTIONS):
            pad = 0 if layer.padding == "valid" else layer.padding[0]
            step, reach = layer.stride[0], layer.dilation[0] * (layer.kernel_size[0] - 1)
            start, stop = first * step - pad, (last - 1) * step - pad + reach + 1
            return max(start, 0), min(stop, have), max(-start, 0), max(stop - have, 0)
        if node.target is operator.getitem:
            start = slices_of(node.args[1], self.ndim)[2].indices(have)[0]
            return first + start, last + start, 0, 0
        return first, last, 0, 0

    def steps(self, length: int, rows: int) -> list[Step]:
        """What to compute in which order for a window of ``length`` rows."""
        if (length, rows) in self.known:
            return self.known[length, rows]
        sizes = propagate(self.graph, length, 0, self.ndim)[1]
        spatial = [n for n in self.nodes if n.name in sizes and n.op != "output"]
        end = self.nodes[-1].args[0]
        inputs = {n: [i for i in n.all_input_nodes if i.name in sizes] for n in spatial}
        users = defaultdict(list)
        for node, given in inputs.items():
            for one in given:
                users[one].append(node)
        done, steps = dict.fromkeys(spatial, 0), []
        total = sizes[end.name][1]
        for number in range(ceil(total / rows)):
            want = defaultdict(int, {end: min((number + 1) * rows, total)})
            for node in reversed(spatial):
                for one in inputs[node] if want[node] else ():
                    stop = self._rows_of(node, 0, want[node], sizes[one.name][1])[1]
                    want[one] = max(want[one], stop)
            for node in spatial:
                first, last = done[node], want[node]
                if last <= first:
                    continue
                found = {
                    i: self._rows_of(node, first, last, sizes[i.name][1]) for i in inputs[node]
                }
                done[node] = last
                beyond = next((f[2:] for f in found.values()), (0, 0))
                keep = {
                    i: min(
                        self._rows_of(u, done[u], done[u] + 1, sizes[i.name][1])[0]
                        for u in users[i]
                    )
                    for i in inputs[node]
                    if users[i][-1] is node
                }
                given = {i: f[:2] for i, f in found.items()}
                steps.append(Step(node, first, last, given, beyond, keep))
        self.known = {(length, rows): steps}
        return steps

    def peak_mb(self, window: tuple[int, ...]) -> float:
        """Most memory that is held at once in MB, the window and its output left out."""
        rows = self.rows(window)
        # Beyond some strips it only repeats itself.
        reach = sum(
            m.dilation[0] * (m.kernel_size[0] - 1) + 2
            for m in self.modules.values()
            if isinstance(m, CONVOLUTIONS)
        )
        length, width = min(window[0], 4 * rows + reach), prod(window[1:]) * self.itemsize
        held: dict[fx.Node, int] = {}
        peak = 0
        for step in self.steps(length, rows):
            if step.node.op == "placeholder":
                continue
            new = (step.last - step.first) * self.channels[step.node]
            layer = self.modules.get(step.node.target) if step.node.op == "call_module" else None
            extra = new
            if isinstance(layer, CONVOLUTIONS):
                taken = sum(b - a for a, b in step.given.values()) + sum(step.beyond)
                extra += taken * blocked(layer.in_channels)
                extra += (step.last - step.first) * blocked(layer.out_channels)
            held[step.node] = held.get(step.node, 0) + new
            peak = max(peak, sum(held.values()) + extra)
            for one, start in step.keep.items():
                if one in held:
                    stop = next(b for node, (_, b) in step.given.items() if node is one)
                    held[one] = min(held[one], max(0, stop - start) * self.channels[one])
        return peak * width / 1e6

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        """The network on a window ``(1, channels, ...)``."""
        window = tuple(image.shape[2:])
        held: dict[fx.Node, tuple[int, Tensor]] = {}
        fixed = self._constants()
        end, result = self.nodes[-1].args[0], None
        total = propagate(self.graph, window[0], 0, self.ndim)[1][end.name][1]
        for step in self.steps(window[0], self.rows(window)):
            if step.node.op == "placeholder":
                held[step.node] = 0, image
                continue
            given = {
                one: held[one][1].narrow(2, a - held[one][0], b - a)
                for one, (a, b) in step.given.items()
            }
            start, old = held.get(step.node, (step.first, None))
            if old is None:
                whole = new = self._compute(step, given, fixed)
            else:
                whole, new = self._joined(old, step, given, fixed)
            del given, old
            if step.node is end:
                if result is None:
                    result = new.new_empty(*new.shape[:2], total, *new.shape[3:])
                result[:, :, step.first : step.last] = new
            if step.node.users.keys() - {self.nodes[-1]}:
                held[step.node] = start, whole
            for one, start in step.keep.items():
                at, whole = held[one]
                if one.op == "placeholder":
                    continue
                rest = whole.shape[2] - (start - at)
                if rest > 0:  # a copy: a view would hold all of it
                    held[one] = start, whole.narrow(2, start - at, rest).clone()
                else:
                    del held[one]
        return result

    def _joined(self, old: Tensor, step: Step, given: dict, fixed: dict) -> tuple[Tensor, Tensor]:
        """Rows that were kept, with new ones below them; and the new ones alone."""
        layer = self.modules.get(step.node.target) if step.node.op == "call_module" else None
        values, count = list(given.values()), step.last - step.first
        into = type(layer) is nn.ReLU or (step.node.target is operator.add and len(values) == 2)
        if not into or old.shape[3:] != values[0].shape[3:]:
            new = self._compute(step, given, fixed)
            return torch.cat([old, new], 2), new
        # The most frequent two write in place: to join later would copy a strip.
        kept = old.shape[2]
        last = torch.channels_last_3d if self.ndim == 3 else torch.channels_last
        form = last if self.last else torch.contiguous_format
        size = (*old.shape[:2], kept + count, *old.shape[3:])
        whole = torch.empty(size, dtype=old.dtype, memory_format=form)
        whole[:, :, :kept] = old
        new = whole[:, :, kept:]
        if layer is None:
            torch.add(*values, out=new)
        else:
            torch.clamp_min(values[0], 0, out=new)
        return whole, new

    def _constants(self) -> dict[fx.Node, Any]:
        """Weights that the graph uses by themselves."""
        found = {}
        for node in self.nodes:
            if node.op == "get_attr":
                found[node] = operator.attrgetter(node.target)(self.graph)
        return found

    def _compute(self, step: Step, given: dict[fx.Node, Tensor], fixed: dict) -> Tensor:
        node = step.node
        if node.op == "call_module":
            layer, x = self.modules[node.target], next(iter(given.values()))
            if not isinstance(layer, CONVOLUTIONS):
                return layer(x)
            if any(step.beyond):
                x = F.pad(x, (0, 0) * (self.ndim - 1) + step.beyond)
            pad = (0,) * self.ndim if layer.padding == "valid" else (0, *layer.padding[1:])
            return convolve(layer, x, pad, node.name in self.onednn, self.last)
        if node.target is operator.getitem:
            index = list(slices_of(node.args[1], self.ndim))
            index[2] = slice(None)
            return next(iter(given.values()))[tuple(index)]
        values = {**fixed, **given}
        args = fx.map_arg(node.args, values.__getitem__)
        kwargs = fx.map_arg(node.kwargs, values.__getitem__)
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)
