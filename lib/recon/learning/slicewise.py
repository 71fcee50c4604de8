"""Apply a network to whole slices or patch by patch, and score what comes out.

A network's ``margin`` is by how many pixels on each side its output is smaller than its input (0
for padded ones). Slices are continued by that much before anything else (the paper's pre-padding,
section 2.1), so that the output has the size of the slice.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn.functional import pad

from recon.learning.tiling.analysis import analyse
from recon.learning.tiling.plan import plan_tiles

__all__ = [
    "reach",
    "scores",
    "seam_scores",
    "tiled",
    "timings",
    "whole",
    "worst_seam",
]

AT_ONCE = 8  # slices in a batch


@torch.no_grad()
def whole(network: nn.Module, slices: Tensor) -> Tensor:
    """A network on whole slices ``(n, 1, height, width)``; the same shape, on the CPU."""
    where = next(network.parameters()).device
    parts = (_continued(part.to(where), network) for part in slices.split(AT_ONCE))
    return torch.cat([_apply(network, part).cpu() for part in parts])


@torch.no_grad()
def tiled(network: nn.Module, slices: Tensor, size: int) -> Tensor:
    """The same by patches of ``size`` pixels, whose outputs are laid side by side (figure 1b).

    Patches begin every ``size - 2 * margin`` pixels; those at the end are as large as what is left.
    `recon.learning.tiling.apply_tiled` would give padded patches their margin, and leave images as
    small as these whole; here seams are what is to be seen, so only its plan is used.

    Raises
    ------
    ValueError
        If a patch is no larger than the margins.
    """
    step = size - 2 * network.margin
    if step < 1:
        raise ValueError(f"patches of {size} pixels vanish in a margin of {network.margin}")
    padded = network.margin == 0
    _, field = analyse(network, 0 if padded else None, approximate=padded, check=False)
    plan = plan_tiles(None, field, tuple(slices.shape[-2:]), step, proven=False)
    where = next(network.parameters()).device
    drawn = torch.empty(slices.shape)
    for part, result in zip(slices.split(AT_ONCE), drawn.split(AT_ONCE), strict=True):
        large = _continued(part.to(where), network)
        for rows, columns in plan.pieces():
            window = large[..., rows.start : rows.stop, columns.start : columns.stop]
            piece = _apply(network, window).cpu()
            result[..., rows.first : rows.last, columns.first : columns.last] = piece
    return drawn


def _apply(network: nn.Module, images: Tensor) -> Tensor:
    """A network on a batch, so that the sums of a pixel do not depend on the size of its image.

    torch gives a single image of less than 20,480 values to another convolution, which adds in
    another order; patches would then differ from whole slices by rounding. So a single image is
    computed twice. The layout in memory is fixed for the same reason.
    """
    network.to(memory_format=torch.contiguous_format).eval()
    if len(images) == 1:
        return network(images.repeat(2, 1, 1, 1))[:1]
    return network(images)


def _continued(slices: Tensor, network: nn.Module) -> Tensor:
    return pad(slices, [network.margin] * 4, mode="replicate")


def scores(
    results: Mapping[str, Tensor],
    truth: Tensor,
    name: str,
    contrast: str,
    factor: float,
    blocks: int,
) -> pd.DataFrame:
    """PSNR and SSIM of blocks of adjacent slices.

    The data range is the maximum of the given slices; SSIM has a 7 x 7 uniform window and is
    averaged over slices.

    Parameters
    ----------
    results : mapping
        Method to ``(n, 1, height, width)``.
    truth : Tensor
        The same shape.
    name, contrast, factor
        What the rows say of the volume.
    blocks : int
        Neighbouring slices resemble each other: a volume is scored in so many runs of them.

    Returns
    -------
    pd.DataFrame
        A row for each block, method and metric; `recon.results.statistics.summarise` takes it.
    """
    top, rows = float(truth.max()), []
    for number, part in enumerate(np.array_split(np.arange(len(truth)), blocks)):
        target = truth[part, 0].numpy()
        for method, drawn in results.items():
            image = drawn[part, 0].numpy()
            error = float(np.square(image.astype(np.float64) - target).mean())
            ssim = [
                structural_similarity(a, b, data_range=top)
                for a, b in zip(image, target, strict=True)
            ]
            found = {"psnr": 10 * np.log10(top**2 / error), "ssim": float(np.mean(ssim))}
            rows += _rows(found, method, f"{name}#{number}", contrast, factor)
    return pd.DataFrame(rows)


def seam_scores(
    pieces: Mapping[str, Tensor],
    slices: Tensor,
    name: str,
    contrast: str,
    factor: float,
    blocks: int,
) -> pd.DataFrame:
    """Mean square difference between tiled and whole-slice evaluation (table 2), as `scores`.

    Parameters
    ----------
    pieces : mapping
        Method to the tiled result ``(n, 1, height, width)``.
    slices : Tensor
        What the same network draws of whole slices.
    name, contrast, factor, blocks
        As for `scores`.
    """
    rows = []
    for number, part in enumerate(np.array_split(np.arange(len(slices)), blocks)):
        for method, drawn in pieces.items():
            error = float((drawn[part].double() - slices[part].double()).square().mean())
            rows += _rows({"seam_mse": error}, method, f"{name}#{number}", contrast, factor)
    return pd.DataFrame(rows)


def _rows(found: Mapping[str, float], method: str, volume: str, contrast: str, factor: float):
    common = {"volume": volume, "contrast": contrast, "effective_accel": float(factor)}
    common |= {"method": method, "region": "full"}
    return [{**common, "metric": metric, "value": value} for metric, value in found.items()]


def reach(difference: Tensor, tile: int) -> pd.Series:
    """Root mean square difference at every distance from the nearest seam between patches.

    Distances are in pixels.

    Parameters
    ----------
    difference : Tensor
        ``(n, 1, height, width)``: tiled minus whole, of a padded network.
    tile : int
        Side of the patches of a padded network; the borders of the slice are no seams.
    """
    distances = []
    for length in difference.shape[-2:]:
        seams = np.arange(tile, length, tile) - 0.5
        places = np.abs(np.arange(length)[:, None] - seams)
        distances.append(places.min(1) if len(seams) else np.full(length, np.inf))
    nearest = np.minimum(distances[0][:, None], distances[1]) + 0.5
    square = difference[:, 0].double().square().mean(0).numpy()
    table = pd.DataFrame({"distance": nearest.ravel(), "square": square.ravel()})
    return np.sqrt(table.groupby("distance").square.mean())


def worst_seam(difference: Tensor, tile: int) -> tuple[int, int, int]:
    """Slice, row and column of the largest difference beside a seam that runs down the slices."""
    columns = np.arange(tile, difference.shape[-1], tile)
    beside = difference[:, 0, :, columns].abs()
    number, row, which = np.unravel_index(int(beside.argmax()), beside.shape)
    return int(number), int(row), int(columns[which])


def timings(runs: Mapping[str, Callable[[], object]], repeats: int = 8) -> pd.DataFrame:
    """Seconds of each of several functions, called in turn so that all meet the same machine.

    Returns
    -------
    pd.DataFrame
        A row a repeat, a column a function; the first call of each is not counted.
    """
    rows = []
    for _ in range(repeats + 1):
        row = {}
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            row[name] = time.perf_counter() - start
        rows.append(row)
    return pd.DataFrame(rows[1:])
