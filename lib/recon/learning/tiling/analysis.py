"""What is known of a network before it is tiled, found once for each.

Tracing, following the receptive field and measuring it take as long as a small image does. They
depend on a network's layers alone, so they are kept for as long as it lives and is not rebuilt.
"""

import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from torch import fx, nn

from recon.errors import InputError
from recon.learning.tiling.fields import AxisField, ReceptiveField, receptive_field
from recon.learning.tiling.layers import CONVOLUTIONS, TRANSPOSED, trace
from recon.learning.tiling.lines import NotTileable

__all__ = ["analyse", "once"]

SPATIAL = (*CONVOLUTIONS, *TRANSPOSED)
_known: weakref.WeakKeyDictionary[nn.Module, tuple[Any, dict]] = weakref.WeakKeyDictionary()


def once(network: nn.Module, question: Any, find: Callable[[], Any]) -> Any:
    """The answer to a question about a network, found only if its layers have changed.

    Another module, weight (not its values), mode, type or device is a change.
    """
    if not list(network.children()):  # tracing wraps it, and what is kept would keep it alive
        return find()
    parts = [(id(module), module.training) for module in network.modules()]
    weights = [(id(weight), weight.dtype, weight.device) for weight in network.parameters()]
    weights += [(id(buffer), buffer.dtype, buffer.device) for buffer in network.buffers()]
    state = (repr(network), parts, weights)
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
    ndim = next((len(m.kernel_size) for m in network.modules() if isinstance(m, SPATIAL)), 2)
    try:
        graph = once(network, "graph", lambda: trace(network))
        asked = ("field", ndim, check)
        field = once(network, asked, lambda: receptive_field(network, ndim, check))
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
