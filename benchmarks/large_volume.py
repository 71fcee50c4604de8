"""A volume of more than 8 GB through a network under a cap of 2 GB, as far as the time allows.

The volume is a simulated cortex (`recon.phantoms.microscopy`) that is drawn where it is read; its
slices go through the valid network of Remedios et al. (2022) into a file. Weights are random: they
do not change the time. A child process computes; this one watches its resident set and kills it
when the time is up. The next run goes on with the file, so a long run can be made of short ones:

    python benchmarks/large_volume.py --folder FOLDER [--width 16] [--seconds 380] [--discard]

The folder needs room for the result, 4 bytes a voxel. Every run adds a line to
`book/results/large_volume.csv`. Seconds of the processor stand beside seconds of the clock, because
a busy machine stretches only the latter.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.learning.tiling import apply_tiled
from recon.networks.residual_sr import ValidResidual
from recon.phantoms.microscopy import Cortex
from recon.results.provenance import device_name, git_state

TABLE = Path(__file__).parents[1] / "book" / "results" / "large_volume.csv"
CAP_MB = 2000.0
TOOL_MB = 1500.0  # the rest is the simulator's


def memory_mb(process: int | str, key: str) -> float:
    """A line of Linux's account of a process; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith(key)), 0.0)


def processor_seconds(process: int) -> float:
    """Of a process that is still there, threads included."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watched:
    """The volume; notes how long it took to draw what was read."""

    dtype = Cortex.dtype

    def __init__(self, shape: tuple[int, int, int], note: Path):
        self.data, self.shape, self.note, self.seconds = Cortex(shape), shape, note, 0.0
        self.idle, self.begun = memory_mb("self", "VmRSS:"), time.process_time()

    def __getitem__(self, where: Any) -> np.ndarray:
        begun = time.process_time()
        found = self.data[where]
        self.seconds += time.process_time() - begun
        told = {"idle": self.idle, "simulation": self.seconds, "begun": self.begun}
        self.note.write_text(json.dumps(told))
        return found


def work(shape: tuple[int, int, int], width: int, folder: Path) -> None:
    """Compute until killed."""
    torch.manual_seed(0)
    network = ValidResidual(width).eval()
    image = Watched(shape, folder / "note.json")
    apply_tiled(network, image, memory_mb=TOOL_MB, out=folder / "result.npy", resume=True)


def pieces_done(folder: Path) -> int:
    """Pieces that a killed run would find again."""
    if (folder / "result.npy").exists():
        raise SystemExit("the whole volume is done; remove the result to start again")
    log = folder / "result.npy.part.log"
    return max(0, log.read_text().count("\n") - 1) if log.exists() else 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shape", default="1024,2000,2000")
    options.add_argument("--width", type=int, default=16)
    options.add_argument("--seconds", type=float, default=380.0)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--discard", action="store_true", help="remove the file afterwards")
    options.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    shape = tuple(int(n) for n in chosen.shape.split(","))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.work:
        work(shape, chosen.width, chosen.folder)
        return
    before = pieces_done(chosen.folder)
    begun, peak = time.monotonic(), 0.0
    child = subprocess.Popen([sys.executable, *sys.argv, "--work"])
    while child.poll() is None and time.monotonic() - begun < chosen.seconds:
        peak = max(peak, memory_mb(child.pid, "VmHWM:"))
        spent = processor_seconds(child.pid)
        time.sleep(0.5)
    took = time.monotonic() - begun
    child.send_signal(signal.SIGKILL)
    child.wait()
    told = json.loads((chosen.folder / "note.json").read_text())
    done = pieces_done(chosen.folder)
    voxels = (done - before) * shape[1] * shape[2]  # a slice is one piece under this cap
    spent -= told["begun"]
    row = {
        "width": chosen.width,
        "shape": " x ".join(map(str, shape)),
        "gigabytes": round(np.prod(shape, dtype=np.int64) * 2 / 1e9, 2),
        "cap_mb": CAP_MB,
        "peak_mb": round(peak - told["idle"]),
        "resumed_at": before,
        "slices_done": done - before,
        "voxels": voxels,
        "seconds": round(took),
        "processor_seconds": round(spent),
        "simulation_seconds": round(told["simulation"]),
        "threads": torch.get_num_threads(),
        "device": device_name(),
        "commit": git_state()["git_commit"][:10],
    }
    new = not TABLE.exists()
    with TABLE.open("a", newline="") as file:
        table = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            table.writeheader()
        table.writerow(row)
    print(json.dumps(row, indent=1))
    print(f"{voxels / max(spent - told['simulation'], 1):,.0f} voxels a second of the processor")
    if chosen.discard:
        for name in ("result.npy.part", "result.npy.part.log", "note.json"):
            (chosen.folder / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
