"""Figures of processed k-space: what a crime does, and what it brings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from recon.results.figures import COLOURS, busiest_window, show

__all__ = ["accelerations", "flattery", "pictures", "scene", "triptych"]

FLOOR = 5.0  # decades of k-space that are shown


def scene(picture: np.ndarray, kspace: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What `pictures` draws of one slice.

    Parameters
    ----------
    picture : np.ndarray
        ``(height, width)``.
    kspace : np.ndarray
        ``(H, W)`` complex, centred; of the first coil where there are several.
    mask : np.ndarray
        ``(W,)`` bool.
    """
    decades = np.log10(np.maximum(np.abs(kspace) / np.abs(kspace).max(), 10.0**-FLOOR)) + FLOOR
    return {"picture": picture, "kspace": decades, "measured": np.where(mask, decades, 0)}


def pictures(scenes: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """A column a data set: the picture, log-magnitude of its k-space, and what the mask hits."""
    figure, axes = plt.subplots(
        3, len(scenes), figsize=(8.6, 1.03 * 8.6 * 3 / len(scenes) + 0.4), layout="constrained"
    )
    axes = np.reshape(axes, (3, len(scenes)))
    for column, (title, one) in zip(axes.T, scenes.items(), strict=True):
        show(column[0], one["picture"], float(np.quantile(one["picture"], 0.998)), title)
        for axis, kind in zip(column[1:], ("kspace", "measured"), strict=True):
            show(axis, one[kind], FLOOR, cmap="magma")
            axis.set_aspect(one[kind].shape[1] / one[kind].shape[0])
    for axis, label in zip(axes[:, 0], ("picture", "k-space (log)", "measured"), strict=True):
        axis.set_ylabel(label)
    return figure


def accelerations(factors: Sequence[float], curves: Mapping[str, np.ndarray]) -> Figure:
    """Acceleration over acquired columns by padding factor; ``(factors, draws)`` a curve."""
    figure, axis = plt.subplots(figsize=(5.6, 2.9), layout="constrained")
    for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
        low, high = np.quantile(values, [0.05, 0.95], axis=1)
        axis.fill_between(factors, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.plot(factors, values.mean(1), "o-", color=colour, label=name)
    axis.set_xlabel("padding")
    axis.set_ylabel("acceleration over\nacquired columns")
    axis.legend(frameon=False)
    return figure


def flattery(
    rows: Iterable[Mapping[str, Any]],
    crimes: Mapping[str, str],
    names: Mapping[str, str],
    published: tuple[float, float],
    comparison: str = "honest",
) -> Figure:
    """Flattery of every crime with its interval, a colour a method; the published range in grey."""
    rows = [
        r
        for r in rows
        if r["metric"] == "flattery" and r["comparison"] == comparison and r["tested"] in crimes
    ]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    order = [crime for crime in crimes if any(r["tested"] == crime for r in rows)][::-1]
    figure, axis = plt.subplots(figsize=(7.6, 0.42 * len(order) + 1.2), layout="constrained")
    axis.axvspan(*published, color=COLOURS[7], alpha=0.25, linewidth=0, label="published")
    axis.axvline(0, color="black", linewidth=0.8)
    for i, method in enumerate(methods):
        place = 0.3 - 0.6 * i / max(1, len(methods) - 1)
        own = [r for r in rows if r["method"] == method]
        y = [order.index(r["tested"]) + place for r in own]
        x = np.array([r["value"] for r in own])
        reach = np.abs(np.array([r["ci95"] for r in own]).T - x)
        style = {"color": COLOURS[i], "markersize": 4, "linewidth": 1.2}
        axis.errorbar(x, y, xerr=reach, fmt="o", label=names.get(method, method), **style)
    axis.set_yticks(range(len(order)), [crimes[crime] for crime in order])
    axis.set_xlabel("NRMSE lower by (%)")
    figure.legend(loc="outside upper center", ncols=min(6, len(methods) + 1), frameon=False)
    return figure


def triptych(views: Mapping[str, tuple[np.ndarray, np.ndarray]], gain: float = 5) -> Figure:
    """A column a view: reconstruction, zoom of it, of its target, and the error times ``gain``.

    Parameters
    ----------
    views : mapping
        Title to image and target ``(height, width)``, over the target's maximum. Sizes may differ;
        the zoom shows the same part of each.
    """
    figure, axes = plt.subplots(4, len(views), figsize=(6.4, 8.4), layout="constrained")
    axes = np.reshape(axes, (4, len(views)))
    shape = np.array(next(iter(views.values()))[1].shape)
    corner = np.array(busiest_window(next(iter(views.values()))[1], shape.min() // 4)) / shape
    for column, (title, (image, target)) in zip(axes.T, views.items(), strict=True):
        top = float(np.quantile(target, 0.998))
        size = min(target.shape) // 4
        row, left = (corner * target.shape).astype(int)
        part = (slice(row, row + size), slice(left, left + size))
        error = np.sqrt(np.mean((image - target) ** 2))
        show(column[0], image, top, f"{title}\nerror {100 * error:.2f} %")
        frame = {"fill": False, "edgecolor": "#E69F00", "linewidth": 1}
        column[0].add_patch(Rectangle((left, row), size, size, **frame))
        show(column[1], image[part], top)
        show(column[2], target[part], top)
        show(column[3], gain * np.abs(image - target), top)
    labels = ("reconstruction", "zoom", "its target", f"error x{gain:g}")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    return figure
