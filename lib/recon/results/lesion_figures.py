"""Figures of known lesions: seen by every method, recovered, invented."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from recon.results.figures import COLOURS, gallery, show
from recon.results.lesion_tables import METRICS, varied

__all__ = ["by_size", "marked", "one_lesion", "paired_scans"]


def _window(shape: tuple[int, int], place: tuple[int, int], half: int) -> tuple[slice, slice]:
    starts = [min(max(at - half, 0), n - 2 * half) for at, n in zip(place, shape, strict=True)]
    return tuple(slice(start, start + 2 * half) for start in starts)


def one_lesion(
    images: Mapping[str, tuple[np.ndarray, np.ndarray]],
    place: tuple[int, int],
    half: int = 14,
    gain: float = 1,
    reference: str = "full",
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """One lesion under every method: the picture, a zoom without and with it, response and error.

    Parameters
    ----------
    images : mapping
        Name to the pictures ``(height, width)`` without and with lesions, on one scale.
    place : (row, column)
    half : int
        Half the side of the zoom.
    gain : float
        Response and error are multiplied by it; white is positive, black negative.
    reference : str
        The name whose pictures count as the truth.
    notes : mapping, optional
        A second line under each name.
    """
    shape = next(iter(images.values()))[0].shape
    window = _window(shape, place, half)
    columns = len(images)
    size = 8.6 / columns
    ratio = shape[0] / shape[1]
    figure, axes = plt.subplots(
        5,
        columns,
        figsize=(8.6, size * (4 + ratio) + 0.6),
        height_ratios=[ratio, 1, 1, 1, 1],
        squeeze=False,
        layout="constrained",
    )
    true = images[reference]
    top = float(np.quantile(true[1], 0.998))
    for axis, (name, (without, with_lesion)) in zip(axes.T, images.items(), strict=True):
        title = name if notes is None else f"{name}\n{notes.get(name, '')}"
        show(axis[0], with_lesion, top, title)
        corner = (window[1].start, window[0].start)
        axis[0].add_patch(
            Rectangle(corner, 2 * half, 2 * half, fill=False, edgecolor=COLOURS[4], linewidth=1)
        )
        show(axis[1], without[window], float(true[1][window].max()))
        show(axis[2], with_lesion[window], float(true[1][window].max()))
        for row, signed in ((3, with_lesion - without), (4, with_lesion - true[1])):
            show(axis[row], 0.5 + gain * signed[window] / top, 1)
    labels = ("with lesions", "without", "with", f"response x{gain:g}", f"error x{gain:g}")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    return figure


def paired_scans(
    pictures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], gain: float = 3
) -> Figure:
    """Pictures without and with lesions and acquired again; what lesions and noise change."""
    height, width = pictures[0][0].shape
    size = 8.6 / 4
    figure, axes = plt.subplots(
        len(pictures),
        4,
        figsize=(8.6, len(pictures) * size * height / width + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for axis, (without, with_lesions, again) in zip(axes, pictures, strict=True):
        top = float(np.quantile(without, 0.998))
        show(axis[0], without, top)
        show(axis[1], with_lesions, top)
        for place, change in ((2, with_lesions - without), (3, again - without)):
            show(axis[place], 0.5 + gain * change / top, 1)
    titles = ("without lesions", "with lesions", f"lesions x{gain:g}", f"noise x{gain:g}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    return figure


def by_size(rows: Iterable[Mapping[str, Any]], metric: str, methods: Mapping[str, str]) -> Figure:
    """A metric against the diameter: a panel an acceleration, a line a method.

    The strongest lesions are drawn solid with intervals, the weakest dashed without.
    """
    rows = [one for one in rows if varied(one, metric)]
    rates = sorted({one["accel"] for one in rows})
    strengths = sorted({one["strength"] for one in rows})
    strong, weak = strengths[-1], strengths[0]
    figure, axes = plt.subplots(
        1,
        len(rates),
        figsize=(min(8.6, 3.2 * len(rates) + 1.6), 3.1),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, rate in zip(axes[0], rates, strict=True):
        for number, (method, name) in enumerate(methods.items()):
            for strength, style in ((strong, "-"), (weak, "--")):
                line = [
                    one
                    for one in rows
                    if (one["accel"], one["method"], one["strength"]) == (rate, method, strength)
                ]
                line.sort(key=lambda one: one["diameter"])
                x = np.array([one["diameter"] for one in line]) + 0.05 * (number - 2)
                y = [one["value"] for one in line]
                colour = COLOURS[number % len(COLOURS)]
                label = name if style == "-" else None
                axis.plot(x, y, style, color=colour, marker="o", markersize=3, label=label)
                if style == "-" and line:
                    low, high = zip(*(one["ci95"] for one in line), strict=True)
                    axis.vlines(x, low, high, color=colour, linewidth=0.8)
            if strong == weak:
                continue
        axis.set_xlabel("diameter, pixels")
        axis.set_title(f"{rate:g}x" if rate else "")
    axes[0, 0].set_ylabel(METRICS[metric])
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(6, len(methods)),
        frameon=False,
    )
    return figure


def marked(
    images: Mapping[str, np.ndarray],
    spots: Mapping[str, tuple[np.ndarray, np.ndarray]],
    radius: float,
) -> Figure:
    """Pictures with circles: solid around what was invented, dashed around what was removed.

    Parameters
    ----------
    images : mapping
        Name to ``(height, width)``, on one scale.
    spots : mapping
        Name to invented and removed places, each ``(n, 2)`` rows and columns.
    radius : float
        Of the circles, pixels.
    """
    none = (np.empty((0, 2)), np.empty((0, 2)))
    counted = {
        name: f"{name}: {len(spots[name][0])} invented, {len(spots[name][1])} removed"
        for name in images
        if name in spots
    }
    figure = gallery({counted.get(name, name): x for name, x in images.items()}, columns=3)
    for axis, name in zip(figure.axes, images, strict=False):
        for places, style, colour in zip(
            spots.get(name, none), ("-", "--"), COLOURS[4:6], strict=True
        ):
            for row, column in places:
                axis.add_patch(
                    Circle((column, row), radius, fill=False, linestyle=style, edgecolor=colour)
                )
    return figure
