"""How many threads torch takes: as many as there are free cores.

The threads of one operation wait for each other, so one that shares its core with another program
holds up all of them: two threads beside four busy processes are slower than one.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, inf
from pathlib import Path

import psutil
import torch

__all__ = ["free_cores", "free_threads"]

EVERY = 30.0  # seconds between two looks at the machine
SAMPLE = 0.2  # seconds that a look takes; this process is idle meanwhile, so others are seen whole
_seen = (-inf, inf)  # when the last look was, and what it found


@contextmanager
def free_threads() -> Iterator[Callable[[], None]]:
    """Let torch compute on free cores only, and never in more threads than it is set to.

    That is ``OMP_NUM_THREADS`` where it is set; with one thread nothing is looked at or changed.
    As a decorator, for the time of a call.

    Yields
    ------
    callable
        To be called now and then: looks at the machine again where the last look is 30 s old.
    """
    most = torch.get_num_threads()

    def look() -> None:
        global _seen
        if most > 1:
            if time.monotonic() - _seen[0] > EVERY:
                _seen = (time.monotonic(), free_cores())
            torch.set_num_threads(int(max(1, min(most, _seen[1]))))

    look()
    try:
        yield look
    finally:
        if most > 1:
            torch.set_num_threads(most)


def free_cores() -> int:
    """Cores that this process may use and that others leave idle more than half of the time."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = affinity(0) if affinity else range(os.cpu_count() or 1)
    before = psutil.cpu_times(percpu=True)
    time.sleep(SAMPLE)
    busy = [_busy(a, b) for a, b in zip(before, psutil.cpu_times(percpu=True), strict=False)]
    taken = sum(busy[core] for core in allowed if core < len(busy))
    return round(min(len(allowed) - taken, quota()))


def _busy(before, after) -> float:
    """Part of the time between two readings of a core's clocks in which it computed."""
    spent = {name: max(0.0, after[i] - before[i]) for i, name in enumerate(after._fields)}
    every = sum(v for name, v in spent.items() if not name.startswith("guest"))  # in user and nice
    return 1 - (spent["idle"] + spent.get("iowait", 0)) / every if every else 0.0


def quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Cores that the control groups of this process leave it, at least one; infinite without."""
    try:
        place = own.read_text().split("::", 1)[-1].strip().strip("/")
    except OSError:
        place = ""
    group, least = root / place, inf
    for folder in (group, *group.parents):
        for name in ("cpu.max", "cpu/cpu.cfs_quota_us"):  # of versions 2 and 1
            try:
                words = (folder / name).read_text().split()
                period = words[1:] or (folder / "cpu/cpu.cfs_period_us").read_text().split()
                if int(words[0]) > 0:
                    least = min(least, int(words[0]) / int(period[0]))
            except (OSError, ValueError, IndexError, ZeroDivisionError):
                continue  # "max", or no such file
        if folder == root:
            break
    return max(1, ceil(least)) if least < inf else inf
