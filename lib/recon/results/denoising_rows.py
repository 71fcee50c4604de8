"""Rows for two claims about denoising: by how much a method is ahead, and how little is gained."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from recon.results.statistics import summarise

__all__ = ["margins", "short_of"]


def margins(scores: pd.DataFrame, method: str, others: Iterable[str]) -> pd.DataFrame:
    """How far a method is ahead of others, in percent of theirs, by kind of score.

    Parameters
    ----------
    scores : pd.DataFrame
        As `recon.results.statistics.summarise` takes them.
    method : str
    others : iterable of str
        Those that have no scores are left out.

    Returns
    -------
    pd.DataFrame
        The same columns: methods ``intra`` (mean over CNR and MSR, which look at one image) and
        ``inter`` (over PSNR and SSIM, which compare two), metrics ``margin over NAME``. Where the
        method is behind, ``inter`` is 0: a margin can only widen from where there is none.
    """
    parts = []
    for kind, metrics in {"intra": ("cnr", "msr"), "inter": ("psnr", "ssim")}.items():
        own = scores[scores.metric.isin(metrics)]
        if own.metric.nunique() < len(metrics):
            continue
        index = [c for c in scores if c not in ("method", "metric", "value")]
        wide = own.pivot(index=[*index, "metric"], columns="method", values="value")
        for other in others:
            if other in wide:
                ahead = 100 * (wide[method] / wide[other] - 1)
                mean = ahead.groupby(index).mean().rename("value").reset_index()
                if kind == "inter":
                    mean["value"] = mean["value"].clip(lower=0)
                parts.append(mean.assign(method=kind, metric=f"margin over {other}"))
    return pd.concat(parts, ignore_index=True) if parts else scores.iloc[:0]


def short_of(
    scores: pd.DataFrame, gain: float, name: str, methods: Iterable[str], **constants: object
) -> list[dict[str, Any]]:
    """By how much the PSNR of methods stays short of the raw image's and a gain.

    Parameters
    ----------
    scores : pd.DataFrame
        As `recon.results.statistics.summarise` takes them, with the method ``raw``.
    gain : float
        dB.
    name : str
        What the raw image with that gain is called in the rows.
    methods : iterable of str
    constants
        Fields that every row carries.

    Returns
    -------
    list of dict
        Paired differences alone, of `name` minus each method.
    """
    psnr = scores[scores.metric == "psnr"]
    raised = psnr[psnr.method == "raw"].assign(method=name)
    raised = pd.concat([psnr, raised.assign(value=raised.value + gain)])
    rows = summarise(raised, [(name, method) for method in methods], **constants)
    return [row for row in rows if row.get("against") and row["contrast"] == "all"]
