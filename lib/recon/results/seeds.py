"""Is a difference between two networks larger than that between two trainings of one network?

A bootstrap interval over volumes says how far a difference depends on the volumes scored. It says
nothing of the luck of a training: first weights, order of the slices, masks. That takes a second
training of the same network from another seed.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS
from recon.results.html import Html, html_table
from recon.results.statistics import interval, paired_p

__all__ = ["beyond", "forest", "one_more", "spread_table"]


def one_more(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Prediction interval: where one more training of the same network would score.

    ``mean ± t s sqrt(1 + 1/n)``, with the standard deviation s of n trainings and Student's t of
    n - 1 degrees of freedom; wide where trainings are few, as it has to be.

    Parameters
    ----------
    values : sequence of float
        One score a training, at least two.

    Returns
    -------
    (float, float)
        Lower and upper bound.

    Raises
    ------
    ValueError
        With fewer than two trainings nothing is known of the spread.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        raise ValueError(f"{n} training(s): the spread over seeds needs two")
    half = t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) * math.sqrt(1 + 1 / n)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def beyond(table: pd.DataFrame, trainings: Sequence[str]) -> dict[str, bool]:
    """For each other column, whether its mean lies outside the interval of `one_more`.

    Parameters
    ----------
    table : pd.DataFrame
        Scores, a line a volume and a column a network.
    trainings : sequence of str
        Columns that are trainings of one network from different seeds.
    """
    low, high = one_more([table[name].mean() for name in trainings])
    others = [name for name in table if name not in trainings]
    return {name: bool(not low <= table[name].mean() <= high) for name in others}


def spread_table(
    table: pd.DataFrame,
    baseline: str,
    trainings: Sequence[str],
    names: Mapping[str, str],
    metric: str = "PSNR",
    digits: int = 2,
) -> Html:
    """Gain of every network over a baseline, its distance from a reference, and the seeds' spread.

    Parameters
    ----------
    table : pd.DataFrame
        Scores, a line a volume and a column a network.
    baseline : str
        Column whose score is subtracted for the gain.
    trainings : sequence of str
        The reference network, then its trainings from other seeds; with none the last column stays
        empty.
    names : mapping
        Names in print.
    """
    reference = trainings[0]
    outside = beyond(table.drop(columns=baseline), trainings) if len(trainings) > 1 else {}
    lines = []
    for name in table:
        if name == baseline:
            continue
        cells = [names.get(name, name), _mean(table[name] - table[baseline], digits)]
        if name == reference:
            cells += ["–", "–", "–"]
        else:
            difference = (table[name] - table[reference]).to_numpy()
            answer = {True: "beyond", False: "within"}.get(outside.get(name), "–")
            cells += [_mean(difference, digits), f"{paired_p(difference):.3f}", answer]
        lines.append(cells)
    caption = f"{metric}: gain over {names.get(baseline, baseline)}, difference from "
    caption += f"{names.get(reference, reference)}, and whether one more seed could explain it"
    columns = ["Network", "Gain [95 %]", "Difference [95 %]", "p", "Seeds' spread"]
    return html_table(caption, columns, lines)


def _mean(values: Sequence[float], digits: int) -> Html:
    values = np.asarray(values)
    low, high = interval(values)
    return Html(
        f'<span class="recon-value">{values.mean():+.{digits}f}</span> '
        f'<span class="recon-interval">[{low:+.{digits}f}, {high:+.{digits}f}]</span>'
    )


def forest(
    table: pd.DataFrame,
    baseline: str,
    trainings: Sequence[str],
    names: Mapping[str, str],
    label: str,
) -> Figure:
    """Gains over a baseline with their intervals, and the band in which one more seed would fall.

    Parameters
    ----------
    table, baseline, trainings, names
        As for `spread_table`.
    label : str
        Of the axis, with its unit.
    """
    shown = [name for name in table if name != baseline]
    figure, axis = plt.subplots(figsize=(7.2, 0.8 + 0.27 * len(shown)), layout="constrained")
    for place, name in enumerate(shown):
        gain = (table[name] - table[baseline]).to_numpy()
        colour = COLOURS[1] if name in trainings else COLOURS[0]
        axis.plot(interval(gain), [place, place], color=colour)
        axis.plot(gain.mean(), place, "o", color=colour)
    if len(trainings) > 1:
        zero = table[baseline].mean()
        low, high = one_more([table[name].mean() - zero for name in trainings])
        axis.axvspan(low, high, color=COLOURS[1], alpha=0.15, linewidth=0)
    axis.set_yticks(range(len(shown)), [names.get(name, name) for name in shown])
    axis.invert_yaxis()
    axis.set_xlabel(label)
    return figure
