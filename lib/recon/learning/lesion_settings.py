"""Parameters of a chapter that are lists of numbers, written as text: ``"4,6,8"``."""

from typing import Any

from recon.errors import InputError
from recon.results.parameters import Rule

__all__ = ["listed", "numbers"]


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a text, joined by commas, each once and in order.

    Raises
    ------
    ValueError
        If one of them is no number.
    """
    return tuple(sorted({float(part) for part in str(text).split(",")}))


def listed(low: float, high: float, *words: str) -> Rule:
    """The rule that a parameter is one of some words, or numbers from ``low`` to ``high``."""
    also = "".join(f" or {word!r}" for word in words)

    def rule(name: str, value: Any) -> Any:
        if value in words:
            return value
        try:
            found = () if isinstance(value, bool) else numbers(value)
        except ValueError:
            found = ()
        if not found or not low <= found[0] <= found[-1] <= high:
            raise InputError(
                f"{name} is {value!r}, but must be numbers from {low:g} to {high:g} joined by "
                f"commas, in quotes{also}."
            )
        return value

    return rule
