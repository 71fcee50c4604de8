"""A run's numbers: tidy rows in one JSON file, written whole or not at all.

Figures of a run lie beside its numbers, under the same name.
"""

import errno
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from recon.errors import InputError
from recon.paths import project_root, runs_dir
from recon.results.rows import (
    DIFFERENCE_FIELDS,
    ROW_FIELDS,
    check_row,
    row,
    settled,
    stored,
    widened,
)

__all__ = [
    "Run",
    "canonical",
    "frame",
    "load",
    "load_all",
    "reference_dir",
    "reference_runs",
    "row",
    "run_name",
    "run_path",
    "save",
    "save_figure",
    "write_figure",
    "write_text",
]

LONGEST = 80  # characters of a run's name: a file name, and a line on a page
DIGITS = 7  # of a stored number; more are noise, and double the size of a file


@dataclass(frozen=True)
class Run:
    """One execution of one chapter.

    Attributes
    ----------
    chapter : name of the chapter, ``book/<chapter>.py``
    profile : ``quick``, ``standard`` or ``paper``
    parameters : every parameter of the chapter, by name
    rows : tidy rows, see `row`
    provenance : what the result depends on, see `recon.results.provenance.collect`
    intervals : ``t``, or ``widened`` where a file of old held percentile bootstrap intervals
    """

    chapter: str
    profile: str
    parameters: dict[str, Any]
    rows: list[dict[str, Any]]
    provenance: dict[str, Any]
    intervals: str = "t"


def check_run(run: Run, where: str) -> None:
    """Raise `InputError` unless `run` is well formed; `where` names its file."""
    if not re.fullmatch(r"[a-z0-9_]+", str(run.chapter)):
        raise InputError(
            f"{where}: chapter is {run.chapter!r}, but must be a plain lower-case name."
        )
    kinds = {"profile": str, "parameters": Mapping, "rows": list, "provenance": Mapping}
    for name, kind in kinds.items():
        if not isinstance(getattr(run, name), kind):
            raise InputError(f"{where}: {name} is no {kind.__name__}: run its chapter again.")
    if not run.rows:
        raise InputError(f"{where} has no rows: a run without a number is no result.")
    for index, fields in enumerate(run.rows):
        check_row(fields, f"{where}, row {index}")


def defaults(chapter: str) -> dict[str, Any]:
    """The parameters of `chapter` and their default values, or none if there is no such chapter."""
    from recon.results.parameters import declared  # it reads chapters; the store mostly does not

    path = project_root() / "book" / f"{chapter}.py"
    return declared(path) if path.is_file() else {}


def run_name(chapter: str, parameters: Mapping[str, Any]) -> str:
    """Name of a run: the chapter, then every parameter that differs from the chapter's default.

    Beyond `LONGEST` characters the end of the name is replaced by a hash of the whole.

    >>> run_name("no_such_chapter", {"accel": 6, "profile": "standard"})
    'no_such_chapter_accel-6_profile-standard'
    """
    usual = defaults(chapter)
    parts = [chapter]
    for name, value in sorted(parameters.items()):
        if name not in usual or usual[name] != value:
            parts.append(f"{name}-{_short(canonical(value))}")
    whole = "_".join(parts)
    if len(whole) <= LONGEST:
        return whole
    return f"{whole[: LONGEST - 7]}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def canonical(value: Any) -> Any:
    """A whole number as an int, however it was written: 6.0 and 6 are one value."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


def _short(value: Any) -> str:
    """`value` as a part of a file name; long or path-like values end in a hash of the whole.

    A value that is stored so shortened, as a path is, stays as it is.
    """
    text = str(value)
    if not text:
        return "none"
    if re.fullmatch(r"[A-Za-z0-9.+-]{1,24}-[0-9a-f]{6}", text):
        return text
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", PurePath(text).name).strip("-.")[:24]
    if plain == text or re.fullmatch(r"[A-Za-z0-9_.+-]{1,24}", text):
        return plain
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def run_path(chapter: str, parameters: Mapping[str, Any], suffix: str = ".json") -> Path:
    """Where the run of `chapter` under `parameters` is kept, in `recon.paths.runs_dir`."""
    return runs_dir() / (run_name(chapter, parameters) + suffix)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes | None) -> None:
    """Write `content` to `path` whole or not at all: a temporary file beside it, then a rename.

    Without content, only try the place: `InputError` where nothing could be written.
    """
    temporary = None
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not path.is_file():  # a rename would replace the device or the pipe
            raise OSError(errno.EINVAL, "it is no regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content or b"")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private
        if content is not None:
            temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): free some space or choose another place."
        ) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _without_folders(value: Any) -> Any:
    """An absolute path as its last part and a hash: a result names no machine's folders.

    It is what `run_name` makes of the path, so a run that was stored keeps its name.
    """
    if isinstance(value, str) and PurePath(value).is_absolute():
        return _short(value)
    return value


def _short_numbers(value: Any) -> Any:
    """Numbers of `DIGITS` significant digits, within lists and mappings as well."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _short_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short_numbers(item) for item in value]
    return value


def save(run: Run, path: Path | None = None) -> Path:
    """Write `run` as JSON (sorted keys) to `path`, by default to its `run_path`; returns the path.

    Numbers of its rows keep `DIGITS` significant digits.

    Raises
    ------
    InputError
        If a row is malformed or not finite, or the file cannot be written. An older file of the
        same name is then left as it was.
    """
    path = run_path(run.chapter, run.parameters) if path is None else Path(path)
    check_run(run, path.name)
    content = asdict(run)
    content["rows"] = _short_numbers([stored(fields) for fields in run.rows])
    content["parameters"] = {
        name: _without_folders(value) for name, value in run.parameters.items()
    }
    try:
        text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path.name} cannot be stored as JSON: {error}.") from error
    write_text(path, text + "\n")
    return path


def save_figure(run: Run, label: str, figure: Any) -> Path:
    """Write a Matplotlib figure of `run` as ``NAME_label.png`` beside its numbers."""
    return write_figure(run_path(run.chapter, run.parameters, f"_{label}.png"), figure)


def write_figure(path: Path, figure: Any) -> Path:
    """Write a Matplotlib figure to `path` as PNG, whole or not at all; returns the path."""
    image = io.BytesIO()
    figure.savefig(image, format="png", bbox_inches="tight", metadata={"Software": None})
    write_bytes(path, image.getvalue())
    return path


def load(path: Path) -> Run:
    """Read a run; `InputError` for a file that is missing, damaged or not of this form."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        run = Run(**{"intervals": "percentile", **content})
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path.name} is not a run of the book ({error}): delete it, or run its chapter again."
        ) from error
    check_run(run, path.name)
    old = run.intervals == "percentile"
    rows = [settled(widened(fields) if old else fields) for fields in run.rows]
    return replace(run, rows=rows, intervals="widened" if old else run.intervals)


def frame(runs: Iterable[Run]) -> Any:
    """All rows of `runs` in one tidy pandas frame.

    Beside the fields of a row: ``lo`` and ``hi`` (the interval's bounds), ``chapter``, ``profile``,
    ``run`` (its name), ``seed``, ``git_commit`` and ``device``.
    """
    import pandas as pd  # half a second; chapters that only store rows need not wait for it

    records = []
    for run in runs:
        about = {
            "chapter": run.chapter,
            "profile": run.profile,
            "run": run_name(run.chapter, run.parameters),
            "seed": run.parameters.get("seed"),
            "git_commit": run.provenance.get("git_commit"),
            "device": run.provenance.get("device"),
        }
        for fields in map(settled, run.rows):
            lo, hi = fields["ci95"]
            records.append({**about, **fields, "lo": lo, "hi": hi})
    columns = ["chapter", "profile", "run", "seed", "git_commit", "device", *ROW_FIELDS]
    columns += [*DIFFERENCE_FIELDS, "lo", "hi"]
    table = pd.DataFrame.from_records(records)
    extra = [name for name in table.columns if name not in columns]
    return table.reindex(columns=[*columns, *extra]).drop(columns="ci95")


def load_all(folder: Path) -> Any:
    """Every run in `folder` as one tidy frame, see `frame`."""
    return frame(load(path) for path in sorted(Path(folder).glob("*.json")))


def reference_dir() -> Path:
    """Folder of the committed reference runs."""
    return project_root() / "book" / "results"


def reference_runs(chapter: str = "*") -> list[Run]:
    """The committed reference runs of `chapter`, or of every chapter, in order of their names."""
    runs = [load(path) for path in sorted(reference_dir().glob("*.json"))]
    return [run for run in runs if chapter in ("*", run.chapter)]
