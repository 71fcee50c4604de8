"""Which pieces an image is cut into, how much memory one takes, and whether the bits are kept."""

from dataclasses import dataclass
from itertools import product
from math import ceil, log2, prod

import numpy as np
import torch
from torch import fx

from recon.errors import InputError
from recon.learning.tiling.backends import bits
from recon.learning.tiling.calls import propagate
from recon.learning.tiling.fields import AxisField, ReceptiveField
from recon.learning.tiling.lines import NotTileable
from recon.learning.tiling.memory import SLACK, channels_of, input_channels, predict_mb, window_mb
from recon.learning.tiling.strips import Strips, streams

__all__ = ["Plan", "Span", "plan_tiles"]

DEFAULT_MB = 1024.0
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
    onednn : tuple of str
        Layers that oneDNN computes when the network runs on the whole image.
    strips : bool
        Whether a window is computed in strips (`recon.learning.tiling.strips`).
    """

    shape: tuple[int, ...]
    output: tuple[int, ...]
    tile: tuple[int, ...]
    pad: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    predicted_mb: float
    inexact: str
    onednn: tuple[str, ...]
    strips: bool = False

    def pieces(self) -> list[tuple[Span, ...]]:
        """All pieces, a span for each axis."""
        return list(product(*self.spans))

    def __len__(self) -> int:
        return prod(len(spans) for spans in self.spans)

    def work(self) -> float:
        """Pixels of all windows over pixels of the image (with its padding)."""
        done = prod(sum(s.stop - s.start for s in spans) for spans in self.spans)
        return done / prod(n + 2 * p for n, p in zip(self.shape, self.pad, strict=True))


def slowness(array: float) -> float:
    """Time of a pixel over that in a fast cache, by the bytes of an array.

    Measured with 3 x 3 convolutions of 16 to 64 channels on one core of a server. Above 32 MiB the
    C library maps every array afresh, and the pages cost more than the sums.
    """
    if array > 32 * 2**20:
        return 1.8
    return 1 + 0.1 * max(0.0, log2(array / 4e6))


def cut(field: AxisField, length: int, tile: int, narrowest: int) -> tuple[Span, ...]:
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
        lack = max(0, narrowest - (stop - start))
        start = max(0, (start - lack // 2) // field.grid * field.grid)
        stop = min(whole, max(stop + lack - lack // 2, start + narrowest))
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


def plan_tiles(
    graph: fx.GraphModule | None,
    field: ReceptiveField,
    shape: tuple[int, ...],
    tile: int | tuple[int, ...] | None = None,
    memory_mb: float | None = None,
    batch: int = 1,
    proven: bool = True,
    strips: bool = True,
    images: int = 1,
    workers: int = 1,
) -> Plan:
    """Cut an image into the tiles that cost least time among those that a memory budget holds.

    Large tiles share less; but arrays that outgrow a processor's caches take longer a pixel
    (`slowness`). Where a network can be computed in strips, only the width of a tile counts.

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
    strips : bool
        Compute windows in strips where the network allows.
    images : int
        Images of this shape that are cut alike, one after the other.
    workers : int
        Processes that compute at a time: the pieces should keep all of them busy.

    Returns
    -------
    Plan

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
    channels = input_channels(graph) if graph is not None else 1
    like = torch.zeros(1) if graph is None else next(graph.parameters(), torch.zeros(1))

    def spans_of(wanted: tuple[int, ...]) -> tuple[tuple[Span, ...], ...]:
        return tuple(
            cut(*one, NARROWEST if proven else 1) for one in zip(axes, shape, wanted, strict=True)
        )

    inexact, onednn, small = bits(graph, shape, axes, batch)
    like_strips = strips and streams(graph, onednn, like)
    runner = Strips(graph, onednn, len(shape), like.element_size()) if like_strips else None
    counts = channels_of(graph, channels) if graph is not None else {}
    widest, outgoing = max(counts.values(), default=1), list(counts.values() or [1])[-1]

    def window_of(wanted: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(s.stop - s.start for s in spans) for spans in spans_of(wanted))

    def cost(wanted: tuple[int, ...]) -> float:
        if graph is None:
            return 0.0
        window = window_of(wanted)
        if runner is None:
            return predict_mb(graph, window, channels, like.element_size())
        return SLACK * runner.peak_mb(window) + window_mb(window, channels, outgoing)

    def seconds(wanted: tuple[int, ...]) -> float:
        """Time of all images, in that of as many pixels in a fast cache."""
        window, spans = window_of(wanted), spans_of(wanted)
        work = prod(sum(s.stop - s.start for s in along) for along in spans)
        pieces = images * prod(map(len, spans))
        work *= ceil(pieces / workers) * workers / pieces  # who has no piece left waits
        rows = runner.rows(window) if runner is not None else window[0]
        array = rows * prod(window[1:]) * widest * like.element_size()
        return work * slowness(array) if like.device.type == "cpu" else work

    def sized(edge: int) -> tuple[int, ...]:
        """Pieces of at most ``edge`` pixels, all about as large."""
        counts = [ceil(n / edge) for n in outputs]
        return tuple(
            min(n, ceil(n / c / s) * s) for n, c, s in zip(outputs, counts, steps, strict=True)
        )

    if tile is not None:
        asked = tuple(tile) if isinstance(tile, tuple | list) else (tile,) * len(shape)
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
        edges = {sized(max(max(steps), int(low * 0.8**n))) for n in range(16)}
        chosen = min(edges, key=lambda wanted: (seconds(wanted), -prod(wanted)))
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
    if batch == 1 and not like_strips and graph is not None and chosen == outputs:
        inexact = ""  # the network on the image
    return Plan(shape, outputs, chosen, pad, spans, cost(chosen), inexact, onednn, like_strips)
