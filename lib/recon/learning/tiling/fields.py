"""The receptive field of a network, derived from its layers and checked on its outputs."""

import copy
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, fx, nn

from recon.learning.tiling.lines import CONVOLUTIONS, NotTileable, propagate, trace

__all__ = ["AxisField", "ReceptiveField", "holds", "input_channels", "receptive_field"]

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
    """

    size: int
    stride: Fraction
    margin: int
    pad: int
    grid: int
    before: int
    after: int


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
        Spatial axes, 2 or 3.
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
            line, _, grid = propagate(graph, length, axis, ndim)
        except NotTileable:  # too small for a kernel, or of a size that does not divide
            if length == LARGEST:
                raise
            length *= 2
            continue
        free = np.flatnonzero(~line.edge)
        # Every phase of a network with strides must be among them.
        period = max(1, int(grid / line.step))
        if len(free) >= 2 * period and len(line) > 2:
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
    )


def input_channels(network: nn.Module) -> int:
    """Channels that the first convolution expects; 1 where there is none."""
    for layer in network.modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            return layer.in_channels
    return 1


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
        length = -(-(2 * known.size + 4 * known.grid) // known.grid) * known.grid + 2 * known.pad
        line = propagate(graph, length, axis, ndim)[0]
        extent = np.where(line.edge, 0, line.last - line.first)
        best = np.flatnonzero(extent == extent.max())
        place = int(best[len(best) // 2])
        sizes.append(length)
        pixel.append(place)
        spans.append((int(line.first[place]), int(line.last[place])))

    def survives(image: Tensor) -> bool:
        return bool(network(image)[(0, slice(None), *pixel)].isfinite().all())

    clean = torch.zeros(1, input_channels(network), *sizes, device=like.device, dtype=like.dtype)
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
