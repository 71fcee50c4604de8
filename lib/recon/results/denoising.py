"""Tables of the denoising chapters, and rows that only they have."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recon.results.claims import Paper
from recon.results.html import Html, brackets, estimate, html_table
from recon.results.rows import settled
from recon.results.statistics import jackknife

__all__ = [
    "NAMES",
    "ceilings",
    "deviations",
    "differences",
    "lean",
    "plain",
    "scores_table",
    "table_one",
    "value",
]

#: Names in print of the scores.
NAMES = {
    "cnr": "CNR",
    "cnr_coded": "CNR as coded",
    "msr": "MSR",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "psnr_fixed": "PSNR, one window",
    "ssim_fixed": "SSIM, one window",
    "ssim_coded": "SSIM as coded",
    "psnr_truth": "PSNR to the truth",
    "ssim_truth": "SSIM to the truth",
    "domain_gap": "gap",
    "input_correlation": "absolute correlation with the input",
    "layer_correlation": "correlation with the layers, η",
}
DIGITS = {"ssim": 3, "ssim_fixed": 3, "ssim_coded": 3, "ssim_truth": 3}


def _digits(metric: str) -> int:
    return DIGITS.get(metric.removesuffix("_sd"), 2)


def value(
    rows: Iterable[Mapping[str, Any]], method: str, metric: str, against: str | None = None
) -> Mapping[str, Any] | None:
    """The row of a method (minus another) over all contrasts, or None."""
    for row in rows:
        if (row["method"], row["metric"], row["contrast"]) == (method, metric, "all") and row.get(
            "against"
        ) == against:
            return row
    return None


def deviations(scores: pd.DataFrame, **constants: object) -> list[dict[str, Any]]:
    """Rows of the standard deviation over volumes of every score, as ``cnr_sd`` and so on.

    Parameters
    ----------
    scores : pd.DataFrame
        As `recon.results.statistics.summarise` takes them.
    constants
        Fields that every row carries.

    Returns
    -------
    list of dict
        With a 95 % interval, by jackknife of the deviation's logarithm.
    """
    rows = []
    for (method, metric), part in scores.groupby(["method", "metric"]):
        values = part["value"].to_numpy(float)
        n, spread = len(values), float(values.std(ddof=1)) if len(values) > 2 else 0.0
        left = [np.delete(values, i).std(ddof=1) for i in range(n)] if n > 2 else [0.0]
        row = {
            **constants,
            "contrast": "all",
            "effective_accel": 1.0,
            "region": "full",
            "n": n,
            "unit": "volume",
            "method": method,
            "metric": f"{metric}_sd",
            "value": float(values.std()),
            "ci95": jackknife(spread, left, "log"),
        }
        rows.append(settled(row))
    return rows


COMPARED = ("cnr", "msr", "psnr", "ssim", "psnr_truth", "ssim_truth")


def lean(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows without the differences within a contrast, and of scores that no table compares."""
    return [
        row
        for row in rows
        if "against" not in row or (row["contrast"] == "all" and row["metric"] in COMPARED)
    ]


def _published(paper: Paper) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for table in paper.tables.values():
        for _, _, method, numbers in table.rows:
            for (metric, _), number in zip(table.columns, numbers, strict=True):
                found.setdefault(method, {})[metric] = number
    return found


def _cell(rows: Sequence[Mapping[str, Any]], method: str, metric: str) -> Any:
    """Mean, deviation and interval of a score."""
    mean, spread = value(rows, method, metric), value(rows, method, f"{metric}_sd")
    if mean is None:
        return "–"
    form = f".{_digits(metric)}f"
    sd = f" ± {spread['value']:{form}}" if spread else ""
    return estimate(f"{mean['value']:{form}}{sd}", mean["ci95"], form)


def table_one(
    rows: Sequence[Mapping[str, Any]],
    paper: Paper,
    notes: Mapping[str, str] | None = None,
    metrics: Sequence[str] = ("cnr", "msr", "psnr", "ssim"),
) -> Html:
    """Table 1, method by method: the paper's mean ± deviation above ours with 95 % intervals.

    Parameters
    ----------
    rows : rows of one run
    paper : from `recon.results.claims.load`
    notes : for methods that have no rows, why
    metrics : the columns
    """
    theirs, notes = _published(paper), notes or {}
    lines = []
    for method, name in paper.methods.items():
        ours = [_cell(rows, method, metric) for metric in metrics]
        if method not in theirs and all(cell == "–" for cell in ours) and method not in notes:
            continue
        if method in theirs:
            numbers = theirs[method]
            printed = [
                f"{numbers[m]:.{_digits(m)}f} ± {numbers[m + '_sd']:.{_digits(m)}f}"
                if m in numbers
                else "–"
                for m in metrics
            ]
            lines.append([name, "paper", *printed])
        if method in notes and all(cell == "–" for cell in ours):
            ours = [notes[method], *ours[1:]]
        lines.append([name, "here", *ours])
    found = [row for row in rows if row["metric"] in metrics]
    data = ", ".join(sorted({row["data"] for row in found}))
    volumes = max((row["n"] for row in found), default=0)
    caption = (
        f"Table 1: the paper's scores over its test images, and those of this run over {volumes} "
        f"volumes of {data} (mean ± deviation, 95 % interval of the mean)"
    )
    return html_table(caption, ["Method", "", *(NAMES[m] for m in metrics)], lines, headers=2)


def scores_table(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    metrics: Sequence[str],
    caption: str,
) -> Html:
    """Any scores of any methods, mean ± deviation with intervals; methods without rows left out."""
    lines = []
    for method, name in names.items():
        cells = [_cell(rows, method, metric) for metric in metrics]
        if any(cell != "–" for cell in cells):
            lines.append([name, *cells])
    return html_table(caption, ["Method", *(NAMES[m] for m in metrics)], lines)


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-")


def differences(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    method: str,
    metrics: Sequence[str] = ("cnr", "msr", "psnr", "ssim"),
) -> Html:
    """A method minus each other, paired over volumes: mean, 95 % interval, Wilcoxon's p."""
    lines = []
    for other, name in names.items():
        cells: list[Any] = []
        for metric in metrics:
            row = value(rows, method, metric, other)
            if row is None:
                cells.append("–")
                continue
            form = f"+.{_digits(metric)}f"
            cell = estimate(f"{row['value']:{form}}", row["ci95"], form)
            cells.append(Html(f"{cell} p {_p(row['p_value'])}"))
        if any(cell != "–" for cell in cells):
            lines.append([name, *cells])
    caption = (
        f"{names[method]} minus every other method, paired over volumes (mean, 95 % t "
        "interval, Wilcoxon signed-rank test)"
    )
    return html_table(caption, ["minus", *(NAMES[m] for m in metrics)], lines)


def ceilings(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    metrics: Sequence[str] = ("psnr", "psnr_fixed", "ssim", "cnr", "msr"),
) -> Html:
    """Gain of each method over the raw image, and as a share of the oracle's gain.

    A share above 1 says that the score prefers the image to the truth itself.
    """
    lines = []
    for method, name in names.items():
        cells = []
        for metric in metrics:
            ours, raw, best = (value(rows, m, metric) for m in (method, "raw", "oracle"))
            if ours is None or raw is None:
                cells.append("–")
                continue
            gain = ours["value"] - raw["value"]
            text = f"{gain:+.{_digits(metric)}f}"
            if best is not None and best["value"] != raw["value"]:
                text += f" ({gain / (best['value'] - raw['value']):.0%})"
            cells.append(text)
        if method != "raw" and any(cell != "–" for cell in cells):
            lines.append([name, *cells])
    caption = "Gain over the raw image, and its share of what the noise-free truth gains"
    return html_table(caption, ["Method", *(NAMES[m] for m in metrics)], lines)


def plain(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    metrics: str | Sequence[str],
    caption: str,
) -> Html:
    """Values of some measures and their paired differences, with intervals."""
    metrics = [metrics] if isinstance(metrics, str) else metrics
    lines = []
    for row in rows:
        if row["metric"] in metrics and row["contrast"] == "all":
            name, against = (names.get(row.get(k, ""), row.get(k)) for k in ("method", "against"))
            what = f"{name} – {against}" if against else name
            text = f"{row['value']:.3f} {brackets(row['ci95'], '.3f')}"
            test = _p(row["p_value"]) if against else "–"
            lines.append([what, NAMES[row["metric"]], text, test, row["n"]])
    return html_table(caption, ["", "Measure", "Mean [95 %]", "p", "n"], lines)
