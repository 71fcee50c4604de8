"""What a computation costs: seconds, in rounds that alternate, and peak memory."""

import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from recon.physics.coils import rss

STATUS = Path("/proc/self/status")
SHORTEST = 0.1  # seconds that a timing lasts at least, so that the clock and chance matter little
STEADY = 1.5  # slowest over fastest round, beyond which a timing says more of the machine


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
    common = {"contrast": "any", "effective_accel": 1.0, "metric": metric, "region": "full"}
    rows = [
        {**common, "volume": number, "method": name, "value": value}
        for name, values in seconds.items()
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=[*common, "volume", "method", "value"])


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle one of every run's repeats."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def spread(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Slowest over fastest round of every run: 1 on a machine that does nothing else."""
    return {name: max(values) / min(values) for name, values in seconds.items()}


def steady(seconds: Mapping[str, list[float]], limit: float = STEADY) -> dict[str, list[float]]:
    """Those runs whose slowest round took at most ``limit`` times as long as their fastest.

    A machine that is shared slows some rounds and not others; a comparison of such timings is one
    of chances, so pages that hold timings against a claim leave them out.
    """
    ratios = spread(seconds)
    return {name: values for name, values in seconds.items() if ratios[name] <= limit}


def timings(seconds: Mapping[str, list[float]], names: Mapping[str, str]) -> pd.DataFrame:
    """What a page prints of `rounds`: a line each, and whether it is `steady` enough to compare."""
    ratios, kept = spread(seconds), steady(seconds)
    lines = {
        names[name]: {
            "mean, s": round(statistics.mean(values), 4),
            "fastest, s": round(min(values), 4),
            "slowest, s": round(max(values), 4),
            "slowest / fastest": round(ratios[name], 2),
            "rounds": len(values),
            "held against claims": "yes" if name in kept else "no",
        }
        for name, values in seconds.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


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


def half_precision(device: str) -> bool:
    """Whether a device trains in bfloat16 (`recon.learning.training.pick_precision`)."""
    from recon.learning.training import pick_precision  # slow to import, and fresh processes wait

    return pick_precision(torch.device(device)) != "32-true"


def steps(
    network: nn.Module, coils: int, size: int, device: str, bf16: bool | None = None
) -> dict[str, Callable[[], float]]:
    """A training step and a test run of a network on one slice of random numbers.

    Parameters
    ----------
    network : nn.Module
        Called as ``network(kspace, mask)``.
    coils, size : int
        The slice is ``(1, coils, size, size)``, a quarter of its columns measured.
    device : str
    bf16 : bool, optional
        Whether to compute in bfloat16; without it, as training does on the device.

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
    bf16 = half_precision(device) if bf16 is None else bf16

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
    fresh process, in which nothing has run before, weights and libraries not included. Where a
    process ends up in memory is in part chance: measure several of them.

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
    about = (coils, size, threads, half_precision(device))
    process = context.Process(target=_measure, args=(build, *about, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process that measures memory at {coils} coils died") from None
    finally:
        process.join()


def memory_rounds(
    build: Callable[[int], nn.Module],
    counts: Sequence[int],
    size: int,
    device: str = "cpu",
    repeats: int = 6,
) -> dict[str, dict[int, list[float]]]:
    """`peak_memory_mb` of networks on each of ``counts`` coils, in rounds that alternate.

    On a CPU every value is of a process of its own.

    Returns
    -------
    dict
        MB by kind of run (``train``, ``test``) and number of coils, a value a round.
    """
    found = {what: {count: [] for count in counts} for what in ("train", "test")}
    for _ in range(repeats):
        for count in counts:
            for what, peak in peak_memory_mb(build, count, size, device).items():
                found[what][count].append(peak)
    return found


def _measure(
    build: Callable, coils: int, size: int, threads: int, bf16: bool, sender: Connection
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps(build(coils), coils, 16, "cpu", bf16)["train"]()  # libraries load what they need
    runs, found = steps(build(coils), coils, size, "cpu", bf16), {}
    forget_high_water()
    before = high_water_mb()  # of both: what the first run frees may stay resident for the second
    for name in ("test", "train"):
        forget_high_water()
        runs[name]()
        found[name] = high_water_mb() - before
    sender.send(found)


def machine(device: str) -> str:
    """The machine in words: what computes, at which precision, in how many threads."""
    from recon.learning.training import pick_precision
    from recon.results.provenance import device_name

    kind = torch.device(device)
    threads = f"{torch.get_num_threads()} threads, " if kind.type == "cpu" else ""
    return f"{device_name(device)}, {threads}{pick_precision(kind)}, {sys.platform}"
