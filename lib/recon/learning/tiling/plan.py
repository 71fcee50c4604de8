"""Which pieces an image is cut into, how much memory one takes, and whether the bits are kept."""

import copy
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np
import torch
from torch import Tensor, fx, nn

from recon.errors import InputError
from recon.learning.tiling.fields import AxisField, ReceptiveField, input_channels
from recon.learning.tiling.lines import CONVOLUTIONS, TRANSPOSED, NotTileable, propagate

__all__ = ["Interpreter", "Plan", "Span", "forced_onednn", "plan_tiles", "predict_mb"]

DEFAULT_MB = 1024.0
FIXED_MB = 48.0  # generated code and thread buffers of the convolutions, once
NARROWEST = 32  # pixels of a window: narrower ones take other code paths in some layouts


@dataclass(frozen=True)
class Span:
    """One piece along one axis.

    The window ``start:stop`` of the padded image gives the output ``first:last``, once ``skip``
    pixels at the start of the window's own output are left out.
    """

    start: int
    stop: int
    first: int
    last: int
    skip: int


@dataclass(frozen=True)
class Plan:
    """How an image is cut.

    Attributes
    ----------
    shape : tuple of int
        Spatial shape of the image.
    output : tuple of int
        Spatial shape of the output.
    tile : tuple of int
        Output pixels of a piece.
    pad : tuple of int
        Zeros added on each side of the image.
    spans : tuple of tuple of Span
        By axis.
    predicted_mb : float
        Largest memory of one window, network's activations included.
    inexact : str
        Why the last bits may differ from those of the whole image; empty if they do not.
    onednn : frozenset of str
        Layers that oneDNN computes when the network runs on the whole image.
    """

    shape: tuple[int, ...]
    output: tuple[int, ...]
    tile: tuple[int, ...]
    pad: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    predicted_mb: float
    inexact: str
    onednn: frozenset[str]

    def pieces(self) -> list[tuple[Span, ...]]:
        """All pieces, a span for each axis."""
        return list(product(*self.spans))

    def __len__(self) -> int:
        return prod(len(spans) for spans in self.spans)

    def work(self) -> float:
        """Pixels of all windows over pixels of the image (with its padding)."""
        done = prod(sum(s.stop - s.start for s in spans) for spans in self.spans)
        return done / prod(n + 2 * p for n, p in zip(self.shape, self.pad, strict=True))


def cut(field: AxisField, length: int, tile: int) -> tuple[Span, ...]:
    """Windows along one axis for an image of ``length`` pixels and pieces of ``tile``.

    A window starts at a multiple of the grid, and ends so that as many pixels are left over as in
    the whole image; at the image's own ends it stops, so that the network pads there as always.
    """
    whole, output = length + 2 * field.pad, int(length / field.stride)
    spans = []
    for first in range(0, output, tile):
        last = min(first + tile, output)
        start = int(first * field.stride) - field.before
        stop = ceil((last - 1) * field.stride) + field.after + 1
        lack = max(0, NARROWEST - (stop - start))
        start = max(0, (start - lack // 2) // field.grid * field.grid)
        stop = min(whole, max(stop + lack - lack // 2, start + NARROWEST))
        stop = whole - (whole - stop) // field.grid * field.grid
        spans.append(Span(start, stop, first, last, first - int(start / field.stride)))
    return tuple(spans)


def prove(graph: fx.GraphModule, axis: int, ndim: int, whole: int, spans: tuple[Span, ...]) -> None:
    """Check on every window that its kept pixels see what they see in the whole image.

    Raises
    ------
    NotTileable
        If one does not, or if the network cannot take a window's size.
    """
    line = propagate(graph, whole, axis, ndim)[0]
    if len(line) != spans[-1].last:
        raise NotTileable(
            f"an axis of {whole} pixels becomes {len(line)} instead of {spans[-1].last}, for the "
            "network's strides do not divide it; pad or crop the image first."
        )
    known = {}
    for span in spans:
        length = span.stop - span.start
        if length not in known:
            known[length] = propagate(graph, length, axis, ndim)[0]
        here = known[length].take(slice(span.skip, span.skip + span.last - span.first))
        there = line.take(slice(span.first, span.last))
        same = len(here) == len(there) and all(
            np.array_equal(a, b)
            for a, b in (
                (here.first + span.start, there.first),
                (here.last + span.start, there.last),
                (here.edge, there.edge),
            )
        )
        if not same:
            raise NotTileable(
                f"output pixels {span.first} to {span.last} would not see in their tile what they "
                "see in the whole image; pass approximate=True to accept that."
            )


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

    def __init__(self, graph: fx.GraphModule, onednn: frozenset[str] = frozenset()):
        super().__init__(graph)
        self.onednn = onednn

    def run_node(self, n: fx.Node) -> Tensor:
        """Result of one layer."""
        if n.name not in self.onednn:
            return super().run_node(n)
        layer, x = self.fetch_attr(n.target), self.env[n.args[0]]
        if forced_onednn(layer, tuple(x.shape)):
            return layer(x)
        padding = layer.padding
        if isinstance(padding, str) or layer.padding_mode != "zeros":
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
            padding = (0,) * len(layer.kernel_size)
        rest = (padding, layer.stride, layer.dilation, layer.groups)
        return torch.mkldnn_convolution(x, layer.weight, layer.bias, *rest)


class _Meter(fx.Interpreter):
    """Runs on tensors without content and adds up what would be held at once."""

    peak = 0

    def run_node(self, n: fx.Node) -> Tensor:
        result = super().run_node(n)
        held = {}
        for value in (*self.env.values(), result):
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                held[value.untyped_storage()._cdata] = value.untyped_storage().nbytes()
        scratch = 0
        if n.op == "call_module":
            layer = self.fetch_attr(n.target)
            if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
                # oneDNN works on copies of input and output in blocks of channels.
                scratch = sum(_blocked(t) for t in (self.env[n.args[0]], result))
        self.peak = max(self.peak, sum(held.values()) + scratch)
        return result


def _blocked(x: Tensor) -> int:
    """Bytes of a tensor with its channels rounded up to whole blocks of 16."""
    channels = x.shape[1]
    filled = channels if channels < 4 else ceil(channels / 16) * 16
    return x.numel() // channels * filled * x.element_size()


def predict_mb(graph: fx.GraphModule, window: tuple[int, ...], channels: int) -> float:
    """Memory in MB that a window takes, from the sizes of its activations.

    Parameters
    ----------
    graph : fx.GraphModule
        On the device ``meta``.
    window : tuple of int
        Spatial shape.
    channels : int
        Of the input.
    """
    like = next(graph.parameters(), torch.zeros(1))
    meter = _Meter(graph)
    with torch.no_grad():
        meter.run(torch.empty(1, channels, *window, device="meta", dtype=like.dtype))
    return meter.peak / 1e6 + FIXED_MB


def plan_tiles(
    graph: fx.GraphModule | None,
    field: ReceptiveField,
    shape: tuple[int, ...],
    tile: int | tuple[int, ...] | None = None,
    memory_mb: float | None = None,
    batch: int = 1,
    proven: bool = True,
) -> Plan:
    """Cut an image into the largest tiles that a memory budget holds.

    Parameters
    ----------
    graph : fx.GraphModule or None
        The traced network; None for one that is tiled approximately.
    field : ReceptiveField
    shape : tuple of int
        Spatial shape of the image.
    tile : int or tuple of int, optional
        Output pixels of a piece along each axis; None: as many as the budget holds.
    memory_mb : float, optional
        Budget of one window; None: 1024 MB, or no budget where a tile is given.
    batch : int
        Images that the network would be given at once, were they not cut.
    proven : bool
        Check every window against the whole image.

    Raises
    ------
    InputError
        If not even the smallest tile fits, or the tile is no positive number.
    NotTileable
        If the image's size does not go through the network.
    """
    axes = field.axes
    for n, axis in zip(shape, axes, strict=True):
        if n < 1 or (axis.stride > 1 and n % axis.stride):
            raise InputError(f"the image has {n} pixels, no multiple of the stride {axis.stride}.")
    outputs = tuple(int(n / axis.stride) for n, axis in zip(shape, axes, strict=True))
    steps = tuple(max(1, int(axis.grid / axis.stride)) for axis in axes)
    meta = copy.deepcopy(graph).to("meta") if graph is not None else None
    channels = input_channels(graph) if graph is not None else 1

    def spans_of(wanted: tuple[int, ...]) -> tuple[tuple[Span, ...], ...]:
        return tuple(cut(*one) for one in zip(axes, shape, wanted, strict=True))

    def cost(wanted: tuple[int, ...]) -> float:
        if meta is None:
            return 0.0
        window = tuple(max(s.stop - s.start for s in spans) for spans in spans_of(wanted))
        return predict_mb(meta, window, channels)

    def sized(edge: int) -> tuple[int, ...]:
        """Pieces of at most ``edge`` pixels, all about as large."""
        counts = [ceil(n / edge) for n in outputs]
        return tuple(
            min(n, ceil(n / c / s) * s) for n, c, s in zip(outputs, counts, steps, strict=True)
        )

    inexact, onednn, small = bits(graph, shape, axes, batch)
    if tile is not None:
        asked = (tile,) * len(shape) if isinstance(tile, int) else tuple(tile)
        if len(asked) != len(shape) or any(int(t) != t or t < 1 for t in asked):
            raise InputError(
                f"tile is {tile!r}; give a positive whole number, or one for each axis."
            )
        chosen = tuple(min(int(t), n) for t, n in zip(asked, outputs, strict=True))
        if memory_mb is not None and cost(chosen) > memory_mb:
            raise InputError(
                f"memory_mb is {memory_mb:g}, but tiles of {chosen} take {cost(chosen):.0f} MB."
            )
    else:
        budget = DEFAULT_MB if memory_mb is None else memory_mb
        low, high = max(steps), max(outputs)
        if cost(sized(low)) > budget:
            raise InputError(
                f"memory_mb is {budget:g} for a tile, but the smallest takes "
                f"{cost(sized(low)):.0f} MB; raise it by as much."
            )
        if cost(sized(high)) <= budget:
            low = high
        while high - low > max(1, low // 64):
            middle = (low + high) // 2
            low, high = (middle, high) if cost(sized(middle)) <= budget else (low, middle)
        chosen = sized(low)
    limit = DEFAULT_MB if memory_mb is None else memory_mb
    if small and chosen != outputs:
        if cost(outputs) <= limit:
            chosen = outputs
        else:
            inexact = small
    spans = spans_of(chosen)
    pad = tuple(axis.pad for axis in axes)
    if proven and graph is not None:
        for axis, (n, p) in enumerate(zip(shape, pad, strict=True)):
            prove(graph, axis, len(shape), n + 2 * p, spans[axis])
    return Plan(shape, outputs, chosen, pad, spans, cost(chosen), inexact, onednn)


def bits(
    graph: fx.GraphModule | None, shape: tuple[int, ...], axes: tuple[AxisField, ...], batch: int
) -> tuple[str, frozenset[str], str]:
    """What is known about the last bits.

    Returns
    -------
    inexact : str
        Why they may differ, whatever the tile; empty if they do not.
    onednn : frozenset of str
        Layers that oneDNN computes on the whole image.
    small : str
        Why the image should better stay whole, if so.
    """
    if graph is None:
        return "the network is tiled approximately", frozenset(), ""
    like = next(graph.parameters(), torch.zeros(1))
    if like.device.type != "cpu":
        return "a GPU chooses its algorithm by the shape", frozenset(), ""
    if like.dtype == torch.float64:
        return "the order of the sums of float64 depends on the shape", frozenset(), ""
    several = torch.get_num_threads() > 1
    inputs = [
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
        size = (batch, layer.in_channels, *(lengths[node.name] for lengths in inputs))
        if forced_onednn(layer, size):
            onednn.add(node.name)
        elif any(k > 1 for k in layer.kernel_size):
            small = "a layer of so few pixels adds up by their number"
        elif layer.out_channels == 1:
            inexact = "a 1 x 1 convolution to one channel on one thread adds up by the shape"
    return inexact, frozenset(onednn), small
