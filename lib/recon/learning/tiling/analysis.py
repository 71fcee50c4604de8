"""What is known of a network before it is tiled, found once for each.

Tracing, following the receptive field and measuring it take as long as a small image does. They
depend on a network's layers alone, so they are kept for as long as it lives and is not rebuilt.
"""

import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx, nn

from recon.errors import InputError
from recon.learning.tiling.backends import SUMS, Interpreter
from recon.learning.tiling.calls import propagate
from recon.learning.tiling.fields import AxisField, ReceptiveField, compute, receptive_field
from recon.learning.tiling.lines import NotTileable, TooSmall
from recon.learning.tiling.memory import input_channels
from recon.learning.tiling.plan import NARROWEST, plan_tiles
from recon.learning.tiling.tracing import CONVOLUTIONS, axes_of, state_of, trace
from recon.learning.tiling.workers import Here

__all__ = ["analyse", "measure", "once"]

LARGEST = 1 << 12  # pixels of a side of what is measured
_known: weakref.WeakKeyDictionary[nn.Module, tuple[Any, dict]] = weakref.WeakKeyDictionary()


def once(
    network: nn.Module, graph: fx.GraphModule | None, question: Any, find: Callable[[], Any]
) -> Any:
    """The answer to a question about a network, found only if it is traced to something else.

    The network is traced every time: what its code depends on, an attribute or a global, nobody
    can know. Values of weights change nothing that is kept.
    """
    if graph is None:
        return find()
    state = state_of(network, graph)
    before, answers = _known.get(network, (None, {}))
    if before != state:
        answers = {}
        _known[network] = state, answers
    if question not in answers:
        answers[question] = find()
    return answers[question]


def analyse(
    network: nn.Module, margin: int | None, approximate: bool, check: bool
) -> tuple[fx.GraphModule | None, ReceptiveField]:
    """Graph and receptive field, with another margin where one is asked for.

    Raises
    ------
    NotTileable
        Without ``approximate``, for what cannot be exact.
    """
    ndim = axes_of(network)
    try:
        graph = trace(network)
        asked = ("field", ndim, check)
        field = once(network, graph, asked, lambda: receptive_field(network, ndim, check))
    except NotTileable as error:
        if not approximate:
            raise
        if margin is None:
            raise InputError(f"approximate tiles need a margin, for {error}") from error
        axis = AxisField(2 * margin + 1, Fraction(1), margin, 0, 1, margin, margin)
        return None, ReceptiveField(axis.size, 1, margin, (axis,) * ndim)
    if margin is None or margin == field.margin:
        return graph, field
    if any(axis.pad for axis in field.axes):
        raise InputError(
            f"margin is {margin}, but a network of valid convolutions takes {field.margin}, no "
            "more and no less."
        )
    if margin < field.margin and not approximate:
        raise NotTileable(
            f"margin is {margin}, but tiles are exact from {field.margin} on; pass "
            "approximate=True to have seams."
        )
    if margin < 0:
        raise InputError(f"margin is {margin}; a margin is zero or more pixels.")
    axes = tuple(replace(a, margin=margin, before=margin, after=margin) for a in field.axes)
    return graph, replace(field, margin=margin, axes=axes)


@torch.inference_mode()
def measure(
    network: nn.Module,
    graph: fx.GraphModule | None,
    field: ReceptiveField,
    check: bool,
    shape: tuple[int, ...],
) -> tuple[tuple[int, int], str]:
    """What the network takes and gives, and whether it computes what its graph says.

    Noise of two sizes goes through both. With ``check``, a larger one is also tiled along each
    axis and compared with the network's own output.

    Returns
    -------
    channels : (int, int)
        Of the input and of the output.
    inexact : str
        Why tiles do not have the last bits of the whole, if that was measured.

    Raises
    ------
    NotTileable
        If the outputs are not the same.
    """
    like = next(network.parameters(), torch.zeros(1))
    draw = torch.Generator().manual_seed(0)

    def noise(count: int, inputs: int, sizes: list[int]) -> Tensor:
        return torch.randn(count, inputs, *sizes, generator=draw).to(like)

    if graph is None:  # approximate: nothing is known of its layers
        convs = [m.in_channels for m in network.modules() if isinstance(m, CONVOLUTIONS)]
        sizes = [min(n, a.size + NARROWEST) for n, a in zip(shape, field.axes, strict=True)]
        inputs = (convs or [1])[0]
        return (inputs, compute(network, noise(1, inputs, sizes)).shape[1]), ""
    inputs = input_channels(graph)
    small = [_least(graph, axis, place, field) for place, axis in enumerate(field.axes)]
    for turn in range(2):
        sizes = [axis.through(n + turn) for n, axis in zip(small, field.axes, strict=True)]
        image = noise(1, inputs, sizes)
        own = compute(network, image)
        if own.ndim != image.ndim:
            raise NotTileable(f"{type(network).__name__} returns an array of {own.ndim} axes.")
        local = like.device.type == "cpu"
        _compare(network, own, Interpreter(graph).run(image.clone()), exact=local)
        if local and like.dtype == torch.float32:  # and as larger images would take it
            modules = dict(graph.named_modules())
            sums = [n.name for n in graph.graph.nodes if isinstance(modules.get(n.target), SUMS)]
            _compare(network, own, Interpreter(graph, tuple(sums)).run(image), exact=False)
    inexact = ""
    for place, axis in enumerate(field.axes) if check else ():
        sizes = list(small)
        sizes[place] = axis.through(2 * (axis.pad + axis.margin + NARROWEST + axis.grid))
        images = noise(2, inputs, sizes)
        own = compute(network, images)
        inside = [n - 2 * a.pad for n, a in zip(sizes, field.axes, strict=True)]
        tile = list(own.shape[2:])
        tile[place] = -(-tile[place] // 2)
        plan = plan_tiles(graph, field, tuple(inside), tuple(tile), batch=2)
        engine, made = Here(network, graph, plan), torch.empty_like(own[:1], device="cpu")
        for spans in plan.pieces():
            window = images[:1][(..., *(slice(s.start, s.stop) for s in spans))]
            window = window.to(torch.float64 if like.dtype == torch.float64 else torch.float32)
            piece = engine.compute(window.cpu().numpy().copy(), spans, False)
            where = (0, slice(None), *(slice(s.first, s.last) for s in spans))
            made[where] = torch.from_numpy(piece)
        if not _compare(network, own[:1].cpu(), made, exact=False):
            inexact = plan.inexact or "its tiles were measured, and their last bits differ"
    return (inputs, own.shape[1]), inexact


def _least(graph: fx.GraphModule, axis: AxisField, place: int, field: ReceptiveField) -> int:
    """A small padded size that the network takes."""
    size = axis.through(max(2 * axis.pad + 2 * axis.grid, 16))
    while True:
        try:
            propagate(graph, size, place, len(field.axes))
        except TooSmall:
            if size > LARGEST:
                raise
            size = axis.through(2 * size)
        else:
            return size


def _compare(network: nn.Module, own: Tensor, made: Tensor, exact: bool) -> bool:
    """Whether every bit is the same; what differs by more than rounding is refused."""
    same = own.shape == made.shape and torch.equal(own.nan_to_num(), made.nan_to_num())
    worst = float("inf")
    if own.shape == made.shape:
        worst = (own.double() - made.double()).nan_to_num().abs().max().item()
    rounding = 1e3 * torch.finfo(own.dtype).eps * own.nan_to_num().abs().max().item()
    if not same and (exact or worst > rounding):
        raise NotTileable(
            f"{type(network).__name__} was measured: what its layers are found to compute differs "
            f"from its own output by {worst:.2g}, so it does something that the analysis does not "
            "know; pass approximate=True and a margin to tile it all the same."
        )
    return same
