"""Figures of the denoising chapters: masks, residuals, scores, feature maps, tracked borders."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from recon.results.figures import COLOURS, show

__all__ = ["bars", "borders", "channels", "maps", "masks", "residuals", "training"]

WIDTH = 8.6  # inches of a page


def masks(image: np.ndarray, retina: np.ndarray, signal: Sequence[np.ndarray]) -> Figure:
    """How regions are found, as figure A.3: the image, the retina's contour, the regions.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``, seen through its window.
    retina : np.ndarray
        ``(H, W)`` bool.
    signal : sequence of np.ndarray
        ``(H, W)`` bool each.
    """
    height, width = image.shape
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH, WIDTH / 3 * height / width + 0.3), layout="constrained"
    )
    show(axes[0], image, 1, "in its window")
    show(axes[1], image, 1, "contours: retina, signal")
    axes[1].contour(retina, [0.5], colors=[COLOURS[5]], linewidths=1)
    for region in signal:
        axes[1].contour(region, [0.5], colors=[COLOURS[4]], linewidths=1)
    regions = np.where(retina, 0.5, 0.0)
    for region in signal:
        regions[region] = 1
    show(axes[2], regions, 1, "black: background, white: signal")
    return figure


def residuals(
    images: Mapping[str, np.ndarray],
    noisy: np.ndarray,
    corner: tuple[int, int],
    size: int,
    gain: float = 4,
    kept: Sequence[str] = (),
) -> Figure:
    """B-scans, the same square of each, and what each method took away.

    Parameters
    ----------
    images : mapping
        ``(H, W)`` in [0, 1] by title.
    noisy : np.ndarray
        ``(H, W)``, what they were made from.
    corner, size : (int, int), int
        Of the square.
    gain : float
        Grey in the last row is ``0.5 + gain * (noisy - denoised)``.
    kept : sequence of str
        Titles without a residual: other acquisitions.
    """
    height, width = noisy.shape
    row, column = corner
    panel = min(WIDTH / len(images), 1.72)  # grain fills files: no larger than it has to be
    figure, axes = plt.subplots(
        3,
        len(images),
        figsize=(panel * len(images), panel * (2 * height / width + 1) + 0.5),
        height_ratios=[height / width, 1, height / width],
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, image) in zip(axes.T, images.items(), strict=True):
        show(axis[0], image, 1, title)
        axis[0].add_patch(
            Rectangle((column, row), size, size, fill=False, edgecolor=COLOURS[4], linewidth=1)
        )
        show(axis[1], image[row : row + size, column : column + size], 1)
        if title in kept:
            axis[2].axis("off")
        else:
            show(axis[2], 0.5 + gain * (noisy - image), 1)
    return figure


def bars(table: pd.DataFrame, label: str, log: bool = False) -> Figure:
    """Grouped bars: a group a row of the table, a colour a column.

    Values may come with bounds in columns named ``lo`` and ``hi`` below the second level of the
    columns, as ``table["HDcycleGAN", "lo"]``; one level of columns has none.
    """
    names = list(dict.fromkeys(table.columns.get_level_values(0)))
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        places = np.arange(len(table)) + (index - (len(names) - 1) / 2) * width
        part = table[name]
        if isinstance(part, pd.DataFrame):
            miss = np.abs(part[["lo", "hi"]].to_numpy().T - part["value"].to_numpy())
            axis.bar(places, part["value"], width, yerr=miss, color=COLOURS[index], label=name)
        else:
            axis.bar(places, part, width, color=COLOURS[index], label=name)
    axis.set_xticks(range(len(table)), table.index)
    axis.set_ylabel(label)
    if log:
        axis.set_yscale("log")
    if len(names) > 1:
        figure.legend(loc="outside upper center", frameon=False, ncols=min(3, len(names)))
    return figure


def channels(measured: Mapping[str, Mapping[str, np.ndarray]], labels: Mapping[str, str]) -> Figure:
    """Every channel of every layer as a point, one panel a measure, the layer's mean in black.

    Parameters
    ----------
    measured : mapping
        Layer to measure to ``(channels,)``.
    labels : mapping
        Measure to the label of its axis.
    """
    figure, axes = plt.subplots(
        1, len(labels), figsize=(WIDTH, 2.9), layout="constrained", squeeze=False
    )
    rng = np.random.default_rng(0)
    for axis, (metric, label) in zip(axes[0], labels.items(), strict=True):
        for place, values in enumerate(measured.values()):
            spread = rng.uniform(-0.25, 0.25, len(values[metric]))
            axis.plot(place + spread, values[metric], ".", color=COLOURS[5], markersize=3)
            axis.plot(place, values[metric].mean(), "o", color="black", markersize=5)
        axis.set_xticks(range(len(measured)), measured, rotation=60, ha="right")
        axis.set_ylabel(label)
        axis.set_ylim(0, 1)
    return figure


def maps(image: np.ndarray, features: Mapping[str, np.ndarray]) -> Figure:
    """Feature maps as figure 3: over the image, and alone.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``.
    features : mapping
        ``(H, W)`` by title.
    """
    height, width = image.shape
    panel = WIDTH / len(features)
    figure, axes = plt.subplots(
        2,
        len(features),
        figsize=(WIDTH, 2 * panel * height / width + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for (top, bottom), (title, feature) in zip(axes.T, features.items(), strict=True):
        scaled = (feature - feature.min()) / max(float(np.ptp(feature)), 1e-9)
        show(top, image, 1, title)
        top.imshow(scaled, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        show(bottom, scaled, 1)
    return figure


def borders(images: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Tracked lines over B-scans, as figure A.11, with the true borders.

    Parameters
    ----------
    images : mapping
        Title to B-scan ``(H, W)``, skeleton ``(H, W)`` bool, and true rows ``(2, W)``.
    """
    height, width = next(iter(images.values()))[0].shape
    panel = WIDTH / len(images)
    figure, axes = plt.subplots(
        1,
        len(images),
        figsize=(WIDTH, panel * height / width + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, (image, lines, true)) in zip(axes[0], images.items(), strict=True):
        show(axis, image, 1, title)
        for line in true:
            axis.plot(line, color=COLOURS[5], linewidth=1, label="truth (ILM, RPE)")
        rows, columns = np.nonzero(lines)
        axis.plot(columns, rows, ".", color=COLOURS[4], markersize=1.5, label="skeleton")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(
        unique.values(), unique.keys(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def training(histories: Mapping[str, Sequence[Mapping[str, float]]], smooth: int = 10) -> Figure:
    """Parts of the loss, and what the discriminators take images for, by step.

    Parameters
    ----------
    histories : mapping
        Of `recon.learning.translation.fit_translation`, by name: the first drawn solid, the second
        dashed.
    smooth : int
        Steps that a mean runs over.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")
    panels = (("cycle", "generator", "discriminator", "copy"), ("real_as_real", "fake_as_real"))
    for style, (name, history) in zip(("-", "--"), histories.items(), strict=False):
        for axis, parts in zip(axes, panels, strict=True):
            for colour, part in zip(COLOURS, parts, strict=False):
                held = [(entry["step"], entry[part]) for entry in history if part in entry]
                if not held:
                    continue
                steps, values = np.array(held).T
                window = min(smooth, len(values))
                mean = np.convolve(values, np.ones(window) / window, mode="valid")
                label = f"{part.replace('_', ' ')}, {name}"
                place = COLOURS.index(colour) + (4 if axis is axes[1] else 0)
                axis.plot(steps[window - 1 :], mean, style, color=COLOURS[place], label=label)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("part of the loss")
    axes[1].set_ylabel("mean probability")
    axes[1].set_ylim(0, 1)
    for axis in axes:
        axis.set_xlabel("step")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=4)
    return figure
