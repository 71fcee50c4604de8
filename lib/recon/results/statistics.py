"""Intervals and paired tests over volumes.

Slices of one volume resemble each other, so the volume is the unit of every interval and test.
"""

import math

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

KEYS = ["metric", "region"]


def interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (9,999 resamples, fixed seed)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(np.mean(values)), float(np.mean(values))
    result = bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(result.low), float(result.high)


def paired_p(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p-value of paired differences; 1 when all are zero."""
    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


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
        ``volume, contrast, effective_accel, method, metric, region, value``.
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
        is the mean difference, with its interval and p-value.
    """
    rows = []
    for contrast, group in [*scores.groupby("contrast"), ("all", scores)]:
        effective = group.groupby("volume")["effective_accel"].first().mean()
        for (metric, region), part in group.groupby(KEYS):
            table = part.pivot(index="volume", columns="method", values="value")
            common = {
                **constants,
                "contrast": contrast,
                "effective_accel": float(effective),
                "metric": metric,
                "region": region,
                "n": len(table),
                "unit": unit,
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
    for row in rows:
        if not math.isfinite(row["value"]):
            raise ValueError(
                f"the {row['metric']} of {row['method']} is not finite: a target volume is empty "
                "or holds NaN, or an image equals its target, whose PSNR is infinite"
            )
    return rows
