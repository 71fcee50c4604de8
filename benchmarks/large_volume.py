"""A volume of more than 8 GB through a network under a cap of 2 GB, as far as the time allows.

The volume is a simulated cortex (`recon.phantoms.microscopy`) that is drawn where it is read; its
slices go through the valid network of Remedios et al. (2022) into a file. Weights are random: they
do not change the time. A child process computes; this one watches its resident set, stops it beyond
the cap, and kills it when the time is up. The next run goes on with the file, so a long run can be
made of short ones:

    python benchmarks/large_volume.py --folder FOLDER [--width 16] [--seconds 380] [--discard]

The folder needs room for the result, 4 bytes a voxel. Every run adds a line to
`book/results/large_volume.csv`. Seconds of the processor stand beside seconds of the clock, because
a busy machine stretches only the latter.
"""

import argparse
import csv
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.learning.tiling import apply_tiled, plan_tiles, receptive_field, trace
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


class Watched:
    """The volume; notes when each tile was asked for, and how long drawing took until then."""

    dtype = Cortex.dtype

    def __init__(self, shape: tuple[int, int, int], note: Path):
        self.data, self.shape, self.note = Cortex(shape), shape, note
        self.told = {"idle": memory_mb("self", "VmRSS:"), "drawing": 0.0, "asked": []}

    def mark(self) -> None:
        """Note the time: a tile begins, or all are done."""
        now = time.process_time(), time.monotonic(), self.told["drawing"]
        self.told["asked"].append(now)
        self.note.write_text(json.dumps(self.told))

    def __getitem__(self, where: Any) -> np.ndarray:
        if isinstance(where[1], slice):  # a tile; the first read only names the volume
            self.mark()
        begun = time.process_time()
        found = self.data[where]
        self.told["drawing"] += time.process_time() - begun
        return found


def work(shape: tuple[int, int, int], width: int, folder: Path) -> None:
    """Compute until killed, or until all is done."""
    torch.manual_seed(0)
    network = ValidResidual(width).eval()
    image = Watched(shape, folder / "note.json")
    apply_tiled(network, image, memory_mb=TOOL_MB, out=folder / "result.npy", resume=True)
    image.mark()


def state(folder: Path) -> tuple[str, int]:
    """What the file in the making was made from, and its pieces."""
    if (folder / "result.npy").exists():
        raise SystemExit("the whole volume is done; remove the result to start again")
    log = folder / "result.npy.part.log"
    lines = log.read_text().split("\n")[:-1] if log.exists() else [""]
    return lines[0], len(lines) - 1


def watch(child: subprocess.Popen, seconds: float, cap_mb: float) -> float:
    """Let a process run for so long, then kill it; its largest resident set in MB.

    Raises
    ------
    SystemExit
        If the resident set went beyond the cap; the process is killed then too.
    """
    begun, peak = time.monotonic(), 0.0
    while child.poll() is None and time.monotonic() - begun < seconds and peak <= cap_mb:
        peak = max(peak, memory_mb(child.pid, "VmHWM:"))
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if peak > cap_mb:
        raise SystemExit(f"stopped at {peak:,.0f} MB, beyond the cap of {cap_mb:,.0f} MB")
    return peak


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
    key, before = state(chosen.folder)
    child = subprocess.Popen([sys.executable, *sys.argv, "--work"])
    peak = watch(child, chosen.seconds, CAP_MB)
    told = json.loads((chosen.folder / "note.json").read_text())
    whole = (chosen.folder / "result.npy").exists()
    if not whole and state(chosen.folder)[0] != key:
        before = 0  # another network, or other tiles: begun anew
    asked = told["asked"]
    if len(asked) < 2:
        raise SystemExit("not one tile was done; give it more seconds")
    # From the first tile's begin to the last one's, or to the end of all: what was cut off by the
    # kill does not count.
    spent, took, drawing = (b - a for a, b in zip(asked[0], asked[-1], strict=True))
    network = ValidResidual(chosen.width)
    field = receptive_field(network, check=False)
    plan = plan_tiles(trace(network), field, shape[1:], memory_mb=TOOL_MB)
    sizes = [math.prod(span.last - span.first for span in spans) for spans in plan.pieces()]
    voxels = sum(sizes[(before + n) % len(sizes)] for n in range(len(asked) - 1))
    row = {
        "width": chosen.width,
        "shape": " x ".join(map(str, shape)),
        "gigabytes": round(np.prod(shape, dtype=np.int64) * 2 / 1e9, 2),
        "cap_mb": CAP_MB,
        "peak_mb": round(peak - told["idle"]),
        "tile": " x ".join(map(str, plan.tile)),
        "resumed_at": before,
        "tiles_done": len(asked) - 1,
        "voxels": voxels,
        "seconds": round(took),
        "processor_seconds": round(spent, 1),
        "simulation_seconds": round(drawing, 1),
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
    print(f"{voxels / (spent - drawing):,.0f} voxels a second of the processor")
    print("the whole volume is done" if whole else "run it again to go on")
    if chosen.discard:
        for name in ("result.npy", "result.npy.part", "result.npy.part.log", "note.json"):
            (chosen.folder / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
