"""Tiled against whole, and against MONAI's sliding windows, at equal exactness in one run.

MONAI averages overlapping windows. It is exact where the pixels that padding reaches get no
weight: with a weight map that is one inside and zero in the margin, an image padded by the margin,
and an overlap of twice the margin. So both tools compute the valid network's output (for MONAI it
is padded back to the window's size, as it would otherwise read the smaller output as a zoom), and
the error of each against the whole image stands beside its time. Rounds alternate between the
sides, so a busy machine slows all of them.

MONAI is no dependency of the book. In a virtual environment that sees the book's packages:

    python -m pip install --no-deps monai==1.6.1
    python benchmarks/tiling_monai.py [--size 1024] [--width 32] [--rounds 3] [--memory 1000]

Without MONAI the script says so and compares with the whole image alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from recon.learning.tiling import apply_tiled, plan_tiles, receptive_field, trace
from recon.learning.tiling.blending import blend
from recon.networks.residual_sr import PaddedResidual, ValidResidual
from recon.results.provenance import device_name

try:
    from monai.inferers import sliding_window_inference
except ImportError:
    sliding_window_inference = None


def monai_exact(network: ValidResidual, image: Tensor, window: int) -> Tensor:
    """The valid network by MONAI with windows of ``window`` pixels, exactly."""
    margin = network.margin
    weights = F.pad(torch.ones(window - 2 * margin, window - 2 * margin), (margin,) * 4)
    result = sliding_window_inference(
        F.pad(image, (margin,) * 4),
        (window, window),
        1,
        lambda patch: F.pad(network(patch), (margin,) * 4),
        overlap=2 * margin / window,
        roi_weight_map=weights,
    )
    return result[..., margin:-margin, margin:-margin]


def monai_agrees_with_the_book() -> None:
    """The chapter's blending is MONAI's, for its two windows."""
    network, image = PaddedResidual(8, 3), torch.randn(1, 1, 160, 192)
    for kind in ("constant", "gaussian"):
        for overlap in (0.0, 0.25, 0.5):
            theirs = sliding_window_inference(image, (64, 64), 1, network, overlap, kind)
            ours = blend(network, image, 64, overlap, kind)
            largest = float((theirs - ours).abs().max() / theirs.std())
            print(f"{kind:8} overlap {overlap:.2f}: largest difference {largest:.1e} deviations")


def timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds and result."""
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--size", type=int, default=1024)
    options.add_argument("--width", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--memory", type=float, default=1000.0)
    chosen = options.parse_args()
    torch.manual_seed(0)
    network = ValidResidual(chosen.width).eval()
    image = torch.randn(1, 1, chosen.size, chosen.size)
    field = receptive_field(network)
    plan = plan_tiles(trace(network), field, (chosen.size,) * 2, memory_mb=chosen.memory)
    window = max(span.stop - span.start for span in plan.spans[0])
    print(f"{device_name()}, {torch.get_num_threads()} threads, {chosen.size} pixels squared")
    print(f"width {chosen.width}, {chosen.memory:g} MB: tile {plan.tile}, work {plan.work():.2f}")
    padded = F.pad(image, (field.margin,) * 4)
    sides = {
        "whole image": lambda: network(padded),
        "tiled at the planned tile": lambda: apply_tiled(
            network, image, memory_mb=chosen.memory + 4e-6 * image.numel(), check=False
        ),
    }
    if sliding_window_inference is None:
        print("SKIPPED: MONAI is not installed; see the top of this file for how to get it")
    else:
        monai_agrees_with_the_book()
        for size in (64, 96, window):
            sides[f"MONAI, windows of {size}"] = lambda size=size: monai_exact(network, image, size)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results = {}
    for _ in range(chosen.rounds):
        for name, run in sides.items():
            took, results[name] = timed(run)
            seconds[name].append(took)
    reference = results["whole image"]
    ours = statistics.median(seconds["tiled at the planned tile"])
    for name, took in seconds.items():
        middle = statistics.median(took)
        largest = float((results[name] - reference).abs().max() / reference.std())
        same = torch.equal(results[name], reference)
        print(
            f"{name:26} {middle:7.2f} s  {middle / ours:5.2f} of ours  equal bits {same!s:5}  "
            f"largest error {largest:.0e}"
        )


if __name__ == "__main__":
    main()
