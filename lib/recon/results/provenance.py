"""Where a result was made: commit, device, time and memory, beside the hashes of `staleness`."""

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.paths import project_root
from recon.results.staleness import hashes

__all__ = ["changed", "collect", "device_name", "git_state", "peak_memory_mb", "stamp"]


# What results are made from; notebooks and runs beside them are results themselves.
MADE_FROM = ("lib", "book/*.py", "book/claims", "data_manifests", "environment.yml")


def git_state(root: Path | None = None) -> dict[str, Any]:
    """The commit that is checked out, and whether tracked files differ from it."""
    root = project_root() if root is None else root

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None  # an archive of the book, without its history
        return answer.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", *MADE_FROM)
    return {"git_commit": commit, "git_dirty": bool(changed) if commit else None}


def processor() -> str:
    """Model name of the processor, as the operating system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_name(device: str = "cpu") -> str:
    """What computed: the name of the GPU, or of the processor."""
    torch = sys.modules.get("torch")
    if str(device).startswith("cuda") and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return processor()


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB.

    On Linux from ``/proc``: what `getrusage` says there begins at the memory of the process that
    started this one.
    """
    try:
        peak = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        peak = None
    if peak:
        return round(int(peak[1]) * 1024 / 1e6)
    scale = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6)


def collect(
    chapter: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    seconds: float | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Provenance of a run of `chapter`, called in the process that computed it.

    Parameters
    ----------
    parameters : the chapter's parameters, among them the data sets that it read
    seed : the seed that the run was made with
    seconds : wall-clock time that it took
    device : the torch device, ``cpu`` or ``cuda``
    """
    torch = sys.modules.get("torch")
    state = {
        **hashes(chapter, parameters=parameters),
        **git_state(),
        "device": device_name(device),
        "threads": torch.get_num_threads() if torch is not None else os.cpu_count(),
        "peak_memory_mb": peak_memory_mb(),
    }
    if torch is not None and str(device).startswith("cuda"):
        state["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6)
    if seed is not None:
        state["seed"] = int(seed)
    if seconds is not None:
        state["seconds"] = round(float(seconds), 1)
    return state


def changed(
    chapter: str, before: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
) -> list[str]:
    """Hashes of code, manifest and environment that are no longer as `before` a chapter ran.

    Stored results may have changed: a reference run writes one itself.
    """
    now = hashes(chapter, parameters=parameters)
    return [k for k, value in now.items() if k != "inputs_sha256" and before.get(k) != value]


def stamp(notebook: Any, made_from: Mapping[str, Any]) -> None:
    """Write into ``notebook.metadata["recon"]`` what it was made from."""
    notebook.metadata["recon"] = dict(made_from)
