"""Figures of tiling: what a tile does to an image, how far a network looks; stored benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS, show
from recon.results.html import Html, html_table

__all__ = [
    "benchmark",
    "error_maps",
    "gradient_maps",
    "margin_curves",
    "met",
    "ratios",
    "throughput",
]

MADE_BY = ["device", "threads", "commit"]  # columns that go into the caption


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Throughput of this book's tool over that of MONAI's windows, two for each network and size.

    Over the fastest window of all, and over the fastest of those that take no more memory than this
    book's tool; where every window takes more, over the one that takes least, which is then said.

    Parameters
    ----------
    rows : DataFrame
        Of ``benchmarks/tiling_monai.py``: axes, blocks, pixels_a_side, width, side, CPU_s and
        peak_MB, and what the rows of one network and size share (device, threads, commit).
    """
    found = []
    kinds = {"CPU_s": float, "peak_MB": float}
    case = ["axes", "blocks", "pixels_a_side", "width"]
    for values, group in rows.astype(kinds).groupby([rows[name].astype(int) for name in case]):
        theirs = group[group["side"].str.startswith("MONAI")]
        ours = group[group["side"] == "this book"].iloc[0]
        within = theirs[theirs["peak_MB"] <= ours["peak_MB"]]
        picked = {"fastest of all windows": theirs.nsmallest(1, "CPU_s")}
        if len(within):
            picked["fastest within this book's memory"] = within.nsmallest(1, "CPU_s")
        else:
            least = "least memory, as every window takes more than this book's tool"
            picked[least] = theirs.nsmallest(1, "peak_MB")
        for how, one in picked.items():
            for their in one.itertuples():  # none without MONAI
                line = dict(zip(case, values, strict=True)) | {"compared_with": how}
                line |= {"MONAI": their.side.removeprefix("MONAI, ")}
                line |= {"throughput_over_MONAI": f"{their.CPU_s / ours['CPU_s']:.2f}"}
                line |= {"MONAI_MB": f"{their.peak_MB:.0f}", "this_book_MB": f"{ours.peak_MB:.0f}"}
                found.append(line | {name: ours[name] for name in MADE_BY if name in ours})
    return pd.DataFrame(found)


def throughput(path: Path, caption: str) -> Html:
    """The stored ratios, a row for each network and size: over both windows, and the memory.

    Parameters
    ----------
    path : Path
        Ratios as `ratios` gives them; without the file the table says how to make it.
    caption : str
        What the table shows; machine, threads and commit are added.
    """
    if not path.is_file():
        return benchmark(path, caption, script="tiling_monai")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    case, lines = ["axes", "blocks", "pixels_a_side", "width"], []
    for values, group in rows.groupby(case, sort=False):
        cells = []
        for row in group.itertuples():
            beside = f"{row.MONAI.removeprefix('windows of ')}, {row.MONAI_MB} MB"
            beside += "; none takes less" * row.compared_with.startswith("least")
            cells.append(f"{row.throughput_over_MONAI} ({beside})")
        lines.append([*values, f"{group['this_book_MB'].iloc[0]} MB", *cells])
    heads = ["Axes", "Blocks", "Pixels a side", "Width", "This book takes"]
    heads += ["Over the fastest window", "Over the fastest that takes no more memory"]
    return html_table(f"{caption} ({_made_by(rows)})", heads, lines, len(case))


def _made_by(rows: pd.DataFrame) -> str:
    return "; ".join(f"{name} {', '.join(map(str, rows[name].unique()))}" for name in MADE_BY)


def met(path: Path, goal: float) -> pd.DataFrame:
    """How often the stored ratios reach a goal, for each depth and number of axes.

    Parameters
    ----------
    path : Path
        Ratios as `ratios` gives them; without the file the table is empty.
    goal : float
        Throughput of this book's tool over MONAI's.

    Returns
    -------
    DataFrame
        A row for each network's axes and blocks and each comparison: cases, smallest and largest
        ratio, cases that reach the goal.
    """
    if not path.is_file():
        return pd.DataFrame()
    rows = pd.read_csv(path)
    rows["compared_with"] = rows["compared_with"].str.partition(",")[0]
    found = rows.groupby(["axes", "blocks", "compared_with"])["throughput_over_MONAI"]
    reached = found.apply(lambda ratio: int((ratio >= goal).sum()))
    table = found.agg(cases="size", smallest="min", largest="max")
    return table.assign(**{f"at least {goal:g}": reached})


def benchmark(path: Path, caption: str, headers: int = 1, script: str = "") -> Html:
    """The stored rows of a benchmark of the same name, or how to make them.

    Parameters
    ----------
    path : Path
        A CSV file that ``benchmarks/<name>.py --store`` writes, or would.
    caption : str
        What the table shows; machine, threads and commit are added.
    headers : int
        Columns that name a row.
    script : str
        The benchmark, if its name is another than the file's.
    """
    if not path.is_file():
        return Html(
            f"<p>{caption}: no run is stored. "
            f"<code>python benchmarks/{script or path.stem}.py --store</code> makes one; it wants "
            "a machine that does nothing else.</p>"
        )
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)  # digits as they were written
    shown = rows.drop(columns=MADE_BY)
    heads = [name.replace("_", " ") for name in shown.columns]
    return html_table(
        f"{caption} ({_made_by(rows)})", heads, shown.itertuples(index=False), headers
    )


def error_maps(maps: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Absolute differences on one logarithmic scale, a row for each network.

    Parameters
    ----------
    maps : mapping
        By row title and column title: ``(height, width)``, relative to the image's deviation. A
        map of zeros is drawn in the palest colour and says so.
    """
    columns = max(len(row) for row in maps.values())
    size = 8.6 / columns
    figure, axes = plt.subplots(
        len(maps), columns, figsize=(8.6, len(maps) * (size + 0.3)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, (name, row) in zip(axes, maps.items(), strict=True):
        for axis, (title, one) in zip(line, row.items(), strict=False):
            logs = np.log10(np.maximum(np.abs(one), 1e-8))
            drawn = axis.imshow(logs, cmap="magma_r", vmin=-8, vmax=0)
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(True)
            if not np.any(one):
                axis.text(0.5, 0.5, "exactly zero", ha="center", va="center",
                          transform=axis.transAxes)  # fmt: skip
        line[0].set_ylabel(name)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
    bar.set_label("log10 of |tiled - whole| / deviation")
    return figure


def margin_curves(curves: Mapping[str, Mapping[int, float]], exact: int) -> Figure:
    """Largest error by cropped margin; exact zeros are drawn on a line of their own below.

    Parameters
    ----------
    curves : mapping
        By label: margin in pixels to error.
    exact : int
        Margin that theory asks for, drawn as a dotted line.
    """
    figure, axis = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    positive = [e for curve in curves.values() for e in curve.values() if e > 0]
    floor = 10 ** (np.floor(np.log10(min(positive))) - 1) if positive else 1e-9
    for number, (label, curve) in enumerate(curves.items()):
        margins = sorted(curve)
        values = [curve[m] or floor for m in margins]
        axis.semilogy(margins, values, marker="o", markersize=4, label=label,
                      color=COLOURS[number], alpha=0.85)  # fmt: skip
    axis.axhline(floor, color=COLOURS[7], linewidth=0.8)
    axis.text(0, floor * 1.3, "exactly zero", color=COLOURS[7], va="bottom")
    axis.axvline(exact, color=COLOURS[6], linestyle=":")
    axis.set_xlabel("margin cropped from every tile, pixels")
    axis.set_ylabel("largest |tiled - whole| / deviation")
    axis.legend(frameon=False)
    return figure


def gradient_maps(maps: Mapping[str, np.ndarray], radii: Sequence[float]) -> Figure:
    """Magnitude of the gradient of the middle output pixel; a square holds 95 % of each.

    Parameters
    ----------
    maps : mapping
        Title to ``(size, size)``.
    radii : sequence of float
        Half widths of the squares.
    """
    columns = len(maps)
    figure, axes = plt.subplots(
        1, columns, figsize=(8.6, 8.6 / columns + 0.35), layout="constrained", squeeze=False
    )
    for axis, (title, one), radius in zip(axes[0], maps.items(), radii, strict=True):
        logs = np.log10(np.maximum(one / one.max(), 1e-5))
        show(axis, logs, 0, title, "magma")
        axis.images[0].set_clim(-5, 0)
        middle = one.shape[0] // 2
        corner = middle - radius - 0.5
        axis.add_patch(plt.Rectangle((corner, corner), 2 * radius + 1, 2 * radius + 1,
                                     fill=False, edgecolor=COLOURS[5]))  # fmt: skip
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.8, pad=0.01)
    bar.set_label("log10 of gradient / its maximum")
    return figure
