"""How much memory a window takes, from the sizes of what is held at once."""

from math import ceil, prod

import torch
from torch import fx

from recon.learning.tiling.layers import CONVOLUTIONS, TRANSPOSED, propagate

__all__ = ["blocked", "channels_of", "predict_mb", "window_mb"]

FIXED_MB = 80.0  # generated code, thread buffers and leftovers of the allocator, whatever the size
SLACK = 1.25  # for what the allocator cannot use again at once


def channels_of(graph: fx.GraphModule, given: int) -> dict[fx.Node, int]:
    """Channels of every node's output."""
    modules = dict(graph.named_modules())
    found: dict[fx.Node, int] = {}
    for node in graph.graph.nodes:
        before = [found.get(n, 1) for n in node.all_input_nodes]
        layer = modules.get(node.target) if node.op == "call_module" else None
        count = max(before, default=given)
        if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
            count = layer.out_channels
        elif node.target is torch.cat:
            count = sum(before)
        found[node] = count  # a shuffle of pixels is taken for larger than it is
    return found


def predict_mb(
    graph: fx.GraphModule, window: tuple[int, ...], channels: int, itemsize: int
) -> float:
    """Peak memory in MB of a traced network on one window.

    What is held is followed from layer to layer: an array is let go of after its last use, a crop
    is a view. A convolution also works on copies of its input and output in blocks of 16 channels.

    Parameters
    ----------
    graph : fx.GraphModule
    window : tuple of int
        Spatial shape.
    channels : int
        Of the input.
    itemsize : int
        Bytes of a number.
    """
    along = [propagate(graph, n, axis, len(window))[1] for axis, n in enumerate(window)]
    width, modules = channels_of(graph, channels), dict(graph.named_modules())

    def owner(node: fx.Node) -> fx.Node:
        while node.op == "call_function" and node.target.__name__ == "getitem":
            node = node.args[0]
        return node

    def size(node: fx.Node, which: int = 1) -> int:
        if node.name not in along[0]:
            return 0
        return prod(sizes[node.name][which] for sizes in along) * itemsize

    nodes = list(graph.graph.nodes)
    last = {}
    for place, node in enumerate(nodes):
        for used in node.all_input_nodes:
            last[owner(used)] = place
    held, peak = {}, 0
    for place, node in enumerate(nodes):
        layer = modules.get(node.target) if node.op == "call_module" else None
        if node.op in ("output", "get_attr"):
            continue
        if owner(node) is node:
            held[node] = size(node) * width[node]
        copies = 0
        if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
            copies = size(node, 0) * blocked(layer.in_channels)
            copies += size(node) * blocked(layer.out_channels)
        peak = max(peak, sum(held.values()) + copies)
        held = {one: b for one, b in held.items() if last.get(one, place) > place}
    return SLACK * peak / 1e6 + window_mb(window, channels)


def window_mb(window: tuple[int, ...], channels: int, outgoing: int = 0) -> float:
    """What a window costs in MB whatever the network does.

    It is held as read, as padded, as checked; its output of ``outgoing`` channels, where not
    counted already, as computed and as copied.
    """
    return prod(window) * 4 * (3 * channels + 2 * outgoing) / 1e6 + FIXED_MB


def blocked(channels: int) -> int:
    return channels if channels < 4 else ceil(channels / 16) * 16
