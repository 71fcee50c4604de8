"""Resident set of tiled runs under a cap, for images of 256 x 256 to 16384 x 16384.

Each run is a process of its own: it notes what it holds when idle, tiles an image with the valid
network, and says by how much its peak went beyond that. Up to `--whole` pixels a side the image is
run to its end, into a file; beyond that for a few tiles, since memory does not grow with their
number. The cap that `apply_tiled` is given and the number measured stand side by side, with the
predicted one.

    python benchmarks/tiling_memory.py [--width 16] [--caps 150,400] [--whole 4096] [--tiles 3]

With ``--store`` the rows go to ``book/results/tiling_memory.csv``, which a chapter shows.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recon.learning.tiling import apply_tiled, plan_tiles, receptive_field, trace
from recon.networks.residual_sr import ValidResidual
from recon.results.provenance import device_name, git_state
from recon.results.store import reference_dir, write_text

SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)


class Enough(Exception):
    """As many tiles as were asked for."""


class Image:
    """Noise that is drawn where it is read; stops a run that has read enough."""

    dtype = np.dtype(np.float32)

    def __init__(self, size: int, tiles: int):
        self.shape, self.left = (size, size), tiles + 1  # one read names the image

    def __getitem__(self, where: Any) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise Enough
        if not isinstance(where[0], slice):
            return np.zeros(self.shape[1], np.float32)
        size = [s.stop - s.start for s in where]
        return np.random.default_rng(where[0].start).random(size, np.float32)


def resident(key: str) -> float:
    """A line of Linux's account of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6


def one(size: int, cap: float, width: int, tiles: int) -> None:
    """Run and print the growth in MB and the seconds of the processor."""
    network = ValidResidual(width).eval()
    before, begun = resident("VmRSS:"), time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        apply_tiled(network, Image(size, tiles), memory_mb=cap, out=Path(folder) / "out.npy")
    print(resident("VmHWM:") - before, time.process_time() - begun)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--width", type=int, default=16)
    options.add_argument("--caps", default="150,400")
    options.add_argument("--whole", type=int, default=4096)
    options.add_argument("--tiles", type=int, default=3)
    options.add_argument("--store", action="store_true")
    options.add_argument("--one", nargs=3, type=float, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        size, cap, tiles = chosen.one
        one(int(size), cap, chosen.width, int(tiles))
        return
    network = ValidResidual(chosen.width).eval()
    graph, field = trace(network), receptive_field(network)
    print(f"{device_name()}, {torch.get_num_threads()} threads, width {chosen.width}")
    print("pixels a side, cap MB: peak MB (predicted), tile, tiles done, work over the whole")
    worst, rows = 0.0, []
    for cap in map(float, chosen.caps.split(",")):
        for size in SIZES:
            plan = plan_tiles(graph, field, (size, size), memory_mb=cap)
            tiles = len(plan) if size <= chosen.whole else min(chosen.tiles, len(plan))
            command = [sys.executable, __file__, "--width", str(chosen.width)]
            command += ["--one", str(size), str(cap), str(tiles)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak, seconds = map(float, done.stdout.split())
            worst = max(worst, peak / cap)
            print(
                f"{size:6}, {cap:6g}: {peak:6.0f} ({plan.predicted_mb:4.0f}), {plan.tile}, "
                f"{tiles} of {len(plan)}, {plan.work():.3f}, {seconds:.1f} s",
                flush=True,
            )
            row = {"width": chosen.width, "pixels_a_side": size, "cap_MB": cap, "peak_MB": peak}
            row |= {"predicted_MB": plan.predicted_mb, "tile": " x ".join(map(str, plan.tile))}
            rows.append({**row, "tiles_run": tiles, "tiles": len(plan), "CPU_s": seconds})
    if chosen.store:
        made = {"device": device_name(), "threads": torch.get_num_threads()}
        table = pd.DataFrame(rows).round(1).assign(**made, commit=git_state()["git_commit"][:10])
        write_text(reference_dir() / "tiling_memory.csv", table.to_csv(index=False))
    print(f"largest share of a cap that was used: {worst:.2f}")
    sys.exit(worst > 1)


if __name__ == "__main__":
    main()
