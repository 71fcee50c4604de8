"""Do two tables put the methods in the same order?"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from recon.results.claims import Paper
from recon.results.html import Html, html_table
from recon.results.tables import NAMES, fitting_experiments
from recon.results.verdicts import METRICS

__all__ = ["in_order", "rank_correlation", "same_order"]


def rank_correlation(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[float, float]:
    """Kendall's tau-b over the methods of both, and its two-sided p-value.

    With equal values in one of the two only, even orders that agree do not reach 1.

    Raises
    ------
    ValueError
        With fewer than two common methods there is no order.
    """
    from scipy.stats import kendalltau  # slow to import; most of the book does not need it

    common = [name for name in ours if name in theirs]
    if len(common) < 2:
        raise ValueError(f"{len(common)} method(s) in both tables: an order needs two")
    result = kendalltau([ours[name] for name in common], [theirs[name] for name in common])
    return float(result.statistic), float(result.pvalue)


def in_order(methods: Iterable[str], values: Mapping[str, float]) -> str:
    """Methods in print, best first, joined by ``>`` or, where their values are equal, by ``=``."""
    ranked = sorted(methods, key=values.__getitem__, reverse=True)
    words = [NAMES.get(ranked[0], ranked[0])]
    for better, method in pairwise(ranked):
        sign = "=" if values[better] == values[method] else ">"
        words += [sign, NAMES.get(method, method)]
    return " ".join(words)


def same_order(
    rows: Sequence[Mapping[str, Any]],
    paper: Paper,
    table: str,
    accel: float,
    stand_in: Mapping[str, str],
) -> Html:
    """Orders of the methods here and in a published table, best first, and Kendall's tau.

    Parameters
    ----------
    rows : rows of one run
    paper, table, accel : as for `recon.results.tables.beside_paper`
    stand_in : measured methods that stand for a published one, by name: ``{"pcrnn_xs": "pcrnn_s"}``
    """
    published = paper.tables[table]
    # A table may cover several experiments (knee and brain): only that of these data is meant.
    fitting = fitting_experiments(paper, rows)
    lines_of = [line for line in published.rows if line[0] in fitting or not fitting]
    places = {column: place for place, column in enumerate(published.columns)}
    lines = []
    for metric in dict.fromkeys(metric for metric, _ in published.columns):
        for contrast in dict.fromkeys(contrast for _, contrast, _, _ in lines_of):
            theirs = {
                method: values[places[metric, accel]]
                for _, kind, method, values in lines_of
                if kind == contrast and (metric, accel) in places
            }
            ours = {
                stand_in.get(row["method"], row["method"]): row["value"]
                for row in rows
                if (row["metric"], row["contrast"], row["accel"]) == (metric, contrast, accel)
                and row["region"] == "body"
                and "against" not in row
            }
            common = {method: ours[method] for method in theirs if method in ours}
            if len(common) < 2:
                continue
            tau, p = rank_correlation(common, theirs)
            orders = [in_order(common, values) for values in (ours, theirs)]
            lines.append([METRICS[metric], contrast, *orders, f"{tau:+.2f}", f"{p:.3f}"])
    columns = ["Metric", "Contrast", "Order here", "Order in the paper", "tau", "p"]
    caption = f"Table {table} at {accel:g}x: order of the methods that both have, best first"
    return html_table(caption, columns, lines, headers=2)
