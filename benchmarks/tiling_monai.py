"""Tiled against whole, and against MONAI's sliding windows, at equal exactness in one run.

MONAI averages overlapping windows. It is exact where the pixels that padding reaches get no
weight: with a weight map that is one inside and zero in the margin, an image padded by the margin,
and an overlap of twice the margin. So both tools compute the valid network's output (for MONAI it
is padded back to the window's size, as it would otherwise read the smaller output as a zoom), and
the error of each against the whole image stands beside its time. Rounds alternate between the
sides, and seconds of the processor, which decide, stand beside seconds of the clock, so that a busy
machine slows all of them.

MONAI's window is its user's choice, so it is run at several: 64 is the patch of Remedios et al.
(2022), the last is the whole image. How much of the difference is recomputed margin stands in the
column of work, pixels of all windows over those of the image; the rest is memory traffic (arrays
that outgrow the caches, pages mapped afresh) and, for this book's tool, copies between strips.

A large window takes much memory, which tiles are there to save. So each side runs once more in a
process of its own: the peak of its resident set, beyond what it held when all was imported and the
image drawn, stands beside the time. Two ratios follow from the rows: this book's throughput over
that of MONAI's fastest window, and over that of the fastest one among those that take no more
memory than this book's tool did.

What overlaps is margin, and the margin grows with the depth: the published network has 7 residual
blocks, its zero-padded comparator 32. Volumes go through as many plain convolutions of 3 x 3 x 3,
one beside MONAI's more usual work.

MONAI is no dependency of the book. In a virtual environment that sees the book's packages:

    python -m pip install --no-deps monai==1.6.1
    python benchmarks/tiling_monai.py [--sizes 1024,2048] [--widths 16,32,64] [--rounds 3]
    python benchmarks/tiling_monai.py --sizes 1024 --widths 16 --blocks 16,32 --windows 288,544
    python benchmarks/tiling_monai.py --axes 3 --sizes 160 --widths 16 --blocks 3 --windows 64,96

With ``--store`` the rows go to ``book/results/tiling_monai.csv`` and the ratios to
``tiling_monai_ratios.csv``, which a chapter shows; rows of other networks and sizes stay there.
Without MONAI the script says so and compares with the whole image alone.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon.learning.tiling import apply_tiled, plan_tiles, receptive_field, trace
from recon.learning.tiling.blending import blend
from recon.networks.residual_sr import PaddedResidual, ValidResidual
from recon.results.provenance import device_name, git_state
from recon.results.store import reference_dir, write_text
from recon.results.tiles import ratios

try:
    from monai.inferers import sliding_window_inference
except ImportError:
    sliding_window_inference = None


Side = tuple[Callable[[], Tensor], float]


@dataclass(frozen=True)
class Case:
    """One network and one image, a square or a cube of ``size`` pixels a side."""

    axes: int
    size: int
    blocks: int
    width: int
    windows: tuple[int, ...]
    memory: float

    @property
    def margin(self) -> int:
        """Pixels on each side that the network's convolutions take away."""
        return 2 + 2 * self.blocks

    def network(self) -> nn.Module:
        """The published one with so many blocks; of a volume as many convolutions in a row."""
        torch.manual_seed(0)
        if self.axes == 2:
            return ValidResidual(self.width, self.blocks).eval()
        layers = [nn.Conv3d(1, self.width, 3)]
        for _ in range(2 * self.blocks):
            layers += [nn.ReLU(), nn.Conv3d(self.width, self.width, 3)]
        return nn.Sequential(*layers, nn.Conv3d(self.width, 1, 3)).eval()


def monai_exact(network: nn.Module, image: Tensor, window: int, margin: int) -> Tensor:
    """A valid network by MONAI with windows of ``window`` pixels, exactly."""
    axes = image.ndim - 2
    beside = (margin,) * (2 * axes)
    weights = F.pad(torch.ones((window - 2 * margin,) * axes), beside)
    result = sliding_window_inference(
        F.pad(image, beside),
        (window,) * axes,
        1,
        lambda patch: F.pad(network(patch), beside),
        overlap=2 * margin / window,
        roi_weight_map=weights,
    )
    return result[(..., *(slice(margin, -margin),) * axes)]


def monai_agrees_with_the_book() -> None:
    """The chapter's blending is MONAI's, for its two windows."""
    network, image = PaddedResidual(8, 3), torch.randn(1, 1, 160, 192)
    for kind in ("constant", "gaussian"):
        for overlap in (0.0, 0.25, 0.5):
            theirs = sliding_window_inference(image, (64, 64), 1, network, overlap, kind)
            ours = blend(network, image, 64, overlap, kind)
            largest = float((theirs - ours).abs().max() / theirs.std())
            print(f"{kind:8} overlap {overlap:.2f}: largest difference {largest:.1e} deviations")


def timed(run: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Seconds of the processor, of the clock, and the result."""
    begun, clock = time.process_time(), time.perf_counter()
    result = run()
    return time.process_time() - begun, time.perf_counter() - clock, result


def sides_of(case: Case) -> tuple[dict[str, Side], tuple[int, ...]]:
    """All tools on one image, by name: what runs it, and its column of work; this book's tile."""
    network, margin, shape = case.network(), case.margin, (case.size,) * case.axes
    image, beside = torch.randn(1, 1, *shape), (margin,) * (2 * case.axes)
    budget = case.memory + 4e-6 * image.numel()  # apply_tiled keeps the result in memory
    field = receptive_field(network, case.axes)
    plan = plan_tiles(trace(network), field, shape, memory_mb=case.memory)
    sides = {
        "whole image": (lambda: network(F.pad(image, beside)), 1.0),
        "this book": (lambda: apply_tiled(network, image, memory_mb=budget), plan.work()),
    }
    padded = case.size + 2 * margin
    for one in (*case.windows, padded) if sliding_window_inference else ():
        count = math.ceil(case.size / (one - 2 * margin))
        run = partial(monai_exact, network, image, one, margin)
        sides[f"MONAI, windows of {one}"] = (run, (count * one / padded) ** case.axes)
    return sides, plan.tile


def resident(key: str) -> float:
    """A line of Linux's account of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6


def growth(side: Side) -> float:
    """Peak of this process's resident set during one run, beyond the level just before it, MB."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = resident("VmRSS:")
    side[0]()
    return resident("VmHWM:") - before


def peak_mb(name: str, case: Case) -> float:
    """`growth` of one side in a fresh process."""
    command = [sys.executable, __file__, "--one", name, json.dumps(astuple(case))]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(case: Case, rounds: int) -> list[dict]:
    """One image by all tools, printed; its rows."""
    sides, tile = sides_of(case)
    print(f"\n{case}: tile {tile}")
    peaks = {name: peak_mb(name, case) for name in sides}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    results = {}
    for _ in range(rounds):
        for name, (run, _work) in sides.items():
            took, clock, results[name] = timed(run)
            found[name].append((took, clock))
    middle = {n: [statistics.median(t) for t in zip(*f, strict=True)] for n, f in found.items()}
    ours, reference = middle["this book"][0], results["whole image"]
    rows = []
    print(
        "side                        CPU s  clock s  of ours  peak MB  work  equal  largest error"
    )
    for name, (took, clock) in middle.items():
        largest = float((results[name] - reference).abs().max() / reference.std())
        same, work = "yes" if torch.equal(results[name], reference) else "no", sides[name][1]
        print(
            f"{name:26} {took:6.2f}  {clock:7.2f}  {took / ours:7.2f}  {peaks[name]:7.0f}  "
            f"{work:4.2f}  {same:5}  {largest:.0e}",
            flush=True,
        )
        row = {"axes": case.axes, "pixels_a_side": case.size, "blocks": case.blocks}
        row |= {"width": case.width, "side": name, "CPU_s": f"{took:.3f}"}
        row |= {"CPU_over_this_book's": f"{took / ours:.2f}", "peak_MB": f"{peaks[name]:.0f}"}
        row |= {"work": f"{work:.2f}", "clock_s": f"{clock:.2f}", "equal_bits": same}
        rows.append({**row, "largest_error": f"{largest:.0e}"})
    print(f"target 1.10 of the whole image: {ours / middle['whole image'][0]:.2f}")
    theirs = {name: m[0] / ours for name, m in middle.items() if name.startswith("MONAI")}
    if theirs:
        enough = [name for name, ratio in theirs.items() if ratio >= 1.5]
        print(f"target 1.5 times MONAI: {', '.join(enough) or 'at no window'}")
        for line in ratios(pd.DataFrame(rows)).itertuples(index=False):
            print(f"{line.throughput_over_MONAI} times: {line.compared_with} ({line.MONAI})")
    return rows


def store(rows: list[dict]) -> None:
    """Rows of the sizes and widths just measured take the place of stored ones; then the ratios."""
    made = {"device": device_name(), "threads": str(torch.get_num_threads())}
    made["commit"] = git_state()["git_commit"][:10]
    table, path = (
        pd.DataFrame(rows).astype(str).assign(**made),
        reference_dir() / "tiling_monai.csv",
    )
    case = ["axes", "blocks", "pixels_a_side", "width"]
    if path.is_file():
        old = pd.read_csv(path, dtype=str)
        again = pd.MultiIndex.from_frame(old[case]).isin(pd.MultiIndex.from_frame(table[case]))
        table = pd.concat([old[~again], table])
        table = table.sort_values(case, key=lambda column: column.astype(int), kind="stable")
    write_text(path, table.to_csv(index=False))
    if sliding_window_inference:
        write_text(path.with_name("tiling_monai_ratios.csv"), ratios(table).to_csv(index=False))


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sizes", default="1024,2048")
    options.add_argument("--widths", default="16,32,64")
    options.add_argument("--blocks", default="7", help="residual blocks; 7 is published")
    options.add_argument("--axes", type=int, choices=(2, 3), default=2)
    options.add_argument("--windows", default="64,96,128,192,288,544")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--memory", type=float, default=1000.0)
    options.add_argument("--store", action="store_true")
    options.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        name, case = chosen.one
        print(growth(sides_of(Case(*json.loads(case)))[0][name]))
        return
    listed = (chosen.blocks, chosen.sizes, chosen.widths, chosen.windows)
    blocks, sizes, widths, windows = ([int(n) for n in text.split(",")] for text in listed)
    print(f"{device_name()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    if sliding_window_inference is None:
        print("SKIPPED: MONAI is not installed; see the top of this file for how to get it")
    else:
        monai_agrees_with_the_book()
    rows = []
    for depth, size, width in product(blocks, sizes, widths):
        # A window that keeps less than half its pixels along an axis is nobody's choice.
        fit = tuple(n for n in windows if 4 * (2 + 2 * depth) <= n < size)
        rows += compare(Case(chosen.axes, size, depth, width, fit, chosen.memory), chosen.rounds)
    if chosen.store:
        store(rows)


if __name__ == "__main__":
    main()
