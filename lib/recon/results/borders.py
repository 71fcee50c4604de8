"""Borders of the retina that a feature map tracks: rows of their errors, and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recon.results.denoising import value
from recon.results.html import Html, brackets, html_table
from recon.results.statistics import summarise

__all__ = ["border_rows", "borders_table"]

BORDERS = {"ilm": "ILM", "rpe": "RPE", "thickness": "thickness"}


def border_rows(table: pd.DataFrame, micrometres: float, **constants: object) -> list[dict]:
    """Rows of the errors of tracked borders in micrometres, and of the share of columns found.

    Parameters
    ----------
    table : pd.DataFrame
        ``volume, contrast, method`` and errors in pixels, as
        `recon.learning.translation_scores.tracked` gives them; volumes in which a method found no
        column count in ``found`` only. The first method is compared with the others, both ways.
    micrometres : float
        Height of a pixel.
    """
    long = table.melt(
        ["volume", "contrast", "method"],
        ["found", *BORDERS, *(f"{name}_bias" for name in BORDERS)],
        "metric",
    ).dropna()
    long["value"] *= np.where(long.metric == "found", 1.0, micrometres)
    shared = long.groupby(["volume", "metric"])["method"].transform("count")
    methods_with = long.groupby("metric")["method"].transform("nunique")
    # A paired difference needs both: a volume that one method fails is told by `found` alone.
    long = long[(shared == methods_with) | (long.metric == "found")]
    long = long.assign(effective_accel=1.0, region="full")
    methods = list(table.method.unique())
    pairs = [pair for m in methods[1:] for pair in ((methods[0], m), (m, methods[0]))]
    return summarise(long, pairs, **constants)


def borders_table(
    rows: Sequence[Mapping[str, Any]], micrometres: float, names: Mapping[str, str] | None = None
) -> Html:
    """Errors of tracked borders in micrometres and pixels, and their bias."""
    names = names or {
        "map": "map times B-scan",
        "alone": "B-scan alone",
        "guess": "mean of the tuning eyes",
    }
    lines = []
    for method, name in names.items():
        share = value(rows, method, "found")
        for border, label in BORDERS.items():
            row, bias = value(rows, method, border), value(rows, method, f"{border}_bias")
            if row is None:
                continue
            lines.append(
                [
                    name,
                    label,
                    f"{row['value']:.0f} {brackets(row['ci95'], '.0f')}",
                    f"{row['value'] / micrometres:.1f}",
                    f"{bias['value']:+.0f}",
                    f"{share['value']:.0%}",
                    row["n"],
                ]
            )
    heads = ["Lines from", "Border", "Error, um [95 %]", "pixels", "bias, um", "columns", "n"]
    caption = "Mean absolute error of the tracked borders on test eyes; bias below zero is too high"
    return html_table(caption, heads, lines, headers=2)
