"""A chapter checks the parameters that it was given.

papermill accepts any name and any value: it writes them into a new cell behind the parameters
cell, and a misspelt name changes nothing, silently. So the second cell of every chapter calls
`check`, which validates each declared parameter and looks for names that were injected but are
not known.

How injected names are found: papermill's cell begins with the comment ``# Parameters``, and
IPython keeps the source of every executed cell in its input history, ``In``. The names assigned
there are exactly the injected ones. Looking instead for unknown globals would accuse the reader's
own variables as soon as the cell is run a second time. Run as a plain script, a chapter has no
history and nothing can be injected.
"""

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from recon.errors import InputError
from recon.paths import check_checkout, places, project_root, runs_dir
from recon.results.store import canonical, write_bytes

__all__ = [
    "MRI",
    "check",
    "convert",
    "declared",
    "flag",
    "number",
    "one_of",
    "some_of",
    "text",
    "whole",
]

Rule = Callable[[str, Any], Any]


def one_of(*choices: str) -> Rule:
    """The rule that a parameter is one of `choices`."""

    def rule(name: str, value: Any) -> Any:
        if value not in choices:
            raise InputError(
                f"{name} is {value!r}, but must be one of {', '.join(map(repr, choices))}"
                f"{_did_you_mean(value, choices)}."
            )
        return value

    return rule


def number(low: float, high: float) -> Rule:
    """The rule that a parameter is a number from `low` to `high`."""

    def rule(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{name} is {value!r}, but must be a number from {low} to {high}.")
        if not low <= value <= high:  # also refuses NaN
            raise InputError(f"{name} is {value}, but must lie from {low} to {high}.")
        return value

    return rule


def whole(low: int, high: int) -> Rule:
    """The rule that a parameter is a whole number from `low` to `high`."""

    def rule(name: str, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} is {value!r}, but must be a whole number.")
        return number(low, high)(name, value)

    return rule


def flag() -> Rule:
    """The rule that a parameter is True or False."""

    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, bool):
            raise InputError(f"{name} is {value!r}, but must be True or False.")
        return value

    return rule


def text() -> Rule:
    """The rule that a parameter is a text that names a place or none, see `recon.paths.places`."""

    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise InputError(f"{name} is {value!r}, but must be a text in quotes.")
        if value:
            places(value)
        return value

    return rule


def some_of(*choices: str) -> Rule:
    """The rule that a parameter is ``all``, or names of `choices` joined by commas."""

    def rule(name: str, value: Any) -> Any:
        for part in str(value).split(","):
            one_of("all", *choices)(name, part)
        return value

    return rule


def data_set(*others: str) -> Rule:
    """The rule that a parameter names a manifest in ``data_manifests/``, or is one of `others`."""

    def rule(name: str, value: Any) -> Any:
        names = sorted(path.stem for path in (project_root() / "data_manifests").glob("*.yml"))
        return one_of(*others, *names)(name, value)

    return rule


def device() -> Rule:
    """The rule that a parameter is ``auto``, ``cpu``, ``mps`` or ``cuda`` (``cuda:1``)."""

    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            raise InputError(
                f"{name} is {value!r}, but must be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:1'."
            )
        return value

    return rule


MRI: dict[str, Rule] = {
    "profile": one_of("quick", "standard", "paper"),
    "data": data_set(),
    "data_root": text(),
    "test_data": data_set(""),
    "test_root": text(),
    "task": one_of("multicoil", "singlecoil"),
    "accel": number(2, 12),
    "center_fraction": number(0, 0.5),
    "mask_type": one_of("random", "equispaced", "equispaced_fraction"),
    "coils": whole(0, 64),
    "seed": whole(0, 2**31 - 1),
    "device": device(),
}
"""The rules of the parameters that all MRI chapters share."""


def check(values: MutableMapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Validate a chapter's parameters, put back what the rules return, and return it by name.

    A seed of 1000.0 would draw other masks than 1000, under the same name. A chapter with profiles
    stores a run in the end: the place for it is tried here, before the work.

    Parameters
    ----------
    values : the chapter's ``globals()``
    rules : a rule for every parameter that the chapter declares

    Raises
    ------
    InputError
        For an unknown injected name, a missing parameter, a wrong type or a value out of range; a
        place for runs that cannot be written, the library of another checkout.
    """
    check_checkout()
    for name in injected(values):
        if name not in rules:
            raise unknown(name, rules)
    missing = [name for name in rules if name not in values]
    if missing:
        raise InputError(f"parameter {missing[0]} has no value: run the parameters cell first.")
    checked = {name: rule(name, values[name]) for name, rule in rules.items()}
    values.update(checked)
    if "profile" in rules:
        write_bytes(runs_dir() / "place", None)
    return checked


def injected(values: Mapping[str, Any]) -> list[str]:
    """Names that papermill injected, read from IPython's input history in a chapter's globals."""
    cells = [
        cell
        for cell in values.get("In", [])
        if isinstance(cell, str) and cell.startswith("# Parameters\n")
    ]
    return [name for cell in cells for name in assignments(cell)]


def unknown(name: str, known: Iterable[str]) -> InputError:
    """The error for a parameter that the chapter does not have."""
    known = list(known)
    return InputError(
        f"unknown parameter {name!r}{_did_you_mean(name, known)}: "
        f"the chapter has {', '.join(known) or 'no parameters'}."
    )


def _did_you_mean(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), [word for word in known if word], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def assignments(source: str) -> dict[str, Any]:
    """Names assigned a literal in `source`, with their values, in order.

    Raises `ValueError` for anything but assignments of literals.
    """
    values = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring-like remark
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        else:
            raise ValueError(f"line {statement.lineno} is not an assignment")
        if not isinstance(target, ast.Name):
            raise ValueError(f"line {statement.lineno} does not assign to one name")
        values[target.id] = _literal(statement.value)
    return values


def _literal(node: ast.expr) -> Any:
    """Value of a literal; papermill writes infinities and NaN as ``float('inf')`` and the like."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        return float(ast.literal_eval(node.args[0]))
    return ast.literal_eval(node)


def declared(chapter: Path) -> dict[str, Any]:
    """Names and default values in the parameters cell of ``book/<chapter>.py``.

    The cell is the one whose marker carries the tag ``parameters``; it runs to the next marker. A
    page without such a cell takes no parameters.

    Raises
    ------
    InputError
        If the file cannot be read, or the cell holds more than literals.
    """
    chapter = Path(chapter)
    try:
        lines = chapter.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{chapter.name} cannot be read ({error.strerror}).") from error
    markers = [index for index, line in enumerate(lines) if line.startswith("# %%")]
    for start, stop in zip(markers, [*markers[1:], len(lines)], strict=True):
        if re.search(r'tags=\[[^\]]*"parameters"', lines[start]):
            try:
                return assignments("\n".join(lines[start + 1 : stop]))
            except (SyntaxError, ValueError) as error:
                raise InputError(
                    f"{chapter.name}: its parameters cell must hold literals only ({error})."
                ) from error
    return {}


def convert(name: str, given: str, default: Any) -> Any:
    """The text `given` on a command line as a value of the type of `default`.

    A number may be given for a number, whole or not (the chapter's own rule decides), and is the
    same however it was written; a text is taken as it stands.
    """
    if isinstance(default, str):
        return given
    if isinstance(default, bool):
        if given.lower() not in ("true", "false"):
            raise InputError(f"{name} is {given!r}, but must be true or false.")
        return given.lower() == "true"
    if isinstance(default, int | float):
        for kind in (int, float):
            try:
                value = canonical(kind(given))
                return float(value) if isinstance(default, float) else value
            except (ValueError, OverflowError):
                continue
        raise InputError(f"{name} is {given!r}, but must be a number like {default}.")
    try:
        return ast.literal_eval(given)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{name} is {given!r}, but must be a literal like {default!r}.") from error
