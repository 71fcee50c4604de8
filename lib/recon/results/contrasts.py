"""Scores by contrast: who leads where, which contrast is hardest, and how each looks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from recon.results.claims import Paper
from recon.results.figures import busiest_window, show
from recon.results.html import Html, html_table, p_text
from recon.results.order import rank_correlation
from recon.results.tables import NAMES, fitting_experiments, shown
from recon.results.verdicts import METRICS


def _contrasts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Contrasts of rows in the order of the rows, without ``all``."""
    return [name for name in dict.fromkeys(row["contrast"] for row in rows) if name != "all"]


def leads(rows: Sequence[Mapping[str, Any]], favourite: str, metric: str) -> Html:
    """How far one method is ahead of each other one, contrast by contrast (body).

    Parameters
    ----------
    rows : rows of one run, with paired differences of ``favourite``
    favourite : the method
    metric : ``psnr`` or ``ssim``
    """
    found = {
        (row["against"], row["contrast"]): row
        for row in rows
        if row["method"] == favourite and "against" in row
        if row["metric"] == metric and row["region"] == "body"
    }
    columns = [*_contrasts(rows), "all"]
    lines = []
    for other in dict.fromkeys(against for against, _ in found):
        cells = [found.get((other, contrast)) for contrast in columns]
        lines.append(
            [
                NAMES.get(other, other),
                *(
                    "–"
                    if row is None
                    else Html(f"{shown(row, '+')} p = {p_text(row['p_value'], '.2g')}")
                    for row in cells
                ),
            ]
        )
    sizes = {row["contrast"]: row["n"] for row in found.values()}
    heads = [f"{'All' if name == 'all' else name} (n = {sizes.get(name, 0)})" for name in columns]
    caption = (
        f"{METRICS[metric]} of {NAMES.get(favourite, favourite)} minus that of each other method: "
        "mean, 95 % interval, Wilcoxon signed-rank test"
    )
    return html_table(caption, ["Minus", *heads], lines)


def hardest(
    rows: Sequence[Mapping[str, Any]],
    paper: Paper,
    table: str,
    accel: float,
    stand_in: Mapping[str, str],
) -> Html:
    """Contrasts from the hardest to the easiest for each method, here and in a published table.

    Parameters
    ----------
    rows, paper, table, accel, stand_in : as for `recon.results.order.same_order`
    """
    published = paper.tables[table]
    fitting = fitting_experiments(paper, rows)
    theirs: dict[tuple[str, str], dict[str, float]] = {}
    for experiment, contrast, method, values in published.rows:
        if contrast != "all" and (experiment in fitting or not fitting):
            for (metric, column), value in zip(published.columns, values, strict=True):
                if column == accel:
                    theirs.setdefault((metric, method), {})[contrast] = value
    ours: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        wanted = row["accel"] == accel and row["region"] == "body" and "against" not in row
        if wanted and row["contrast"] != "all" and row["metric"] in ("psnr", "ssim"):
            scores = ours.setdefault((row["metric"], row["method"]), {})
            scores[row["contrast"]] = row["value"]
    lines = []
    for (metric, method), scores in sorted(ours.items(), key=lambda one: _place(*one[0])):
        other = theirs.get((metric, stand_in.get(method, method)), {})
        common = len({*scores} & {*other})
        tau = f"{rank_correlation(scores, other)[0]:+.2f}" if common > 1 else "–"
        lines.append(
            [METRICS[metric], NAMES.get(method, method), _upward(scores), _upward(other), tau]
        )
    columns = ["Metric", "Method", "Hardest first, here", "Hardest first, in the paper", "tau"]
    caption = f"Contrasts by score at {accel:g}x, the lowest first, and Kendall's tau of the orders"
    return html_table(caption, columns, lines, headers=2)


def _place(metric: str, method: str) -> tuple[str, int]:
    return metric, [*NAMES, method].index(method)


def _upward(scores: Mapping[str, float]) -> str:
    """Contrasts in rising order, with ``=`` between those that are level."""
    names = sorted(scores, key=scores.__getitem__)
    text = names[0] if names else "–"
    for before, name in pairwise(names):
        text += f" {'=' if scores[name] == scores[before] else '<'} {name}"
    return text


def contrast_rows(
    images: Mapping[str, Mapping[str, np.ndarray]],
    targets: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, str]],
    gain: float = 5,
) -> Figure:
    """Figure 6 of Chen 2022: two rows a contrast, a zoom of each method and its error.

    Parameters
    ----------
    images : mapping
        Images ``(height, width)`` by contrast, then by method's name in print.
    targets : mapping
        By contrast; shown whole at the left, and zoomed beside the methods.
    scores : mapping
        A line under each method's name, by contrast and method.
    gain : float
        Errors are multiplied by this and shown on the grey scale of the zooms.
    """
    methods = list(next(iter(images.values())))
    columns, rows = len(methods) + 2, 2 * len(images)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(11, 11 / columns * rows + 0.2 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.axis("off")
    for pair, (contrast, target) in zip(axes.reshape(-1, 2, columns), targets.items(), strict=True):
        side = max(16, min(target.shape) * 3 // 8)
        row, column = busiest_window(target, side)
        window = (slice(row, row + side), slice(column, column + side))
        # Fat at the rim is brighter than all within: whole and zoom have a scale of their own.
        whole, top = (float(np.quantile(part, 0.998)) for part in (target, target[window]))
        shown_here = {"target": target, **images[contrast]}
        pair[0, 0].axis("on")
        show(pair[0, 0], target, whole, contrast)
        pair[0, 0].add_patch(
            Rectangle((column, row), side, side, fill=False, edgecolor="#E69F00", linewidth=1)
        )
        for place, (name, image) in enumerate(shown_here.items(), start=1):
            line = scores[contrast].get(name, "")
            pair[0, place].axis("on")
            show(pair[0, place], image[window], top, f"{name}\n{line}")
            if name != "target":
                pair[1, place].axis("on")
                show(pair[1, place], gain * np.abs(image - target)[window], top)
        pair[1, 1].text(0.98, 0.5, f"error x{gain:g}", ha="right", va="center")
    return figure


def folding(
    spreads: Mapping[str, np.ndarray], images: Mapping[str, np.ndarray], labels: Mapping[str, str]
) -> Figure:
    """Point spread functions of masks above the zero-filled images they give.

    Parameters
    ----------
    spreads : mapping
        ``(width,)`` by mask, see `recon.physics.spread.point_spread`.
    images : mapping
        ``(height, width)`` by mask, on one grey scale.
    labels : mapping
        Titles, by mask.
    """
    figure, axes = plt.subplots(
        2,
        len(spreads),
        figsize=(8.6, 4.6),
        height_ratios=[1, 1.5],
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    top = max(np.quantile(image, 0.998) for image in images.values())
    for column, name in zip(axes.T, spreads, strict=True):
        width = len(spreads[name])
        column[0].plot(np.arange(width) - width // 2, spreads[name], color="#0072B2", linewidth=1)
        column[0].set_yscale("log")
        column[0].set_ylim(1e-3, 1.3)
        column[0].set_title(labels[name])
        column[0].set_xlabel("pixels from the point")
        show(column[1], images[name], top)
    axes[0, 0].set_ylabel("height over the point's")
    return figure
