"""Paired differences as a grid: a line a pair of methods, a column a contrast."""

from collections.abc import Iterable, Mapping
from typing import Any

from recon.results.html import Html, html_table, p_text
from recon.results.tables import NAMES, shown, units_of
from recon.results.verdicts import METRICS

__all__ = ["by_contrast"]


def by_contrast(rows: Iterable[Mapping[str, Any]], metric: str) -> Html:
    """Mean difference with its interval, and Wilcoxon's p, for each pair and contrast.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of one run; those of another metric, without a second method, or of the whole picture
        where the body was scored too, are left out.
    metric : str

    Returns
    -------
    Html
        A column for each contrast with its number of volumes, all of them last.
    """
    paired = [row for row in rows if "against" in row and row["metric"] == metric]
    if any(row["region"] == "body" for row in paired):
        paired = [row for row in paired if row["region"] == "body"]
    volumes = {row["contrast"]: row["n"] for row in paired}
    contrasts = sorted(volumes, key=lambda contrast: contrast == "all")
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for row in paired:
        cell = Html(f"{shown(row, '+')}<br>p {p_text(row['p_value'], '.2g')}")
        pairs.setdefault((row["method"], row["against"]), {})[row["contrast"]] = cell
    body = [
        [f"{NAMES.get(a, a)} – {NAMES.get(b, b)}", *(cells.get(c, "–") for c in contrasts)]
        for (a, b), cells in pairs.items()
    ]
    units = units_of(paired)
    heads = [f"{'All' if c == 'all' else c} ({volumes[c]} {units})" for c in contrasts]
    caption = (
        f"Paired differences of {METRICS.get(metric, metric)} over {units}: mean, 95 % t "
        "interval, Wilcoxon signed-rank test"
    )
    return html_table(caption, ["Difference", *heads], body)
