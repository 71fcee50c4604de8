"""The receptive field of a network, derived from its layers and checked on its outputs."""

import copy
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, fx, nn

from recon.learning.tiling.calls import propagate
from recon.learning.tiling.lines import Line, Mismatch, NotTileable, TooSmall
from recon.learning.tiling.memory import input_channels
from recon.learning.tiling.tracing import trace

__all__ = ["AxisField", "ReceptiveField", "compute", "holds", "receptive_field"]

LARGEST = 1 << 16  # an input on which some pixel should be free of padding


@dataclass(frozen=True)
class AxisField:
    """Along one axis: what an output pixel sees, and what a tile must bring along.

    Attributes
    ----------
    size : int
        Input pixels that one output pixel depends on.
    stride : Fraction
        Input pixels from one output pixel to the next; 1/2 for a network that doubles the size.
    margin : int
        Input pixels that a tile needs on each side beyond what it is to produce.
    pad : int
        Pixels to be added on each side of the image so that the output has its size; 0 if the
        network pads for itself.
    grid : int
        A tile must start at a multiple of it.
    before, after : int
        Output pixel ``o`` sees the padded image from ``stride * o - before`` to
        ``stride * o + after``.
    phase : int
        The padded image has as many pixels beyond a multiple of `grid`.
    """

    size: int
    stride: Fraction
    margin: int
    pad: int
    grid: int
    before: int
    after: int
    phase: int = 0

    def through(self, least: int) -> int:
        """The smallest size from `least` on of a padded image that goes through the network."""
        return least + (self.phase - least) % self.grid


@dataclass(frozen=True)
class ReceptiveField:
    """What one output pixel depends on; the largest over the axes, which `axes` tells apart."""

    size: int
    stride: int | Fraction
    margin: int
    axes: tuple[AxisField, ...]


def receptive_field(network: nn.Module, ndim: int = 2, check: bool = True) -> ReceptiveField:
    """Receptive field, stride and exact margin of a network.

    The layers are followed one by one (`recon.learning.tiling.lines`). Then the answer is held
    against a measurement: a pixel of the input is made NaN, and whatever the network's own code
    turns to NaN depends on it, however small its weight.

    Parameters
    ----------
    network : nn.Module
        From ``(batch, channels, [depth,] height, width)`` to the same.
    ndim : int
        Spatial axes, 1 to 3.
    check : bool
        Measure (`holds`); the network runs on about twice its receptive field.

    Returns
    -------
    ReceptiveField
        ``size``, ``stride`` and ``margin`` in pixels.

    Raises
    ------
    NotTileable
        When no margin makes tiles exact, or a layer is not known.

    Examples
    --------
    >>> from recon.networks.residual_sr import ValidResidual
    >>> receptive_field(ValidResidual(8)).size
    33
    """
    graph = trace(network)
    axes = tuple(_axis_field(graph, axis, ndim) for axis in range(ndim))
    field = ReceptiveField(
        size=max(axis.size for axis in axes),
        stride=_plain(max(axis.stride for axis in axes)),
        margin=max(axis.margin for axis in axes),
        axes=axes,
    )
    if check and not holds(network, field)[0]:
        raise NotTileable(
            f"{type(network).__name__} sees more than the {[axis.size for axis in axes]} pixels "
            "that its layers add up to: it does something that the analysis does not know; pass "
            "approximate=True and a margin to tile it all the same."
        )
    return field


def _plain(step: Fraction) -> int | Fraction:
    return step.numerator if step.denominator == 1 else step


def _axis_field(graph: fx.GraphModule, axis: int, ndim: int) -> AxisField:
    """Enlarge an input until outputs appear that no padding reaches."""
    length = 32
    while length <= LARGEST:
        try:
            line, grid, size = _through(graph, length, axis, ndim)
        except TooSmall:
            if 2 * length > LARGEST:
                raise
            length *= 2
            continue
        sees = line.last >= line.first  # between the taps of a transposed convolution is nothing
        free = np.flatnonzero(~line.edge & sees)
        # Every phase of a network with strides must be among them, and twice.
        period = max(1, int(grid / line.step))
        found = np.bincount(free % period, minlength=period)
        if len(free) and min(found[np.flatnonzero(sees) % period]) > 1 and len(line) > 2:
            length = size
            break
        length *= 2
    else:
        raise NotTileable(f"padding reaches every output pixel of an image of {LARGEST} pixels.")
    offsets = free * line.step
    before = math.ceil(max(offsets - line.first[free]))
    after = math.ceil(max(line.last[free] - offsets))
    lost = length - len(line) * line.step
    if line.step.numerator != 1 and line.step.denominator != 1:
        raise NotTileable(f"an output pixel is {line.step} input pixels wide: tiles never meet.")
    if lost < 0 or lost.denominator != 1 or lost % 2:
        raise NotTileable(
            f"{length} pixels become {len(line)}: that many cannot be padded by the same number "
            "on both sides."
        )
    pad = int(lost) // 2
    return AxisField(
        size=int((line.last[free] - line.first[free]).max()) + 1,
        stride=line.step,
        margin=max(before + pad, after - pad),
        pad=pad,
        grid=grid,
        before=before,
        after=after,
        phase=length % grid,
    )


def _through(graph: fx.GraphModule, least: int, axis: int, ndim: int) -> tuple[Line, int, int]:
    """A size from `least` on that keeps its pixels, or loses them to valid convolutions alone.

    What a stride leaves over at the end of an image is no valid convolution's doing.
    """
    grid, size, first, last = 0, least, None, 2 * least
    while size < last:
        try:
            line, _, step = propagate(graph, size, axis, ndim)
        except Mismatch as error:
            size, first = size + 1, first or error
            continue
        if not grid:  # from here on, its multiples first
            grid, multiple = step, -(-size // step) * step
            last = multiple + grid
            if multiple != size:
                size = multiple
                continue
        lost = size - len(line) * line.step
        if lost == 0 or not line.over:
            return line, grid, size
        size += 1
    raise first or NotTileable(
        f"{size} pixels become {len(line)}, and strides leave some over: the image cannot be "
        "padded so that its output has its size."
    )


def compute(network: nn.Module, image: Tensor) -> Tensor:
    """The network on a copy of an image.

    Raises
    ------
    NotTileable
        With the reason, where it cannot.
    """
    try:
        return network(image.clone())
    except Exception as error:  # whatever the network's own code raises
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise NotTileable(
            f"{type(network).__name__} cannot compute an image of {tuple(image.shape)} ({reason})."
        ) from error


@torch.no_grad()
def holds(network: nn.Module, field: ReceptiveField) -> tuple[bool, bool]:
    """Measure whether a derived receptive field is large enough, and whether it is tight.

    One output pixel is watched. With NaN everywhere but in the box that it is said to see, it must
    stay finite; with NaN in the first or in the last plane of the box alone, it must not. NaN goes
    through any weight, so nothing is too faint to be seen.

    Returns
    -------
    enough, tight : bool
    """
    like = next(network.parameters(), torch.zeros(1))
    if like.dtype == torch.bfloat16:
        # oneDNN multiplies neighbours by weights of zero there: finite ones do no harm, NaN would.
        network, like = copy.deepcopy(network).float(), like.float()
    graph, ndim = trace(network), len(field.axes)
    sizes, spans, pixel = [], [], []
    for axis, known in enumerate(field.axes):
        length = known.through(2 * known.size + 4 * known.grid + 2 * known.pad)
        line = propagate(graph, length, axis, ndim)[0]
        extent = np.where(line.edge, 0, line.last - line.first)
        best = np.flatnonzero(extent == extent.max())
        place = int(best[len(best) // 2])
        sizes.append(length)
        pixel.append(place)
        spans.append((int(line.first[place]), int(line.last[place])))

    def survives(image: Tensor) -> bool:
        return bool(compute(network, image)[(0, slice(None), *pixel)].isfinite().all())

    clean = torch.zeros(1, input_channels(graph), *sizes, device=like.device, dtype=like.dtype)
    box = tuple(slice(first, last + 1) for first, last in spans)
    outside = torch.full_like(clean, torch.nan)
    outside[(..., *box)] = 0
    ends = []
    for axis, span in enumerate(spans):
        for end in span:
            one = clean.clone()
            one.movedim(2 + axis, 0)[end] = torch.nan
            ends.append(one)
    return survives(outside), not any(survives(one) for one in ends)
