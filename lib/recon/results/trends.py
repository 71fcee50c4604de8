"""Does a score rise or fall with something else about a scan? Rank correlations, and a picture."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import ndtri
from scipy.stats import spearmanr

from recon.results.figures import COLOURS
from recon.results.rows import one_head


def rank_trend(
    x: Sequence[float], y: Sequence[float], confidence: float = 0.95
) -> tuple[float, tuple[float, float], float]:
    """Spearman's rank correlation, its interval, and its two-sided p-value.

    The interval is Fisher's z with the variance ``(1 + rho^2 / 2) / (n - 3)`` (Bonett & Wright
    2000); ranks that agree in full count there as if two neighbours had changed places. Fewer than
    four scans have the interval from -1 to 1. Where x or y does not vary there is no correlation:
    all are NaN.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, (np.nan, np.nan), np.nan
    found = spearmanr(x, y)
    rho, largest = float(found.statistic), 1 - 12 / (n * (n**2 - 1))
    if n < 4:
        return rho, (-1.0, 1.0), float(found.pvalue)
    z = np.arctanh(np.clip(rho, -largest, largest))
    half = float(ndtri((1 + confidence) / 2)) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = min(rho, np.tanh(z - half)), max(rho, np.tanh(z + half))
    return rho, (float(low), float(high)), float(found.pvalue)


def trend_table(table: pd.DataFrame, x: str, data: str = "") -> pd.DataFrame:
    """`rank_trend` of every other column of ``table`` against the column ``x``: a line each.

    On slabs of one head (`data`) nothing is tested: p is NaN.
    """
    lines = {}
    for name in table.columns.drop(x):
        value, (low, high), p = rank_trend(table[x], table[name])
        p = np.nan if one_head(data) else p
        lines[name] = {"rho": value, "low": low, "high": high, "p": p, "scans": len(table)}
    return pd.DataFrame(lines).T.astype({"scans": int})


def within(table: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Every column minus the mean of its group: what is left to correlate inside the groups.

    Where groups differ in x and in y, scans of all groups together may show a trend that no group
    has. (Intervals and p-values of what is left take the means for known.)
    """
    return table - table.groupby(np.asarray(groups)).transform("mean")


def scatter_grid(
    table: pd.DataFrame,
    x: str,
    groups: Sequence[str],
    labels: Mapping[str, str],
    titles: Mapping[str, str],
    columns: int = 4,
) -> Figure:
    """One small scatter plot against ``x`` for each other column, points coloured by group.

    Parameters
    ----------
    table : pd.DataFrame
        A line a scan: ``x`` and the columns to plot.
    groups : sequence of str
        The group of each line.
    labels : mapping
        ``x`` and ``y``: what the axes measure.
    titles : mapping
        Of the plots, by column, in their order.
    """
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(8.6, 2.0 * rows + 0.6),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axis in axes.flat[len(titles) :]:
        axis.axis("off")
    groups = np.asarray(groups)
    for axis, (name, title) in zip(axes.flat, titles.items(), strict=False):
        for colour, group in zip(COLOURS, dict.fromkeys(groups), strict=False):
            part = table[groups == group]
            axis.plot(part[x], part[name], ".", color=colour, label=group)
        axis.axhline(0, color=COLOURS[-1], linewidth=0.8)
        axis.set_title(title)
    figure.supxlabel(labels["x"])
    figure.supylabel(labels["y"])
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=8, frameon=False
    )
    return figure
