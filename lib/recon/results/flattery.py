"""How much processed data flatter a method: rows and verdicts.

A test is named by a method, the set that it was trained or tuned on, and the set that it was tested
on. The *flattery* of one test over another is the fall of the mean error in percent,

    100 (1 - mean(error) / mean(other error)),

with an interval over the volumes that both share (jackknife of the logarithm of the ratio), and
Wilcoxon's signed-rank test on the pairs. Shimron et al. (2022) count the same way, against the set
without the crime in question.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recon.results.rows import row
from recon.results.statistics import interval, jackknife, paired_p

__all__ = ["Test", "fall", "flattery_rows", "score_rows", "verdict"]

Test = tuple[str, str, str]  # method, trained on, tested on


def fall(errors: np.ndarray, others: np.ndarray) -> tuple[float, list[float]]:
    """Fall of the mean error in percent, with its 95 % interval over pairs.

    Parameters
    ----------
    errors, others : np.ndarray
        ``(volumes,)`` positive, of the same volumes.
    """
    ratio = errors.mean() / others.mean()
    left = (errors.sum() - errors) / np.maximum(others.sum() - others, 1e-300)
    if np.ptp(errors / others) < 1e-12:
        left = np.full(len(errors), ratio)
    low, high = jackknife(ratio, left, "log")
    return float(100 * (1 - ratio)), [float(100 * (1 - end)) for end in (high, low)]


def _wide(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Volumes by tests, of one metric."""
    part = scores[scores.metric == metric]
    return part.pivot(index="volume", columns=["method", "trained", "tested"], values="value")


def score_rows(scores: pd.DataFrame, **constants: Any) -> list[dict[str, Any]]:
    """A row for every test and metric: mean over volumes and interval."""
    rows = []
    for (tested, metric), part in scores.groupby(["tested", "metric"], sort=False):
        effective = part.groupby("volume").effective_accel.first().mean()
        for (method, trained), one in part.groupby(["method", "trained"], sort=False):
            fields = {"contrast": "all", "region": "full", "metric": metric, "method": method}
            values = one.value.to_numpy()
            rows.append(
                row(
                    **{**constants, **fields},
                    trained=trained,
                    tested=tested,
                    effective_accel=float(effective),
                    value=float(values.mean()),
                    ci95=interval(values),
                    n=len(values),
                )
            )
    return rows


def flattery_rows(
    scores: pd.DataFrame, pairs: Mapping[tuple[str, Test], Test], **constants: Any
) -> list[dict[str, Any]]:
    """Rows for every pair of tests that were both made.

    Metric ``flattery`` is the fall of the NRMSE in percent; ``flattery_psnr`` (dB) and
    ``flattery_ssim`` are differences.

    Parameters
    ----------
    scores : pd.DataFrame
        From `recon.learning.flattery.Study.scores`.
    pairs : mapping
        What a comparison is called, and the flattered test, to the test it is held against.
    constants
        Fields that every row carries (data, task, accel, ...).
    """
    effective = scores.groupby("tested").effective_accel.mean()
    rows = []
    for metric in ("nrmse", "psnr", "ssim"):
        wide = _wide(scores, metric)
        name = "flattery" if metric == "nrmse" else f"flattery_{metric}"
        for (comparison, test), other in pairs.items():
            if test not in wide or other not in wide:
                continue
            pair = wide[[test, other]].dropna().to_numpy()
            difference = pair[:, 0] - pair[:, 1]
            if metric == "nrmse":
                value, bounds = fall(pair[:, 0], pair[:, 1])
            else:
                value, bounds = float(difference.mean()), interval(difference)
            rows.append(
                row(
                    **{**constants, "contrast": "all", "region": "full", "metric": name},
                    comparison=comparison,
                    method=test[0],
                    trained=test[1],
                    tested=test[2],
                    against=other[0],
                    against_trained=other[1],
                    against_tested=other[2],
                    effective_accel=float(effective[test[2]]),
                    value=value,
                    ci95=bounds,
                    n=len(pair),
                    p_value=paired_p(difference),
                )
            )
    return rows


def verdict(bounds: Sequence[float], published: tuple[float, float] | None) -> str:
    """What an interval of the flattery says, beside the published range if there is one."""
    low, high = bounds
    if low <= 0 <= high:
        return "none shown"
    if high < 0:
        return "the reverse: looks worse"
    if published is None:
        return "flatters"
    if high < published[0]:
        return "flatters, less than published"
    if low > published[1]:
        return "flatters, more than published"
    return "flatters, meets the published range"
