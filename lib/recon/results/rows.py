"""A tidy row of results: what it must hold, and how one is made.

A row is flat. Value rows carry the mean of a metric over `n` units with its bootstrap interval;
difference rows carry the mean paired difference ``method - against`` with the p-value of a paired
test. Everything that reads results (tables, claims, the scoreboard) reads these rows.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recon.errors import InputError

__all__ = ["DIFFERENCE_FIELDS", "ROW_FIELDS", "check_row", "row"]

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
    "ci95": (list, tuple),
    "n": (int,),
    "unit": (str,),
}
DIFFERENCE_FIELDS: dict[str, tuple[type, ...]] = {"against": (str,), "p_value": (int, float)}
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
    return fields


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
    if fields["n"] < 1 or not 0 <= fields.get("p_value", 0) <= 1:
        told = {name: fields.get(name) for name in ("n", "p_value")}
        raise InputError(f"{where}: {told}, but n counts from 1 and p lies from 0 to 1.")
    bounds = fields["ci95"]
    if len(bounds) != 2 or not all(
        isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds
    ):
        raise InputError(f"{where}: ci95 is {bounds!r}, but must be two finite numbers.")
    if bounds[0] > bounds[1]:
        raise InputError(f"{where}: ci95 is {bounds!r}, but its lower bound must come first.")
