"""Figures of the book: one grey scale a row of images, error maps whose scale is stated."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

plt.rcParams.update(
    {
        "figure.dpi": 88,
        "savefig.dpi": 110,
        "font.size": 9,
        "axes.titlesize": 9,
        "image.interpolation": "nearest",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
# Colour-blind safe (Okabe and Ito), one a method across the book.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def show(axis: plt.Axes, image: np.ndarray, maximum: float, title: str = "", cmap="gray") -> None:
    """One image without axes, grey from 0 to ``maximum``."""
    axis.imshow(image, cmap=cmap, vmin=0, vmax=maximum)
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def gallery(
    images: dict[str, np.ndarray],
    columns: int = 4,
    cmap="gray",
    shared=True,
    white: float | None = None,
) -> Figure:
    """Images ``(height, width)`` in a grid, on one grey scale unless ``shared`` is false.

    The scale ends at ``white``, or where the brightest image nearly does.
    """
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    height, width = np.shape(next(iter(images.values())))
    size = 8.6 / columns
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(8.6, rows * (size * height / width + 0.3)),
        squeeze=False,
        layout="constrained",
    )
    top = white or max(np.quantile(image, 0.998) for image in images.values())
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, images.items(), strict=False):
        axis.axis("on")
        show(axis, image, top if shared else np.quantile(image, 0.998), title, cmap)
    return figure


def busiest_window(target: np.ndarray, size: int) -> tuple[int, int]:
    """Corner (row, column) of the window, in the middle half, with the most detail."""
    detail = np.hypot(*np.gradient(target))
    height, width = target.shape
    best, corner = -1.0, (0, 0)
    for top in range(height // 5, max(height // 5 + 1, 4 * height // 5 - size), max(1, size // 4)):
        for left in range(
            width // 5, max(width // 5 + 1, 4 * width // 5 - size), max(1, size // 4)
        ):
            total = detail[top : top + size, left : left + size].sum()
            if total > best:
                best, corner = total, (top, left)
    return corner


def comparison(
    images: dict[str, np.ndarray],
    target: np.ndarray,
    gain: float = 5,
    scores: dict[str, str] | None = None,
) -> Figure:
    """Reconstructions, a zoom of each, and error maps: the layout of figures 2 and 3 of Chen 2022.

    Parameters
    ----------
    images : dict
        Method name to image ``(height, width)``.
    target : np.ndarray
        ``(height, width)``, shown last.
    gain : float
        Errors are multiplied by this and shown on the grey scale of the images.
    scores : dict, optional
        A line under each method's name.
    """
    shown = {**images, "target": target}
    columns = len(shown)
    height, width = target.shape
    size = 8.6 / columns
    figure, axes = plt.subplots(
        3,
        columns,
        figsize=(8.6, size * (2 * height / width + 1) + 0.7),
        height_ratios=[height / width, 1, height / width],
        squeeze=False,
        layout="constrained",
    )
    top = float(np.quantile(target, 0.998))
    zoom = max(16, min(height, width) // 4)
    row, column = busiest_window(target, zoom)
    for axis, (name, image) in zip(axes.T, shown.items(), strict=True):
        line = (scores or {}).get(name, "")
        show(axis[0], image, top, f"{name}\n{line}" if scores else name)
        axis[0].add_patch(
            Rectangle((column, row), zoom, zoom, fill=False, edgecolor="#E69F00", linewidth=1)
        )
        show(axis[1], image[row : row + zoom, column : column + zoom], top)
        if name == "target":
            axis[2].axis("off")
        else:
            show(axis[2], gain * np.abs(image - target), top)
    for axis, label in zip(axes[:, 0], ("image", "zoom", f"error x{gain:g}"), strict=True):
        axis.set_ylabel(label)
    return figure


def training_curves(histories: dict[str, Sequence[dict]], smooth: int = 20) -> Figure:
    """Loss against steps and against seconds, a running mean over ``smooth`` steps."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 2.8), layout="constrained", sharey=True)
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        loss = np.array([entry["loss"] for entry in history])
        window = min(smooth, len(loss))
        mean = np.convolve(loss, np.ones(window) / window, mode="valid")
        for axis, key in zip(axes, ("step", "seconds"), strict=True):
            x = [entry[key] for entry in history]
            axis.plot(x, loss, color=colour, alpha=0.15, linewidth=0.7)
            axis.plot(x[window - 1 :], mean, color=colour, label=name)
            axis.set_xlabel(key)
    axes[0].set_ylabel("loss (equation 14)")
    axes[0].set_yscale("log")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(7, len(histories)),
        frameon=False,
    )
    return figure


def paired_scores(table: pd.DataFrame, label: str) -> Figure:
    """Score of every volume (row), joined over the methods (columns), and the mean in black."""
    figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    places = range(len(table.columns))
    axis.plot(places, table.to_numpy().T, color=COLOURS[5], alpha=0.5, linewidth=0.8)
    axis.plot(places, table.mean(), color="black", marker="o", label="mean")
    crowded = len(table.columns) > 5
    axis.set_xticks(
        places, table.columns, rotation=20 if crowded else 0, ha="right" if crowded else "center"
    )
    axis.set_ylabel(label)
    axis.legend(frameon=False)
    return figure
