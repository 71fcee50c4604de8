"""Figures of crop-equivariance: tainted pixels, seams between tiles, scores by factor."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS, show

__all__ = ["by_factor", "difference_maps", "profiles", "reach_curves", "tainted"]


def tainted(sides: Mapping[str, np.ndarray], small: np.ndarray) -> Figure:
    """Which pixels know of the padding: crosses on a small image, shares of larger ones in grey.

    Parameters
    ----------
    sides : mapping
        Title to a map ``(height, width)``, true where the padding reached.
    small : np.ndarray
        The map of a 5 x 5 image, drawn with its pixels (figure 1a).
    """
    figure, axes = plt.subplots(
        1, 1 + len(sides), figsize=(8.6, 8.6 / (1 + len(sides)) + 0.35), layout="constrained"
    )
    show(
        axes[0], 0.3 * (1 - small), 1, f"5 x 5, one convolution:\n{int(small.sum())} of 25 tainted"
    )
    for row, column in np.argwhere(small):
        axes[0].text(column, row, "x", color=COLOURS[3], ha="center", va="center", size=15)
    for axis, (title, there) in zip(axes[1:], sides.items(), strict=True):
        show(axis, 1 - 0.75 * there, 1, f"{title}:\n{there.mean():.0%} tainted")
        for spine in axis.spines.values():
            spine.set_visible(True)
    for place in np.arange(0.5, 4):
        axes[0].axhline(place, color="white", linewidth=0.5)
        axes[0].axvline(place, color="white", linewidth=0.5)
    return figure


def difference_maps(
    maps: Mapping[str, Mapping[str, np.ndarray]], images: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
    """Tiled minus whole, one colour scale a row, and the images that they belong to (figure 3).

    Parameters
    ----------
    maps : mapping
        By row title (the factor) and column title (the tile): ``(height, width)``.
    images : mapping
        By row title and column title: more images, in grey.
    """
    first = next(iter(maps))
    columns = [*maps[first], *images[first]]
    height, width = next(iter(maps[first].values())).shape
    size = 8.6 / len(columns)
    figure, axes = plt.subplots(
        len(maps),
        len(columns),
        figsize=(8.6, len(maps) * (size * height / width + 0.35)),
        squeeze=False,
        layout="constrained",
    )
    for line, (row, differences) in zip(axes, maps.items(), strict=True):
        top = max(np.quantile(np.abs(one), 0.999) for one in differences.values()) or 1.0
        for axis, (title, one) in zip(line, differences.items(), strict=False):
            show(axis, np.zeros_like(one), 1, title)
            drawn = axis.imshow(one, cmap="RdBu_r", vmin=-top, vmax=top)
        figure.colorbar(drawn, ax=line[: len(differences)].tolist(), shrink=0.8, pad=0.01)
        grey = max(np.quantile(one, 0.998) for one in images[row].values())
        for axis, (title, one) in zip(line[len(differences) :], images[row].items(), strict=True):
            show(axis, one, grey, title)
        line[0].set_ylabel(row)
    return figure


def profiles(
    lines: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], seam: float
) -> Figure:
    """Values along image lines that cross a seam, a row a factor, a column a size (figure 4).

    Parameters
    ----------
    lines : mapping
        By row title and column title: ``(width,)`` of the whole slice and of the patches. Below
        them their difference is drawn; a row has one scale for either.
    seam : float
        Place of the seam on every line.
    """
    columns = max(len(row) for row in lines.values())
    figure, axes = plt.subplots(
        2 * len(lines),
        columns,
        figsize=(8.6, 3.4 * len(lines)),
        height_ratios=(3, 2) * len(lines),
        layout="constrained",
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set_visible(False)
    for number, (name, row) in enumerate(lines.items()):
        pair = axes[2 * number : 2 * number + 2]
        for (above, below), (title, (whole, pieces)) in zip(pair.T, row.items(), strict=False):
            above.plot(whole, label="whole slice", color="black", linewidth=2.2, alpha=0.5)
            above.plot(pieces, label="by patches", color=COLOURS[0], linewidth=1)
            below.plot(pieces - whole, color=COLOURS[0], linewidth=1)
            for axis in (above, below):
                axis.set_visible(True)
                axis.axvline(seam, color=COLOURS[7], linewidth=0.8, linestyle=":")
            above.set_title(f"{name}, {title}")
        pair[0, 0].set_ylabel("intensity")
        pair[1, 0].set_ylabel("patches - whole")
    for below in axes[-1]:
        below.set_xlabel("pixel along the line")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def reach_curves(curves: Mapping[str, pd.Series], expected: float) -> Figure:
    """Difference by distance from the nearest seam, and how far padding can reach in theory."""
    figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    for colour, (label, one) in zip(COLOURS, curves.items(), strict=False):
        axis.semilogy(one.index, one.clip(lower=1e-9), color=colour, marker=".", label=label)
    last = max(one.index.max() for one in curves.values())
    if expected <= 1.2 * last:
        axis.axvline(expected, color="black", linestyle=":", linewidth=0.8)
    axis.set_xlabel("pixels from the nearest seam")
    axis.set_ylabel("RMS of tiled - whole")
    axis.legend(frameon=False)
    return figure


def by_factor(
    rows: Sequence[Mapping], methods: Mapping[str, str], labels: Mapping[str, str]
) -> Figure:
    """Mean and 95 % interval of each metric by factor, a colour a method (figure 5).

    Parameters
    ----------
    rows : tidy value rows of contrast ``all``
    methods : name to name in print, in the order to draw
    labels : metric to label of its axis
    """
    figure, axes = plt.subplots(1, len(labels), figsize=(8.6, 2.9), layout="constrained")
    for axis, (metric, label) in zip(axes, labels.items(), strict=True):
        for place, (method, name) in enumerate(methods.items()):
            ours = [r for r in rows if r["method"] == method and r["metric"] == metric]
            ours = sorted(
                (r for r in ours if "against" not in r and r["contrast"] == "all"),
                key=lambda r: r["accel"],
            )
            x = np.array([r["accel"] for r in ours]) + 0.08 * (place - 1)
            value = np.array([r["value"] for r in ours])
            spread = np.abs(np.array([r["ci95"] for r in ours]).T - value)
            colour = COLOURS[7 if place == 0 else place - 1]
            axis.errorbar(x, value, spread, color=colour, marker="o", markersize=4, label=name)
        axis.set_xticks(sorted({r["accel"] for r in rows}))
        axis.set_xlabel("factor")
        axis.set_ylabel(label)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, frameon=False)
    return figure
