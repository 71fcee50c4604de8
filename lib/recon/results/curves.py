"""Scores against a setting, with intervals over volumes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from recon.results.figures import COLOURS
from recon.results.statistics import interval

__all__ = ["interval_curves"]


def interval_curves(
    curves: Mapping[str, Mapping[float, Sequence[float]]], xlabel: str, ylabel: str
) -> Figure:
    """Means and 95 % t intervals of scores per volume, a curve a name.

    Parameters
    ----------
    curves : mapping
        By name, the scores of every volume at each setting: ``{"trained": {1: [...], 5: [...]}}``.
    xlabel, ylabel : str
        Of the axes.
    """
    figure, axis = plt.subplots(figsize=(6.5, 2.9), layout="constrained")
    shift = 0.04 * np.arange(len(curves))  # so that intervals do not hide each other
    for colour, offset, (name, points) in zip(COLOURS, shift, curves.items(), strict=False):
        places = np.array(sorted(points), dtype=float)
        values = [np.asarray(points[place]) for place in sorted(points)]
        means = np.array([value.mean() for value in values])
        bounds = np.array([interval(value) for value in values]).T
        axis.errorbar(
            places + offset,
            means,
            yerr=np.abs(bounds - means),
            color=colour,
            marker="o",
            capsize=2,
            label=name,
        )
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.legend(frameon=False)
    return figure
