"""What a network that enlarges images costs: weights, operations and seconds."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from recon.learning import cost

__all__ = ["fold", "live_parameters", "operations", "reached", "time_networks"]


def reached(network: nn.Module, size: int = 12) -> list[str]:
    """Names of the parameters that a gradient reaches, found by a backward pass."""
    network.zero_grad(set_to_none=True)
    low = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    network(low).square().mean().backward()
    names = [name for name, weight in network.named_parameters() if weight.grad is not None]
    network.zero_grad(set_to_none=True)
    return names


def live_parameters(network: nn.Module) -> int:
    """How many trainable parameters a gradient reaches."""
    weights = dict(network.named_parameters())
    return sum(weights[name].numel() for name in reached(network))


def time_networks(
    networks: Mapping[str, nn.Module], example: Tensor, repeats: int
) -> tuple[dict[str, float], list[dict]]:
    """Seconds that every network takes for an image: medians, and rows of results.

    Weight normalisation is multiplied out first, in place. A CPU computes in one thread: with
    several, another program on the machine stalls all of them, and small networks most.

    Parameters
    ----------
    networks : mapping
        By name.
    example : Tensor
        ``(1, 1, h, w)``, on the device to measure.
    repeats : int
        Rounds through all networks; a row's interval is from the fastest to the slowest.

    Returns
    -------
    medians : dict
    rows : list of dict
    """
    ready = {name: fold(net.to(example.device).eval()) for name, net in networks.items()}
    runs = {name: partial(_forward, net, example) for name, net in ready.items()}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        seconds = cost.rounds(runs, repeats, str(example.device))
    finally:
        torch.set_num_threads(threads)
    medians = cost.medians(seconds)
    scale = next(iter(ready.values())).scale
    fields = {"data": "this_machine", "task": "cost", "contrast": "all", "region": "full"}
    fields |= {"accel": scale, "effective_accel": float(scale), "n": repeats, "unit": "round"}
    rows = [
        {
            **fields,
            "method": name,
            "metric": "seconds",
            "value": medians[name],
            "ci95": [min(values), max(values)],
        }
        for name, values in seconds.items()
    ]
    return medians, rows


@torch.inference_mode()
def _forward(network: nn.Module, example: Tensor) -> Tensor:
    return network(example)


@torch.no_grad()  # under inference_mode the profiler cannot see through normalised weights
def operations(network: nn.Module, height: int, width: int, channels: int = 1) -> int:
    """Multiplications and additions of one run on a small image, counted by torch's profiler.

    It counts convolutions, each multiplication with its addition as two, and nothing else: no
    interpolation, no activation, no sum over anchors.
    """
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, channels, height, width))
    return counter.get_total_flops()


def fold(network: nn.Module) -> nn.Module:
    """Multiply normalised weights out, in place: what a network that has learnt is run as."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return network
