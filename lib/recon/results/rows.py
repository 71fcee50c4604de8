"""A tidy row of results: what it must hold, and how one is made.

A row is flat. Value rows carry the mean of a metric over `n` units with its 95 % interval
(`recon.results.statistics`); difference rows carry the mean paired difference ``method - against``
with the p-value of a paired test. Everything that reads results (tables, claims, the scoreboard)
reads these rows.

No row says more than its units can (`settled`). One unit has no spread, hence no interval
(`UNBOUNDED`) and no p-value (None). Slabs of one head, masks of one scan and eyes of one patient
are not independent: where the `n` units are of fewer ``subjects``, there is no p-value, and the
row decides nothing.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from recon.errors import InputError
from recon.paths import project_root

__all__ = [
    "COUNTED",
    "DIFFERENCE_FIELDS",
    "ROW_FIELDS",
    "UNBOUNDED",
    "check_row",
    "evidence",
    "one_head",
    "row",
    "settled",
    "stored",
    "undecidable",
    "widened",
]

COUNTED = "network"  # unit of what is counted: exact, so it has neither interval nor chance
PARTS = {"mask": "scan", "slice": "head", "block": "head", "slab": "head"}  # what they are parts of
UNBOUNDED = (-math.inf, math.inf)  # the interval that excludes nothing; None in a file
SHARES = ("auc", "missed", "lost", "alarm", "found")  # metrics between 0 and 1

ROW_FIELDS: dict[str, tuple[type, ...]] = {
    "data": (str,),
    "task": (str,),
    "contrast": (str,),
    "accel": (int, float),
    "effective_accel": (int, float),
    "method": (str,),
    "metric": (str,),
    "region": (str,),
    "value": (int, float),
    "ci95": (list, tuple, type(None)),
    "n": (int,),
    "unit": (str,),
}
DIFFERENCE_FIELDS: dict[str, tuple[type, ...]] = {
    "against": (str,),
    "p_value": (int, float, type(None)),
}
FREE_FIELDS = (str, int, float, bool, type(None))


def row(
    *,
    data: str,
    task: str,
    contrast: str,
    accel: float,
    effective_accel: float,
    method: str,
    metric: str,
    region: str,
    value: float,
    ci95: Sequence[float],
    n: int,
    unit: str = "volume",
    **more: Any,
) -> dict[str, Any]:
    """One tidy row; `against` and `p_value` in `more` make it a difference row.

    Numbers may be NumPy or torch scalars. Raises `InputError` for a field of the wrong type or a
    value that is not finite.
    """
    fields = {
        "data": data,
        "task": task,
        "contrast": contrast,
        "accel": _number(accel),
        "effective_accel": _number(effective_accel),
        "method": method,
        "metric": metric,
        "region": region,
        "value": _number(value),
        "ci95": [_number(bound) for bound in ci95],
        "n": int(n),
        "unit": unit,
        **{name: _number(extra) for name, extra in more.items()},
    }
    check_row(fields, "a row")
    return settled(fields)


@lru_cache
def one_head(data: str) -> bool:
    """Whether a data set is slabs of a single head, as sets of the kind ``nifti`` are."""
    path = project_root() / "data_manifests" / f"{data}.yml"
    return path.is_file() and yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] == "nifti"


def settled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row that says no more than its units can, see the top of this file.

    Intervals of shares stay between 0 and 1. Where a share is 0 (or 1) in all of n units, a mean
    further than ``1 - 0.025^(1/n)`` from it would hardly have let all of them agree.
    """
    one, n = dict(fields), fields["n"]
    if one["unit"] == "volume" and one_head(one.get("data", "")):
        one["unit"] = "slab"
    if one["unit"] in PARTS and n > 1:
        one.setdefault("subjects", 1)
    low, high = one["ci95"] or UNBOUNDED
    if n < 2 and one["unit"] != COUNTED:
        low, high = UNBOUNDED
    elif one["metric"] in SHARES:
        reach = 1 - 0.025 ** (1 / n) if low == high and low in (-1, 0, 1) else 0.0
        least = -1.0 if "against" in one else 0.0
        low, high = max(low - reach, least), min(high + reach, 1.0)
    one["ci95"] = [low, high]
    if "against" in one and undecidable(one):
        one["p_value"] = None
    return one


def undecidable(fields: Mapping[str, Any]) -> str:
    """Why a row decides nothing, in words; empty where it may."""
    n, unit, subjects = int(fields["n"]), fields.get("unit", "volume"), fields.get("subjects")
    if n < 2 and unit != COUNTED:
        return f"one {unit} has no interval"
    if subjects is None or subjects >= n:
        return ""
    whole = PARTS.get(unit, "patient")
    bodies = f"one {whole}" if subjects == 1 else f"{subjects:.0f} {whole}s"
    return f"the {n} {unit}s are of {bodies}"


def evidence(fields: Mapping[str, Any]) -> tuple[float, float]:
    """The interval that answers rest on: `UNBOUNDED` where the row decides nothing."""
    return UNBOUNDED if undecidable(fields) else tuple(fields["ci95"])


def widened(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose interval a percentile bootstrap made, with a t interval's width.

    The bootstrap's half width is about ``1.96 s sqrt((n - 1) / n) / sqrt(n)``, and covers the truth
    in 76 % of cases at n = 3 and 91 % at n = 12. What is counted has no spread, and times of rounds
    reach from the fastest to the slowest: they stay as they are.
    """
    from scipy.special import stdtrit  # half a second

    n, value = fields["n"], fields["value"]
    timed = fields["task"] == "cost" and fields["unit"] == "round" and "size" not in fields
    if n < 2 or timed or fields["ci95"] is None:
        return dict(fields)
    factor = float(stdtrit(n - 1, 0.975)) / (1.959964 * math.sqrt((n - 1) / n))
    return {**fields, "ci95": [value + factor * (end - value) for end in fields["ci95"]]}


def stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a file holds it: None for `UNBOUNDED`, which JSON has no numbers for."""
    return (
        {**fields, "ci95": None}
        if tuple(fields["ci95"] or UNBOUNDED) == UNBOUNDED
        else dict(fields)
    )


def _number(value: Any) -> Any:
    """A Python number from a NumPy or torch scalar; anything else as it is."""
    return value.item() if hasattr(value, "item") else value


def check_row(fields: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` unless `fields` is a well-formed row; `where` names its place."""
    if not isinstance(fields, Mapping):
        raise InputError(f"{where} is {fields!r}, but must hold fields.")
    expected = dict(ROW_FIELDS)
    if "against" in fields or "p_value" in fields:
        expected |= DIFFERENCE_FIELDS
    for name, kinds in expected.items():
        if name not in fields:
            raise InputError(f"{where} has no field {name!r}: every row of its kind needs one.")
        if not isinstance(fields[name], kinds) or isinstance(fields[name], bool):
            raise InputError(
                f"{where}: {name} is {fields[name]!r}, but must be of type {kinds[0].__name__}."
            )
    for name, value in fields.items():
        if name not in expected and not isinstance(value, FREE_FIELDS):
            raise InputError(f"{where}: {name} is {value!r}, but a row holds plain values only.")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}: {name} is {value}, but results must be finite numbers.")
    if fields["n"] < 1 or not 0 <= (fields.get("p_value") or 0) <= 1:
        told = {name: fields.get(name) for name in ("n", "p_value")}
        raise InputError(f"{where}: {told}, but n counts from 1 and p lies from 0 to 1.")
    if "against" in fields and fields["p_value"] is None and not undecidable(fields):
        raise InputError(f"{where}: p_value is None, but {fields['n']} units can be tested.")
    bounds = fields["ci95"]
    if bounds is None or tuple(bounds) == UNBOUNDED:
        return
    if len(bounds) != 2 or not all(
        isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds
    ):
        raise InputError(f"{where}: ci95 is {bounds!r}, but must be two finite numbers.")
    if bounds[0] > bounds[1]:
        raise InputError(f"{where}: ci95 is {bounds!r}, but its lower bound must come first.")
