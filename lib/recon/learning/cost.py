"""What a computation costs: seconds, in rounds that alternate, and peak memory."""

import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from recon.learning.training import pick_precision
from recon.physics.coils import rss

STATUS = Path("/proc/self/status")
SHORTEST = 0.1  # seconds that a timing lasts at least, so that the clock and chance matter little


def rounds(
    runs: Mapping[str, Callable[[], object]], repeats: int = 5, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of every run, after one that does not count.

    Rounds go through all the runs in turn, so a machine that is busy for a while slows all of them.
    What the uncounted run did in less than `SHORTEST` is repeated within a round, and averaged.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    times = dict.fromkeys(runs, 1)
    for number in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(times[name]):
                run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            took = (time.perf_counter() - start) / times[name]
            if number:
                seconds[name].append(took)
            else:
                times[name] = max(1, min(100, int(SHORTEST / took)))
    return seconds


def tidy(seconds: Mapping[str, list[float]], metric: str) -> pd.DataFrame:
    """Repeats as scores, for `recon.results.statistics.summarise`: one round is one unit."""
    return pd.DataFrame(
        {
            "volume": number,
            "contrast": "any",
            "effective_accel": 1.0,
            "method": name,
            "metric": metric,
            "region": "full",
            "value": value,
        }
        for name, values in seconds.items()
        for number, value in enumerate(values)
    )


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle one of every run's repeats."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def high_water_mb() -> float:
    """Peak resident memory of this process, MB; since `forget_high_water` where that works."""
    if STATUS.is_file():
        line = next(text for text in STATUS.read_text().splitlines() if text.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts in bytes


def forget_high_water() -> None:
    """Set the peak back to what is resident now (Linux; elsewhere it stays)."""
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    if clear.is_file():
        clear.write_text("5")


def steps(network: nn.Module, coils: int, size: int, device: str) -> dict[str, Callable[[], float]]:
    """A training step and a test run of a network on one slice of random numbers.

    Parameters
    ----------
    network : nn.Module
        Called as ``network(kspace, mask)``.
    coils, size : int
        The slice is ``(1, coils, size, size)``, a quarter of its columns measured.
    device : str

    Returns
    -------
    dict
        ``train`` (forward and backward) and ``test`` (forward, no gradients).
    """
    where = torch.device(device)
    network = network.to(where).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(size, generator=generator) < 0.25).to(where)
    kspace = torch.randn(1, coils, size, size, dtype=torch.complex64, generator=generator)
    kspace = kspace.to(where) * mask
    bf16 = pick_precision(where) != "32-true"

    def loss() -> Tensor:
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            return rss(network(kspace, mask)).square().mean()

    def train() -> float:
        network.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        return value.item()

    @torch.inference_mode()
    def test() -> float:
        return loss().item()

    return {"train": train, "test": test}


def peak_memory_mb(
    build: Callable[[int], nn.Module], coils: int, size: int, device: str = "cpu"
) -> dict[str, float]:
    """Peak memory of a test run and of a training step, MB above what there was before them.

    On a GPU it is what torch had allocated, weights included; on a CPU the resident memory of a
    fresh process, in which nothing has run before, weights and libraries not included.

    Parameters
    ----------
    build : callable
        Makes the network from the number of coils. It must be picklable: a function or class of a
        module, or a partial of one.
    coils, size : int
        See `steps`.
    device : str
    """
    if torch.device(device).type == "cuda":
        runs, found = steps(build(coils), coils, size, device), {}
        for name in ("test", "train"):
            torch.cuda.reset_peak_memory_stats(device)
            runs[name]()
            found[name] = torch.cuda.max_memory_allocated(device) / 1e6
        return found
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    threads = torch.get_num_threads()
    process = context.Process(target=_measure, args=(build, coils, size, threads, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process that measures memory at {coils} coils died") from None
    finally:
        process.join()


def _measure(build: Callable, coils: int, size: int, threads: int, sender) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps(build(coils), coils, 16, "cpu")["train"]()  # libraries load what they need
    runs, found = steps(build(coils), coils, size, "cpu"), {}
    forget_high_water()
    before = high_water_mb()  # of both: what the first run frees may stay resident for the second
    for name in ("test", "train"):
        forget_high_water()
        runs[name]()
        found[name] = high_water_mb() - before
    sender.send(found)


def machine(device: str) -> str:
    """The machine in words: what computes, at which precision, in how many threads."""
    from recon.results.provenance import device_name

    kind = torch.device(device)
    threads = f"{torch.get_num_threads()} threads, " if kind.type == "cpu" else ""
    return f"{device_name(device)}, {threads}{pick_precision(kind)}, {sys.platform}"
