"""A network as the graph of its calls, and what it was made from.

First its code runs on a symbol, as `torch.fx` does it. Where that code asks for a size, it runs on
noise of two sizes instead: what the two runs have in common is the network, and where they differ
in more than the sizes of what they reshape, it is refused.
"""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules import module as every
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from recon.learning.tiling.lines import NotTileable

__all__ = [
    "CONVOLUTIONS",
    "TRANSPOSED",
    "axes_of",
    "described",
    "enlarged",
    "refronted",
    "slices_of",
    "state_of",
    "trace",
]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
REWEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)  # hooks that make a weight from its parts
ASKS = {getattr, "size", "dim"}  # for a rank or a size
# What acts on the axes in front of the spatial ones, so which these are has to be known.
FRONT = {
    "softmax", "log_softmax", "sum", "mean", "amax", "amin", "unsqueeze", "squeeze", "chunk",
    "split", "reshape", "view", "unflatten",
}  # fmt: skip


ALL = str(slice(None))


def slices_of(index: Any, ndim: int) -> tuple:
    """An index ``[..., a:b]`` with an entry for each axis of ``(batch, channels, ...)``."""
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        place = index.index(Ellipsis)
        fill = (slice(None),) * (ndim + 3 - len(index))
        index = index[:place] + fill + index[place + 1 :]
    return index + (slice(None),) * (ndim + 2 - len(index))


def axes_of(network: nn.Module) -> int:
    """Spatial axes of what a network takes: those of its convolutions; 2 where it has none."""
    kinds = (*CONVOLUTIONS, *TRANSPOSED)
    return next((len(m.kernel_size) for m in network.modules() if isinstance(m, kinds)), 2)


class _Whole(nn.Module):
    """Around what is traced, so that tracing leaves nothing behind in it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


class _Known(fx.Proxy):
    """A symbol whose shape is that of a run."""

    shape = property(lambda self: self.node.meta["value"].shape)
    ndim = property(lambda self: self.node.meta["value"].ndim)
    dtype = property(lambda self: self.node.meta["value"].dtype)
    device = property(lambda self: self.node.meta["value"].device)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim


class _Tracer(fx.Tracer):
    """Layers of PyTorch stay whole, also under another name; `image` makes it run."""

    def __init__(self, image: Tensor | None = None):
        super().__init__()
        self.image, self.running = image, False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        owner = next(kind for kind in type(m).__mro__ if "forward" in vars(kind))
        own = owner.__module__.startswith("torch.nn") and "forward" not in vars(m)
        return own and not isinstance(m, nn.Sequential)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict) -> Any:
        return attr_val  # what is made of weights alone is made at once

    def call_module(self, m: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        if self.running:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return fx.Proxy(node, self) if self.image is None else _Known(node, self)

    def create_proxy(self, kind: str, target: Any, *rest: Any, **given: Any) -> fx.Proxy:
        made = super().create_proxy(kind, target, *rest, **given)
        if self.image is not None and kind != "output":
            self.running = True
            made.node.meta["value"] = self._value(made.node)
            self.running = False
        return made

    def _value(self, node: fx.Node) -> Any:
        def known(one: fx.Node) -> Any:
            return one.meta["value"] if "value" in one.meta else self._value(one)

        args, kwargs = fx.map_arg(node.args, known), fx.map_arg(node.kwargs, known)
        if node.op == "placeholder":
            return self.image
        if node.op == "get_attr":
            return operator.attrgetter(node.target)(self.root)
        if node.op == "call_module":
            return self.root.get_submodule(node.target).forward(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)


def refronted(image: Tensor, front: tuple[int, ...], ndim: int) -> Tensor:
    """What lies in front of the spatial axes in another shape."""
    return image.reshape(*front, *image.shape[-ndim:])


def enlarged(image: Tensor, scale_factor: int, mode: str, antialias: bool) -> Tensor:
    """Interpolated to a whole multiple of its size."""
    size = [scale_factor * n for n in image.shape[2:]]
    return F.interpolate(image, size=size, mode=mode, antialias=antialias)


def trace(network: nn.Module) -> fx.GraphModule:
    """The network as a graph of layers, in the order in which they are called.

    Where it had to run, every node's ``meta["shape"]`` says what came out of it.

    Raises
    ------
    NotTileable
        When what it computes depends on the values or the size of its input, or on hooks.
    """
    _heed_hooks(network)
    name, ndim = type(network).__name__, axes_of(network)
    try:
        graph = _record(network)
        if not any(_asks(node, ndim) for node in graph.graph.nodes):
            return graph
    except Exception:  # whatever the network's own code raises on a symbol
        pass
    reason = ""
    channels = [m.in_channels for m in network.modules() if isinstance(m, CONVOLUTIONS)]
    like = next(network.parameters(), torch.zeros(1))
    for base in (16, 48, 240):
        for inputs in dict.fromkeys([*channels[:1], 1, 2, 3, 4, *channels]):
            sizes = [base * n for n in range(1, ndim + 1)]
            pair = [(1, inputs, *sizes), (1, inputs, *sizes[1:], (ndim + 1) * base)]
            try:
                one, other = (_record(network, torch.randn(s).to(like)) for s in pair)
            except Exception as error:  # of a size or a number of channels that it does not take
                reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
                continue
            if _text(one) == _text(other):
                return one
            reason = "its sizes change what it does"
            break
    raise NotTileable(
        f"{name} cannot be traced, because its forward depends on the values or the size of its "
        f"input ({reason.rstrip('.')}); pass approximate=True and a margin to tile it all the same."
    )


def _asks(node: fx.Node, ndim: int) -> bool:
    """Whether a call is about axes that a symbol does not know."""
    if node.op not in ("call_function", "call_method"):
        return False
    if node.target is operator.getitem:
        index = slices_of(node.args[1], ndim)
        return not all(isinstance(i, slice) for i in index) or set(map(str, index[:2])) != {ALL}
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if called == "interpolate":
        return node.kwargs.get("size") is not None or len(node.args) > 1
    return node.target in ASKS or called in FRONT


@torch.no_grad()
def _record(network: nn.Module, image: Tensor | None = None) -> fx.GraphModule:
    tracer = _Tracer(image)
    recorded = tracer.trace(_Whole(network))
    for node in list(recorded.nodes) if image is not None else ():
        _settle(node, image.ndim - 2)
    for node in recorded.nodes:
        value = node.meta.pop("value", None)
        if image is not None:
            node.meta["shape"] = tuple(value.shape) if isinstance(value, Tensor) else None
    return fx.GraphModule(tracer.root, recorded)


def _settle(node: fx.Node, ndim: int) -> None:
    """Take the sizes of the run out of a call that only hands on those of its input."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return
    before, after = (one.meta.get("value") for one in (node.args[0], node))
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return
    old, new = before.shape[-ndim:], after.shape[-ndim:]
    if node.target in ("reshape", "view") and old == new:
        node.op, node.target = "call_function", refronted
        node.args, node.kwargs = (node.args[0], tuple(after.shape[:-ndim]), ndim), {}
    given = dict(zip(("size", "scale_factor", "mode"), node.args[1:], strict=False)) | node.kwargs
    if node.target is F.interpolate and given.get("size") is not None:
        factor = new[0] // old[0]
        if all(b == factor * a for a, b in zip(old, new, strict=True)) and not given.get(
            "align_corners"
        ):
            node.target, node.args = enlarged, node.args[:1]
            mode, anti = given.get("mode", "nearest"), bool(given.get("antialias"))
            node.kwargs = {"scale_factor": factor, "mode": mode, "antialias": anti}


def _text(graph: fx.GraphModule) -> tuple:
    """What was recorded, constants included."""
    constants = [(name, value.tolist()) for name, value in graph.named_buffers(recurse=False)]
    return str(graph.graph), constants


def _heed_hooks(network: nn.Module) -> None:
    """Weights anew from their parts; any other hook may do anything."""
    hooked = [("PyTorch", every._global_forward_pre_hooks, every._global_forward_hooks)]
    for name, module in network.named_modules():
        where = f"layer {name}" if name else type(network).__name__
        before = module._forward_pre_hooks.copy()
        for key, hook in module._forward_pre_hooks.items():
            if isinstance(hook, REWEIGHT) and not module.training:
                with torch.no_grad():
                    hook(module, None)
                del before[key]
        hooked.append((where, before, module._forward_hooks))
    for where, before, after in hooked:
        if before or after:
            raise NotTileable(
                f"{where} has a forward hook, which may change anything: remove it, or pass "
                "approximate=True and a margin to tile it all the same."
            )


def described(network: nn.Module, graph: fx.GraphModule | None) -> str:
    """Its calls, its layers and their plain attributes; the same text in another process."""
    plain = (bool, int, float, complex, str, tuple, type(None), torch.dtype)
    layers = [
        (name, type(module).__name__, [(k, v) for k, v in vars(module).items() if type(v) in plain])
        for name, module in network.named_modules()
    ]
    return f"{graph and graph.graph}{layers}"


def state_of(network: nn.Module, graph: fx.GraphModule) -> tuple:
    """What an analysis rests on: besides, the layers themselves and the form of their weights."""
    weights = [
        (id(w), w.shape, w.dtype, w.device, w.stride())
        for w in (*network.parameters(), *network.buffers())
    ]
    layers = [id(module) for module in network.modules()]
    return described(network, graph), layers, weights, torch.get_num_threads()
