"""Figures of compressed coils: figures 4 (A) and 5 of Chen 2022, and how alike coils are."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS, show

__all__ = ["compressed_images", "likeness", "virtual_coils"]


def compressed_images(
    images: Mapping[str, np.ndarray], target: np.ndarray, name: str, gain: float
) -> Figure:
    """Images of compressed coils ``(height, width)`` above their errors, times ``gain``."""
    shown = {**images, name: target}
    height, width = target.shape
    size = 8.6 / len(shown)
    figure, axes = plt.subplots(
        2,
        len(shown),
        figsize=(8.6, 2 * size * height / width + 0.5),
        squeeze=False,
        layout="constrained",
    )
    top = float(np.quantile(target, 0.998))
    for axis, (title, image) in zip(axes.T, shown.items(), strict=True):
        show(axis[0], image, top, title)
        if title == name:
            axis[1].axis("off")
        else:
            show(axis[1], gain * np.abs(image - target), top)
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel(f"error x{gain:g}")
    return figure


def virtual_coils(images: Mapping[str, np.ndarray], profiles: Mapping[str, np.ndarray]) -> Figure:
    """A row for each scan: magnitudes of its coils (on one scale a row), then their sensitivities.

    Parameters
    ----------
    images, profiles : mapping
        By the scan's label: ``(coils, height, width)`` real, and the same between 0 and 1.
    """
    count = len(next(iter(images.values())))
    figure, axes = plt.subplots(
        len(images),
        2 * count,
        figsize=(8.6, len(images) * 8.6 / (2 * count) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    for number, (row, (label, coils)) in enumerate(zip(axes, images.items(), strict=True)):
        top = float(np.quantile(coils, 0.998))
        for k in range(count):
            coil, chart = (f"coil {k + 1}", f"map {k + 1}") if number == 0 else ("", "")
            show(row[k], coils[k], top, coil)
            show(row[count + k], profiles[label][k], 1, chart)
        row[0].set_ylabel(label)
    return figure


def likeness(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Correlation of the k-th coils over scans: mean and interval against k, a line a method.

    Parameters
    ----------
    table : pd.DataFrame
        ``method, k, value, lo, hi``.
    labels : mapping
        Names of the methods, in their order.
    """
    figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    for number, (method, label) in enumerate(labels.items()):
        part = table[table["method"] == method].sort_values("k")
        error = [part["value"] - part["lo"], part["hi"] - part["value"]]
        place = part["k"] + 0.06 * (number - 1)
        axis.errorbar(place, part["value"], error, marker="o", color=COLOURS[number], label=label)
    axis.axhline(0, color=COLOURS[-1], linewidth=0.8)
    axis.set_xticks(sorted(table["k"].unique()))
    axis.set_xlabel("coil k")
    axis.set_ylabel("correlation over scans")
    axis.legend(frameon=False)
    return figure
