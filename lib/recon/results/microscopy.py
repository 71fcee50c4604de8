"""Pictures of a microscopy volume, and the table of runs on one that is larger than memory."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.errors import InputError
from recon.results.arrays import read_picture
from recon.results.figures import show
from recon.results.html import html_table

__all__ = ["beside", "extrapolated"]

PAPER_HOURS = 66  # Remedios et al. (2022), section 4


def beside(blurred: Any, sharp: Any, real: str) -> Figure:
    """A slice, the maximum of several, and the same without blur or a real volume.

    Parameters
    ----------
    blurred, sharp : (slices, depth, optical) array
        The simulated volume, with and without the wide point spread; 256 voxels wide or more.
    real : str
        A ``.npy`` file ``(slices, height, width)``; empty for none.

    Raises
    ------
    InputError
        If the file is not there or no volume.
    """
    zoom = (slice(None), *(slice(n - 256, n) for n in blurred.shape[1:]))
    images = {
        "a slice": blurred[8],
        f"maximum of {blurred.shape[0]} slices": blurred[zoom].max(0),
    }
    if real:
        volume = read_picture(real, 3)
        images["measured, mouse brain"] = np.asarray(volume[volume.shape[0] // 2])
        if not np.isfinite(images["measured, mouse brain"]).all():
            raise InputError(f"{real}: the slice in the middle holds NaN or infinite voxels.")
    else:
        images["without the blur"] = sharp[zoom].max(0)
    ratios = [image.shape[1] / image.shape[0] for image in images.values()]
    figure, axes = plt.subplots(
        1,
        len(images),
        figsize=(8.6, 8.6 / sum(ratios) + 0.4),
        width_ratios=ratios,
        layout="constrained",
    )
    for axis, (title, image) in zip(axes, images.items(), strict=True):
        show(axis, image, float(np.quantile(image, 0.997)), title)
    return figure


def extrapolated(runs: pd.DataFrame, shape: tuple[int, ...]) -> Any:
    """What was measured on a part of a volume, and what it means for another.

    Parameters
    ----------
    runs : pd.DataFrame
        From ``benchmarks/large_volume.py``: a row a run. Rates are those of all runs of a width;
        a part of the volume that two runs computed was done once.
    shape : tuple of int
        Voxels of the other volume.
    """
    lines = []
    for width, part in runs.groupby("width"):
        total = part[["voxels", "seconds", "processor_seconds", "simulation_seconds"]].sum()
        busy = total.processor_seconds - total.simulation_seconds
        done = _done(part)
        whole = np.prod([int(n) for n in part["shape"].iloc[0].split(" x ")], dtype=np.int64)
        need = np.prod(shape, dtype=np.int64)
        lines.append(
            [
                f"{width}",
                f"{part['shape'].iloc[0]}, {part.gigabytes.iloc[0]:.1f} GB",
                f"{done / 1e6:,.0f} million ({done / whole:.1%})",
                f"{len(part)}",
                ", ".join(dict.fromkeys(part.commit)),
                f"{part.peak_mb.max():,.0f} of {part.cap_mb.max():,.0f} MB",
                f"{total.voxels / busy:,.0f}",
                f"{need / (total.voxels / busy) / 3600:.1f} h",
                f"{need / (total.voxels / total.seconds) / 3600:.1f} h",
            ]
        )
    device = ", ".join(dict.fromkeys(runs.device))
    caption = (
        f"A large volume, as far as it was done, on one thread of {device}; then the "
        f"hours for {' x '.join(map(str, shape))} voxels at that rate (the paper's: {PAPER_HOURS})"
    )
    heads = ["Width", "Volume", "Voxels done", "Runs", "Commits", "Memory, at most"]
    heads += ["Voxels a CPU second", "Network alone", "By the clock"]
    return html_table(caption, heads, lines)


def _done(runs: pd.DataFrame) -> float:
    """Voxels of the tiles that any of the runs computed, each counted once."""
    reached, voxels = 0, 0.0
    for run in runs.sort_values("resumed_at").itertuples():
        end = run.resumed_at + run.tiles_done
        fresh = max(end - max(reached, run.resumed_at), 0)
        voxels += run.voxels * fresh / run.tiles_done
        reached = max(reached, end)
    return voxels
