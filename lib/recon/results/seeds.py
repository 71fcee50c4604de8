"""Is a difference between two networks larger than that between two trainings of one network?

An interval over volumes says how far a difference depends on the volumes scored. It says
nothing of the luck of a training: first weights, order of the slices, masks. That takes further
trainings of the same networks from other seeds. Few of them tell little of a spread, so those of
several networks are pooled, as in an analysis of variance.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS
from recon.results.html import Html, brackets, html_table, p_text
from recon.results.rows import one_head
from recon.results.statistics import interval, paired_p

__all__ = ["averages", "beyond", "forest", "least_difference", "pooled", "spread_table"]

Trainings = Mapping[str, Sequence[str]]


def pooled(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation within groups, and its degrees of freedom.

    Parameters
    ----------
    groups : sequence of sequences of float
        The scores of each network's trainings; groups of one tell nothing, but may be there.

    Raises
    ------
    ValueError
        When no group has two.
    """
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < 1:
        raise ValueError("no network was trained twice: the spread over seeds is unknown")
    squares = sum(((np.asarray(group) - np.mean(group)) ** 2).sum() for group in groups)
    return float(math.sqrt(squares / freedom)), freedom


def least_difference(
    groups: Sequence[Sequence[float]], ours: int, theirs: int, confidence: float = 0.95
) -> float:
    """The difference of two means that seeds alone exceed in one case of twenty.

    ``t s sqrt(1 / n + 1 / m)``, Fisher's least significant difference, with the pooled standard
    deviation s and Student's t; the means are of n and m trainings.

    Parameters
    ----------
    groups : as for `pooled`
    ours, theirs : int
        n and m.
    """
    from scipy.stats import t

    spread, freedom = pooled(groups)
    return float(t.ppf((1 + confidence) / 2, freedom) * spread * math.sqrt(1 / ours + 1 / theirs))


def averages(table: pd.DataFrame, trainings: Trainings) -> pd.DataFrame:
    """Scores of every network, a line a volume: the mean over its trainings (columns)."""
    return pd.DataFrame({name: table[list(runs)].mean(axis=1) for name, runs in trainings.items()})


def _groups(table: pd.DataFrame, trainings: Trainings) -> list[list[float]]:
    return [[table[run].mean() for run in runs] for runs in trainings.values()]


def beyond(table: pd.DataFrame, trainings: Trainings, reference: str) -> dict[str, bool]:
    """For every other network, whether it differs from the reference by more than seeds explain.

    Parameters
    ----------
    table : pd.DataFrame
        Scores, a line a volume and a column a training.
    trainings : mapping
        Every network's trainings: columns of ``table``.
    reference : str
        A network.

    Returns
    -------
    dict
        Empty where no network was trained twice.
    """
    groups = _groups(table, trainings)
    if all(len(group) < 2 for group in groups):
        return {}
    means = averages(table, trainings).mean()
    own = len(trainings[reference])
    return {
        name: bool(abs(means[name] - means[reference]) > least_difference(groups, len(runs), own))
        for name, runs in trainings.items()
        if name != reference
    }


def spread_table(
    table: pd.DataFrame,
    baseline: str,
    trainings: Trainings,
    reference: str,
    names: Mapping[str, str],
    metric: str = "PSNR",
    digits: int = 2,
    data: str = "",
) -> Html:
    """Gain of every network over a baseline, a reference minus it, and the seeds' spread.

    Differences that seeds alone do not explain are bold.

    Parameters
    ----------
    table, trainings, reference
        As for `beyond`.
    baseline : str
        Column of ``table`` that is subtracted for the gain.
    names : mapping
        Names in print.
    metric, digits
        Of the caption and the numbers.
    data : str
        The set that was scored: on slabs of one head nothing is tested.
    """
    outside = beyond(table, trainings, reference)
    scores = averages(table, trainings)
    groups = _groups(table, trainings)
    lines = []
    for name, runs in trainings.items():
        gain = (scores[name] - table[baseline]).to_numpy()
        cells = [names.get(name, name), len(runs), _mean(gain, digits)]
        if name == reference:
            cells += ["–", "–", "–"]
        else:
            difference = (scores[reference] - scores[name]).to_numpy()
            cells += [_mean(difference, digits, outside.get(name, False))]
            cells += [p_text(None if one_head(data) else paired_p(difference)), "–"]
            if outside:
                least = least_difference(groups, len(runs), len(trainings[reference]))
                cells[-1] = f"{least:.{digits}f}"
        lines.append(cells)
    ours = names.get(reference, reference)
    caption = f"{metric}: gain over {names.get(baseline, baseline)}; {ours} minus the network, "
    caption += "beside the difference that seeds alone explain; beyond it in bold"
    columns = ["Network", "Trainings", "Gain [95 %]", "Difference [95 %]", "p", "Seeds, ±"]
    return html_table(caption, columns, lines)


def _mean(values: Sequence[float], digits: int, bold: bool = False) -> Html:
    values = np.asarray(values)
    mean = f"{values.mean():+.{digits}f}"
    ends = brackets(interval(values), f"+.{digits}f")
    return Html(
        f'<span class="recon-mean">{f"<b>{mean}</b>" if bold else mean}</span> '
        f'<span class="recon-interval">{ends}</span>'
    )


def forest(
    table: pd.DataFrame,
    baseline: str,
    trainings: Trainings,
    reference: str,
    names: Mapping[str, str],
    label: str,
) -> Figure:
    """Gains over a baseline with intervals over volumes, every training as a tick, and a band.

    The band lies around the reference: `least_difference` for a network that was trained once.

    Parameters
    ----------
    table, baseline, trainings, reference, names
        As for `spread_table`.
    label : str
        Of the axis, with its unit.
    """
    figure, axis = plt.subplots(figsize=(7.2, 0.8 + 0.27 * len(trainings)), layout="constrained")
    for place, (name, runs) in enumerate(trainings.items()):
        gains = table[list(runs)].sub(table[baseline], axis=0)
        colour = COLOURS[1] if name == reference else COLOURS[0]
        axis.plot(interval(gains.mean(axis=1).to_numpy()), [place, place], color=colour)
        axis.plot(gains.to_numpy().mean(), place, "o", color=colour)
        axis.plot(gains.mean(), [place] * len(runs), "|", color="black", markersize=9)
    groups = _groups(table, trainings)
    if any(len(group) > 1 for group in groups):
        half = least_difference(groups, 1, len(trainings[reference]))
        centre = averages(table, trainings)[reference].mean() - table[baseline].mean()
        axis.axvspan(centre - half, centre + half, color=COLOURS[1], alpha=0.15, linewidth=0)
    axis.set_yticks(range(len(trainings)), [names.get(name, name) for name in trainings])
    axis.invert_yaxis()
    axis.set_xlabel(label)
    return figure
