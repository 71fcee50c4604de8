"""How much memory a window takes, from the sizes of what is held at once."""

from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import fx, nn

from recon.learning.tiling.calls import propagate
from recon.learning.tiling.tracing import CONVOLUTIONS, TRANSPOSED, axes_of

__all__ = ["blocked", "channels_of", "input_channels", "predict_mb", "window_mb"]

FIXED_MB = 80.0  # generated code, thread buffers and leftovers of the allocator, whatever the size
SLACK = 1.25  # for what the allocator cannot use again at once


def input_channels(graph: fx.GraphModule) -> int:
    """Channels that the first layer to say so expects of the image; 1 where none does."""
    counts = channels_of(graph, 1)
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op == "placeholder" and node.meta.get("shape"):
            return node.meta["shape"][1]
        layer = modules.get(node.target) if node.op == "call_module" else None
        names = ("in_channels", "num_features", "num_channels")
        for count in (getattr(layer, name) for name in names if hasattr(layer, name)):
            return max(1, count // counts[node.all_input_nodes[0]])
    return 1


def channels_of(graph: fx.GraphModule, given: int) -> dict[fx.Node, int]:
    """Channels of every node's output."""
    modules = dict(graph.named_modules())
    found: dict[fx.Node, int] = {}
    for node in graph.graph.nodes:
        before = [found.get(n, 1) for n in node.all_input_nodes]
        layer = modules.get(node.target) if node.op == "call_module" else None
        count = max(before, default=given)
        if node.meta.get("shape"):
            count = prod(node.meta["shape"][1 : len(node.meta["shape"]) - axes_of(graph)])
        elif isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
            count = layer.out_channels
        elif node.target is torch.cat:
            count = sum(found[n] for n in node.args[0])
        elif isinstance(layer, nn.PixelShuffle | nn.PixelUnshuffle) or node.target in SHUFFLES:
            names = ("upscale_factor", "downscale_factor")
            said = [getattr(layer, name) for name in names if hasattr(layer, name)]
            factor = (said or [*node.args[1:], *node.kwargs.values()])[0] ** 2
            larger = isinstance(layer, nn.PixelUnshuffle) or node.target in SHUFFLES[2:]
            count = count * factor if larger else max(1, count // factor)
        found[node] = count
    return found


SHUFFLES = (torch.pixel_shuffle, F.pixel_shuffle, torch.pixel_unshuffle, F.pixel_unshuffle)


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
