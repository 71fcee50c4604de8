"""Who computes the windows: this process, or several, each on a device of its own."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from recon.errors import InputError
from recon.learning.tiling.backends import Interpreter
from recon.learning.tiling.fields import compute
from recon.learning.tiling.plan import Plan, Span
from recon.learning.tiling.strips import Strips
from recon.learning.tiling.tracing import trace

__all__ = ["Here", "Pool"]


class Here:
    """Computes in this process, on the device of the network."""

    def __init__(self, network: nn.Module, graph: fx.GraphModule | None, plan: Plan):
        self.like = next(network.parameters(), torch.zeros(1))
        if plan.strips:
            strips = Strips(graph, plan.onednn, len(plan.shape), self.like.element_size())
            self.call = strips.run
        else:
            alone = partial(compute, network)
            self.call = alone if graph is None else Interpreter(graph, plan.onednn).run

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @torch.inference_mode()
    def compute(self, window: np.ndarray, spans: tuple[Span, ...], last: bool) -> np.ndarray:
        """Output of one window, cropped to what is kept of it.

        Parameters
        ----------
        window : (1, channels, ...) ndarray
        spans : tuple of Span
        last : bool
            Whether the channels lie last in memory, as in the whole image.
        """
        image = torch.from_numpy(window).to(self.like.device, self.like.dtype)
        if last:
            image = image.contiguous(memory_format=torch.channels_last)
        result = self.call(image)[0]
        ends = tuple(s.skip + s.last - s.first for s in spans)
        if any(n < end for n, end in zip(result.shape[1:], ends, strict=True)):
            raise InputError(
                f"a tile of {tuple(image.shape[2:])} pixels becomes {tuple(result.shape[1:])}, and "
                f"{ends} are needed; approximate tiles take a network that keeps the size."
            )
        kept = (slice(s.skip, s.skip + s.last - s.first) for s in spans)
        result = result[(slice(None), *kept)]
        return (result.float() if result.dtype == torch.bfloat16 else result).cpu().numpy()

    def run(self, windows: Iterable[tuple], last: bool) -> Iterator[tuple[Any, np.ndarray]]:
        """Jobs and their outputs, one by one."""
        for job, window in windows:
            yield job, self.compute(window, job.spans, last)


_here: Here  # a worker's own


def _start(network: nn.Module, traced: bool, plan: Plan, places: Any, threads: int) -> None:
    """Make a worker ready: take the next device."""
    global _here
    torch.set_num_threads(threads)
    network.to(places.get())
    _here = Here(network, trace(network) if traced else None, plan)


def _compute(window: np.ndarray, spans: tuple[Span, ...], last: bool) -> np.ndarray:
    return _here.compute(window, spans, last)


class Pool:
    """Computes in worker processes, started afresh; at most two windows each under way.

    Every worker has as many threads as this process, divided among the workers on a CPU. The
    image is read and the output written by this process alone.

    Parameters
    ----------
    network, graph, plan
        As for `Here`; the network must be importable by a new process.
    places : list of str
        A device for each worker.
    """

    def __init__(
        self, network: nn.Module, graph: fx.GraphModule | None, plan: Plan, places: list[str]
    ):
        fresh = multiprocessing.get_context("spawn")
        queue = fresh.Queue()
        for place in places:
            queue.put(place)
        threads = max(1, torch.get_num_threads() // len(places))
        given = (network, graph is not None, plan, queue, threads)
        self.workers = len(places)
        self.pool = ProcessPoolExecutor(self.workers, fresh, _start, given)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def run(self, windows: Iterable[tuple], last: bool) -> Iterator[tuple[Any, np.ndarray]]:
        """Jobs and their outputs, as they are done."""
        under_way = {}
        for job, window in windows:
            under_way[self.pool.submit(_compute, window, job.spans, last)] = job
            if len(under_way) >= 2 * self.workers:
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    yield under_way.pop(future), future.result()
        for future, job in under_way.items():
            yield job, future.result()
