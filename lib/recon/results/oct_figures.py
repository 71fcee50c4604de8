"""B-scans on the page: panels on one grey scale, layer boundaries over them, zooms."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from recon.results.figures import COLOURS, show

__all__ = ["bscans", "frame_zoom", "layers", "zooms"]

WIDTH = 8.6  # inches of a page


def frame_zoom(boundaries: np.ndarray, shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Corner of a square of ``size`` pixels, in the middle columns, that the retina crosses.

    Parameters
    ----------
    boundaries : np.ndarray
        ``(layers, W)`` rows.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    (int, int)
        Row and column, within the image.
    """
    height, width = shape
    column = max(0, width // 2 - size // 4)
    retina = boundaries[:, column : column + size]
    row = round(float(np.median(retina)) - size / 2)
    return int(np.clip(row, 0, height - size)), int(np.clip(column, 0, width - size))


def bscans(
    images: Mapping[str, np.ndarray],
    columns: int = 4,
    boundaries: Mapping[str, np.ndarray] | None = None,
    names: Sequence[str] = (),
) -> Figure:
    """B-scans ``(H, W)`` in [0, 1] in a grid, black to white as the scanner shows them.

    Parameters
    ----------
    images : mapping
        By title.
    columns : int
    boundaries : mapping, optional
        By the same titles, ``(layers, W)`` rows to draw over the image.
    names : sequence of str
        Names of the boundaries, for a legend; those drawn are all of them.
    """
    rows, columns = -(-len(images) // columns), min(columns, len(images))
    height, width = next(iter(images.values())).shape
    size = WIDTH / columns
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (size * height / width + 0.25) + (0.5 if names else 0)),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(images) :]:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, images.items(), strict=False):
        show(axis, image, 1, title)
        for k, line in enumerate((boundaries or {}).get(title, ())):
            axis.plot(line, color=COLOURS[k % 6], linewidth=0.8, label=names[k] if names else None)
    if names:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(10, len(labels)), frameon=False
        )
    return figure


def layers(image: np.ndarray, boundaries: np.ndarray, names: Sequence[str]) -> Figure:
    """One B-scan beside itself with its boundaries ``(layers, W)``, named at the right edge.

    Names of lines that would lie on one another are moved apart.
    """
    height, width = image.shape
    figure, axes = plt.subplots(
        1, 2, figsize=(WIDTH, 0.46 * WIDTH * height / width + 0.2), layout="constrained"
    )
    show(axes[0], image, 1)
    show(axes[1], image, 1)
    # In rows, the height of a line of text on this figure.
    step = 9 / 72 * width / (0.42 * WIDTH)
    at = -np.inf
    for k, (name, line) in enumerate(zip(names, boundaries, strict=True)):
        axes[1].plot(line, color=COLOURS[k % 6], linewidth=0.9)
        at = max(float(line[-1]), at + step)
        axes[1].annotate(
            name,
            (width - 1, line[-1]),
            (1.03 * width, at),
            fontsize=7,
            color="black",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": COLOURS[k % 6]},
        )
    return figure


def zooms(
    images: Mapping[str, np.ndarray], corner: tuple[int, int], size: int, note: str = ""
) -> Figure:
    """B-scans ``(H, W)`` above the same square of each, all on the grey scale of the scanner.

    Parameters
    ----------
    images : mapping
        By title; a line of scores may follow the name in it.
    corner : (int, int)
        Row and column of the square: see `frame_zoom`.
    size : int
        Its side in pixels.
    note : str
        Label of the squares.
    """
    height, width = next(iter(images.values())).shape
    row, column = corner
    panel = WIDTH / len(images)
    figure, axes = plt.subplots(
        2,
        len(images),
        figsize=(WIDTH, panel * (height / width + 1) + 0.45),
        height_ratios=[height / width, 1],
        squeeze=False,
        layout="constrained",
    )
    for (top, bottom), (title, image) in zip(axes.T, images.items(), strict=True):
        show(top, image, 1, title)
        top.add_patch(
            Rectangle((column, row), size, size, fill=False, edgecolor=COLOURS[4], linewidth=1)
        )
        show(bottom, image[row : row + size, column : column + size], 1)
    axes[1, 0].set_ylabel(note)
    return figure
