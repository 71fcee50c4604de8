"""Intervals and paired tests over volumes.

Slices of one volume resemble each other, so the volume is the unit of every interval and test.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import wilcoxon

from recon.results.rows import PARTS, UNBOUNDED, settled

KEYS = ["metric", "region"]
# Where the names of a set's images name the patient, see `recon.data.oct_folders`.
PATIENTS = {"oct_folders": r"([^_]+)", "pku37": r"(.{4})", "kermany_2018": r"[^-]*-([^-]+)"}


def interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; `UNBOUNDED` for a single value."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return UNBOUNDED
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return (mean - half, mean + half) if np.ptp(values) else (mean, mean)


def jackknife(
    value: float, without: Sequence[float], scale: str, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a statistic that is no mean: jackknife, t quantile, on a scale of its own.

    Parameters
    ----------
    value : float
        The statistic of all n independent units.
    without : sequence of float
        ``(n,)``, the statistic without each unit in turn (Tukey 1958).
    scale : {"log", "logit"}
        On which the interval is symmetric: for a positive number or for a share. (On its own scale
        a statistic has skewed errors, and intervals that leave its range.)

    Returns
    -------
    tuple of float
        `UNBOUNDED` for one unit; no wider than the value where that is at an end of its range.
    """
    n = len(without)
    if n < 2:
        return UNBOUNDED
    if value <= 0 or (scale == "logit" and value >= 1):
        return value, value
    if scale == "log":
        spread = np.std(np.log(np.maximum(without, 1e-9 * value)))
    else:  # a share that is 0 or 1 without some unit has no logit: the slope of it at the value
        spread = np.std(without) / (value * (1 - value))
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * math.sqrt(n - 1) * spread)
    ends = (math.exp(sign * min(half, 700)) for sign in (-1, 1))
    return tuple(value * e if scale == "log" else value * e / (1 + value * (e - 1)) for e in ends)


def paired_p(differences: np.ndarray) -> float | None:
    """Two-sided Wilcoxon signed-rank p-value of paired differences; 1 when all are zero.

    None for a single difference, which no test can judge.
    """
    if len(differences) < 2:
        return None
    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def bodies(scores: pd.DataFrame, data: str) -> pd.Series:
    """The body that every volume of scores shows, by volume.

    Its patient where scores have that column; else what stands before ``#`` in the volume's name
    (masks of one scan and blocks of one head follow it), or the patient's part of it (`PATIENTS`).
    """
    first = scores.drop_duplicates("volume").set_index("volume")
    names = pd.Series([str(one).partition("#")[0] for one in first.index], first.index, dtype=str)
    if data in PATIENTS:
        names = names.str.extract(PATIENTS[data])[0].fillna(names)
    return first.patient.fillna(names) if "patient" in first else names


def summarise(
    scores: pd.DataFrame,
    against: list[tuple[str, str]],
    unit: str = "volume",
    **constants: object,
) -> list[dict]:
    """Tidy rows from scores per volume: means with intervals, then paired differences.

    Parameters
    ----------
    scores : pd.DataFrame
        ``volume, contrast, effective_accel, method, metric, region, value``; ``patient`` where
        it is known.
    against : list of (str, str)
        Pairs of methods to compare, better-to-be first.
    unit : str
        What one row of scores is.
    constants
        Fields that every row carries (data, task, accel, ...).

    Returns
    -------
    list of dict
        A row per contrast (and ``all``), metric, region and method; and one per pair, whose value
        is the mean difference, with its interval and p-value. Several units of a body (masks of a
        scan, eyes of a patient) are averaged first; where all are of one, its rows have
        ``subjects`` 1 and no p-value.
    """
    rows = []
    shown = bodies(scores, str(constants.get("data")))
    for contrast, group in [*scores.groupby("contrast"), ("all", scores)]:
        effective = group.groupby("volume")["effective_accel"].first().mean()
        for (metric, region), part in group.groupby(KEYS):
            table = part.pivot(index="volume", columns="method", values="value")
            of, counted = shown[table.index], unit
            if 1 < of.nunique() < len(table):
                table, counted = table.groupby(of).mean(), PARTS.get(unit, "patient")
            common = {
                **constants,
                "contrast": contrast,
                "effective_accel": float(effective),
                "metric": metric,
                "region": region,
                "n": len(table),
                "unit": counted,
                **({"subjects": 1} if of.nunique() < len(table) else {}),
            }
            for method in table:
                values = table[method].to_numpy()
                rows.append(
                    {
                        **common,
                        "method": method,
                        "value": float(values.mean()),
                        "ci95": list(interval(values)),
                    }
                )
            for method, other in against:
                if method not in table or other not in table:
                    continue
                difference = (table[method] - table[other]).to_numpy()
                rows.append(
                    {
                        **common,
                        "method": method,
                        "against": other,
                        "value": float(difference.mean()),
                        "ci95": list(interval(difference)),
                        "p_value": paired_p(difference),
                    }
                )
    rows = [settled(row) for row in rows]
    for row in rows:
        if not math.isfinite(row["value"]):
            raise ValueError(
                f"the {row['metric']} of {row['method']} is not finite: a target volume is empty "
                "or holds NaN, or an image equals its target, whose PSNR is infinite"
            )
    return rows
