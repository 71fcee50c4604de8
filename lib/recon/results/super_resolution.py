"""Tables and figures of the super-resolution chapters."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.claims import Paper
from recon.results.figures import COLOURS
from recon.results.html import Html, estimate, html_table, p_text

__all__ = [
    "chosen",
    "claimed_pairs",
    "count_rows",
    "differences",
    "family",
    "mean_loss",
    "neighbours",
    "on_front",
    "orders",
    "pareto",
    "places",
    "published",
    "table_one",
    "time_per_block",
]

DIGITS = {"psnr": 2, "ssim": 4}
FAMILIES = {
    "carn": ("CARN", COLOURS[0], "o"),
    "new_carn": ("New CARN", COLOURS[1], "s"),
    "counted": ("New CARN as counted", COLOURS[4], "D"),
    "srcnn": ("SRCNN", COLOURS[2], "^"),
    "bicubic": ("Bicubic", COLOURS[6], "x"),
}


def family(method: str) -> str:
    """The family of a method's key: ``new_carn`` of ``new_carn_3_8``."""
    return next(
        name for name in ("new_carn", "carn", "counted", "srcnn", "bicubic") if name in method
    )


def published(paper: Paper) -> pd.DataFrame:
    """Table 1: a line a method, with ``psnr, ssim, parameters, seconds`` where it gives them."""
    values: dict[str, dict[str, float]] = {}
    for table in paper.tables.values():
        for _, _, method, numbers in table.rows:
            for (metric, _), number in zip(table.columns, numbers, strict=True):
                values.setdefault(method, {})[metric] = number
    return pd.DataFrame(values).T


def chosen(rows: Iterable[Mapping[str, Any]], metric: str, scale: float) -> dict[str, Any]:
    """Value rows of a metric over all contrasts, by method."""
    return {
        row["method"]: row
        for row in rows
        if (row["metric"], row["contrast"], row["accel"]) == (metric, "all", scale)
        and "against" not in row
    }


def shown(row: Mapping[str, Any], sign: str = "") -> Html:
    """A value with its 95 % interval."""
    form = f"{sign}.{DIGITS.get(row['metric'], 3)}f"
    return estimate(f"{row['value']:{form}}", row["ci95"], form)


def table_one(rows: Sequence[Mapping[str, Any]], paper: Paper, scale: float) -> Html:
    """Every row of table 1, the paper's values beside these, and what only this book trained."""
    theirs = published(paper) if scale == 4 else pd.DataFrame()
    metrics = {m: chosen(rows, m, scale) for m in ("psnr", "ssim", "parameters", "seconds")}
    methods = [m for m in paper.methods if m in theirs.index or m in metrics["psnr"]]
    lines = []
    for method in methods:
        cells: list[Any] = [paper.methods[method]]
        for metric, ours in metrics.items():
            value = theirs[metric].get(method, np.nan) if metric in theirs else np.nan
            cells.append("–" if np.isnan(value) else _plain(metric, value))
            if method not in ours:
                cells.append("–")
            elif metric in DIGITS:
                cells.append(shown(ours[method]))
            else:
                cells.append(_plain(metric, ours[method]["value"]))
        lines.append(cells)
    columns = ["Model"]
    for name in ("PSNR", "SSIM", "Parameters", "Time, s"):
        columns += [f"{name}, paper", f"{name}, here"]
    scored = metrics["psnr"].values()
    origin = ", ".join(sorted({row["data"] for row in scored}))
    volumes = max(row["n"] for row in scored)
    caption = (
        f"Table 1 at x{scale:g}, beside this run on {origin} ({volumes} volumes, 95 % intervals)"
    )
    return html_table(caption, columns, lines)


def _plain(metric: str, value: float) -> str:
    if metric == "parameters":
        return f"{value:,.0f}"
    return f"{value:.{DIGITS.get(metric, 4)}f}"


def count_rows(counts: Mapping[str, Mapping], scale: float, bound: str = "") -> list[dict]:
    """Rows of what is counted, not measured: method to metric to number.

    `bound` names a method whose metrics less those of every other method get rows too.
    """
    fields = {"data": "any", "task": "count", "contrast": "all", "region": "full"}
    fields |= {"accel": scale, "effective_accel": float(scale), "n": 1, "unit": "network"}
    rows = []
    for method, metrics in counts.items():
        for metric, value in metrics.items():
            row = {**fields, "method": method, "metric": metric}
            rows.append({**row, "value": value, "ci95": [value, value]})
            if bound and method != bound and metric in counts[bound]:
                gap = {"value": counts[bound][metric] - value, "p_value": 1.0}  # exact: no test
                gap["ci95"] = [gap["value"]] * 2
                rows.append({**row, **gap, "method": bound, "against": method})
    return rows


def neighbours(paper: Paper, methods: Iterable[str]) -> list[tuple[str, str]]:
    """Each of the methods and the one below it in the table."""
    present = {*methods}
    ordered = [method for method in paper.methods if method in present]
    return [*itertools.pairwise(ordered)]


def claimed_pairs(paper: Paper, methods: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of methods that the paper's claims compare, the better-to-be first."""
    present = {*methods}
    parts = [part for claim in paper.claims for part in claim.parts if part.metric in DIGITS]
    pairs = [(part.methods[0], part.against) for part in parts if part.against]
    return [*dict.fromkeys(pair for pair in pairs if present.issuperset(pair))]


def mean_loss(history: Sequence[Mapping[str, float]], start: float, stop: float) -> float:
    """Mean loss of a part of a training, from and to shares of its steps."""
    count = len(history)
    part = history[int(start * count) : max(int(stop * count), int(start * count) + 1)]
    return float(np.mean([entry["loss"] for entry in part]))


def differences(
    rows: Iterable[Mapping[str, Any]], paper: Paper, pairs: Iterable[tuple[str, str]]
) -> Html:
    """Paired differences over volumes, PSNR and SSIM side by side, a line a pair."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if "against" in row and row["contrast"] == "all" and row["metric"] in DIGITS:
            found.setdefault((row["method"], row["against"]), {})[row["metric"]] = row
    lines = []
    for method, against in pairs:
        both = found[method, against]
        cells: list[Any] = [f"{paper.methods[method]} – {paper.methods[against]}"]
        for metric in DIGITS:
            cells += [shown(both[metric], "+"), p_text(both[metric]["p_value"])]
        lines.append(cells)
    caption = "Paired differences over volumes: mean, 95 % t interval, Wilcoxon's p"
    columns = ["Difference", "PSNR, dB", "p", "SSIM", "p"]
    return html_table(caption, columns, lines)


def pareto(
    scores: Mapping[str, float],
    costs: Mapping[str, Mapping[str, float]],
    label: str,
) -> Figure:
    """A score against several costs on log scales, a colour and mark a family, the front in grey.

    A method is on the front when none is both cheaper and better.

    Parameters
    ----------
    scores : mapping
        Method to score.
    costs : mapping
        Label of an axis to the costs of the methods; methods without a cost are left out there.
    label : str
        Of the score.
    """
    size = (8.6, 3.2)
    figure, axes = plt.subplots(1, len(costs), figsize=size, sharey=True, layout="constrained")
    for axis, (cost_label, cost) in zip(np.atleast_1d(axes), costs.items(), strict=True):
        methods = [method for method in scores if method in cost]
        for name, (words, colour, marker) in FAMILIES.items():
            own = [method for method in methods if family(method) == name]
            if own:
                points = [cost[m] for m in own], [scores[m] for m in own]
                axis.plot(*points, marker, color=colour, label=words, markersize=5)
        front = on_front({m: (cost[m], scores[m]) for m in methods})
        places = [cost[m] for m in front], [scores[m] for m in front]
        axis.step(*places, where="post", color=COLOURS[7], linewidth=0.8, zorder=0)
        axis.set_xscale("log")
        axis.set_xlabel(cost_label)
        axis.margins(x=0.12)
    first = np.atleast_1d(axes)[0]
    first.set_ylabel(label)
    handles = first.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, frameon=False)
    return figure


def on_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points (cost, score) that none beats in both, cheapest first."""
    best, front = -np.inf, []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if points[name][1] > best:
            best = points[name][1]
            front.append(name)
    return front


def time_per_block(values: pd.Series, stem: str, channels: int) -> float:
    """Slope of a column of table 1 over the blocks of ``stem_<blocks>_<channels>``, from 3 on."""
    blocks, numbers = [], []
    for method, value in values.dropna().items():
        parts = str(method).rsplit("_", 2)
        if parts[0] == stem and parts[-1] == str(channels) and int(parts[1]) > 1:
            blocks.append(int(parts[1]))
            numbers.append(float(value))
    return float(np.polyfit(blocks, numbers, 1)[0])


def orders(
    rows: Sequence[Mapping[str, Any]], paper: Paper, scale: float, baseline: str = "bicubic"
) -> Html:
    """Order of the methods on each data set and contrast.

    Kendall's tau is with the first line, all contrasts of the first data set, and at x4 with the
    paper's table.
    """
    from recon.results.order import rank_correlation  # draws in scipy.stats

    groups: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["metric"] == "psnr" and row["accel"] == scale and "against" not in row:
            groups.setdefault((row["data"], row["contrast"]), {})[row["method"]] = row["value"]
    # Each data set's mean over all contrasts comes before them.
    sets = [data for data, _ in groups]
    groups = dict(sorted(groups.items(), key=lambda g: (sets.index(g[0][0]), g[0][1] != "all")))
    theirs = published(paper)["psnr"].dropna().to_dict()
    reference: dict[str, float] = {}
    lines = []
    for (data, contrast), values in groups.items():
        reference = reference or values
        best = sorted(values, key=values.__getitem__, reverse=True)
        cells = [data, contrast, ", ".join(paper.methods[m] for m in best[:4])]
        cells.append(f"{best.index(baseline) + 1} of {len(best)}")
        for other in (reference, theirs if scale == 4 else {}):
            if len({*other} & {*values}) < 2 or other is values:
                cells.append("–")
                continue
            tau, p = rank_correlation(values, other)
            cells.append(f"{tau:+.2f} (p {p:.3f})")
        lines.append(cells)
    columns = ["Data", "Contrast or plane", "Best four, PSNR", "Place of bicubic"]
    columns += ["tau with the first line", "tau with the paper"]
    return html_table("Order of the models by PSNR, and Kendall's tau", columns, lines, headers=2)


def places(rows: Sequence[Mapping[str, Any]], paper: Paper, scale: float, where: str) -> Html:
    """PSNR of every model and its place, a column for each data set, contrast or plane.

    Parameters
    ----------
    rows : rows of one run
    paper : for the models' names and order
    scale : factor of the enlargement
    where : the run in words, for the caption
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if row["metric"] == "psnr" and row["accel"] == scale and "against" not in row:
            groups.setdefault((row["data"], row["contrast"]), {})[row["method"]] = row
    columns, cells = ["Model"], []
    for (data, contrast), found in groups.items():
        count = {f"{row['n']} {row['unit']}{'s' * (row['n'] > 1)}" for row in found.values()}
        columns.append(f"{data}, {contrast} ({', '.join(count)})")
        best = sorted(found, key=lambda name: found[name]["value"], reverse=True)
        cells.append({m: f"{found[m]['value']:.2f} ({best.index(m) + 1})" for m in best})
    lines = [
        [paper.methods[method], *(column[method] for column in cells)]
        for method in paper.methods
        if method in cells[0]
    ]
    return html_table(f"PSNR in dB, and place among the models, {where}", columns, lines)
