"""From readings to tidy rows: means over volumes with intervals, and paired differences.

Readings of one volume are averaged first: the volume is the unit of every interval and test.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recon.results.rows import evidence, row
from recon.results.statistics import interval, paired_p

__all__ = ["answers", "auc_rows", "lesion_rows", "spot_rows", "tell", "verdicts"]

KEYS = ["region", "accel", "diameter", "strength"]
LESION_METRICS = ("recovery", "cnr_gain", "missed")


def lesion_rows(
    lesions: pd.DataFrame,
    common: Sequence[str],
    against: Sequence[str],
    base: str,
    constants: Mapping[str, Any],
) -> list[dict]:
    """Recovery, CNR and misses by acceleration, diameter and strength, and over all of these.

    ``missed`` is the share of lesions that do not set the detector off, ``alarm`` that of their
    places that do so without them; ``lost`` is ``missed`` among the lesions that set it off in the
    images of ``base``. ``cnr_gain`` is the CNR less that of the same place
    without the lesion. Methods are compared over all diameters and strengths.

    Parameters
    ----------
    lesions : pd.DataFrame
        From `recon.learning.exams.measure_lesions`.
    common : sequence of str
        Kinds whose size and strength vary; they make the region ``lesion``, others one of their
        own name.
    against : sequence of str
        Methods that all others are compared with.
    base : str
        Method whose images count as showing what there is.
    constants : mapping
        Fields that every row carries.

    Returns
    -------
    list of dict
        Rows with the further fields ``diameter`` and ``strength``, 0 where they are averaged.
    """
    table = lesions.copy()
    table["missed"] = 1.0 - table.found
    table["alarm"] = 1.0 * table.found_without
    table["cnr_gain"] = table.cnr - table.cnr_without
    table["region"] = np.where(table.kind.isin(common), "lesion", table.kind)
    places = ["accel", "volume", "kind", "diameter", "strength"]
    table["number"] = table.groupby([*places, "method"]).cumcount()
    shown = table[table.method == base].set_index([*places, "number"]).found
    known = shown.reindex(pd.MultiIndex.from_frame(table[[*places, "number"]])).to_numpy(bool)
    table["lost"] = np.where(known, table.missed, np.nan)
    rows = []
    whole = table[table.region == "lesion"].assign(diameter=0.0, strength=0.0)
    for (region, accel, diameter, strength), part in pd.concat([table, whole]).groupby(KEYS):
        fields = {
            "contrast": "all",
            "region": region,
            "accel": accel,
            "effective_accel": part.groupby("volume").effective_accel.first().mean(),
            "diameter": diameter,
            "strength": strength,
            **constants,
        }
        for metric in LESION_METRICS if diameter else (*LESION_METRICS, "lost", "alarm"):
            values = part.pivot_table(index="volume", columns="method", values=metric)
            rows += _compared(values, metric, () if diameter else against, fields)
    return rows


def spot_rows(
    spots: pd.DataFrame, against: Sequence[str], constants: Mapping[str, Any]
) -> list[dict]:
    """Invented and removed spots a picture, by acceleration, region and diameter."""
    rows = []
    for (accel, region, diameter), part in spots.groupby(["accel", "region", "diameter"]):
        fields = {
            "contrast": "all",
            "region": region,
            "accel": accel,
            "effective_accel": part.groupby("volume").effective_accel.first().mean(),
            "diameter": diameter,
            **constants,
        }
        for metric in ("new", "lost"):
            values = part.pivot_table(index="volume", columns="method", values=metric)
            rows += _compared(values, f"{metric}_spots", against, fields)
    return rows


def auc_rows(seen: pd.DataFrame, constants: Mapping[str, Any]) -> list[dict]:
    """The observer's AUC with its interval, and d' as a further field."""
    return [
        row(
            contrast="all",
            region="lesion",
            metric="auc",
            accel=one.accel,
            effective_accel=one.effective_accel,
            method=one.method,
            value=one.auc,
            ci95=(one.lo, one.hi),
            n=one.volumes,
            diameter=one.diameter,
            strength=one.strength,
            d_prime=one.d_prime,
            readings=one.present,
            **constants,
        )
        for one in seen.itertuples()
    ]


def _compared(
    values: pd.DataFrame, metric: str, against: Sequence[str], fields: dict
) -> list[dict]:
    """A row for every method (column), and its differences from some of them."""
    rows = []
    for method in values:
        own = values[method].dropna().to_numpy()
        if not len(own):
            continue
        rows.append(
            row(
                metric=metric,
                method=method,
                value=own.mean(),
                ci95=interval(own),
                n=len(own),
                **fields,
            )
        )
        for other in against:
            gap = (values[method] - values[other]).dropna() if other in values else ()
            if method == other or not len(gap):
                continue
            gap = gap.to_numpy()
            rows.append(
                row(
                    metric=metric,
                    method=method,
                    against=other,
                    value=gap.mean(),
                    ci95=interval(gap),
                    p_value=paired_p(gap),
                    n=len(gap),
                    **fields,
                )
            )
    return rows


def tell(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> dict[str, Mapping[str, Any]]:
    """The value rows that have these fields, by method; ``against`` asks for differences."""
    wanted.setdefault("against", None)
    return {
        one["method"]: one
        for one in rows
        if all(one.get(name) == value for name, value in wanted.items())
    }


def verdicts(
    rows: Iterable[Mapping[str, Any]], metric: str, against: str, **wanted: Any
) -> dict[str, str]:
    """For each method, whether a share or a count is larger than another method's.

    "yes" where the interval of the paired difference lies above zero, "no" where it ends at zero or
    below, "not shown" where it holds zero, or where there is none (`recon.results.rows.evidence`).
    """
    found = {}
    for method, one in tell(rows, metric=metric, against=against, **wanted).items():
        low, high = evidence(one)
        found[method] = "yes" if low > 0 else "no" if high <= 0 else "not shown"
    return found


def answers(
    rows: Sequence[Mapping[str, Any]],
    asked: Mapping[str, tuple[str, str, Mapping[str, Any]]],
) -> dict[str, dict[tuple[float, str], str]]:
    """`verdicts` for several questions at every acceleration.

    Parameters
    ----------
    rows : sequence of rows
    asked : mapping
        Question to a metric, the method compared with, and further fields.

    Returns
    -------
    dict
        Question to words by acceleration and method.
    """
    rates = sorted({one["accel"] for one in rows})
    return {
        question: {
            (rate, method): word
            for rate in rates
            for method, word in verdicts(rows, metric, against, accel=rate, **fields).items()
        }
        for question, (metric, against, fields) in asked.items()
    }
