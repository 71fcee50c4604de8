"""Where things lie: the checkout, the cache of simulated data and trainings, the runs.

Nothing in a chapter may depend on the working directory (papermill runs a notebook in the
caller's, nbval and Jupyter in the notebook's), so every path starts here.
"""

import os
from pathlib import Path

from recon.errors import InputError

__all__ = ["cache_dir", "check_checkout", "place", "places", "project_root", "runs_dir"]


def project_root() -> Path:
    """The checkout of the book, found from this file's own place (``lib/recon/paths.py``).

    Raises
    ------
    InputError
        If the library was installed as a copy, away from the book.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "book").is_dir():
        raise InputError(
            f"{root} has no folder book/: install the library in place, "
            "with `pip install -e .` in the checkout of the book."
        )
    return root


def check_checkout() -> None:
    """Raise `InputError` where the library of one checkout would work in another, a copy of it."""
    root, here = project_root(), Path.cwd()
    around = (p for p in (here, *here.parents) if (p / "lib" / "recon" / "paths.py").is_file())
    if (found := next(around, root)).resolve() != root:
        raise InputError(
            f"{found} is a checkout of the book, but the library that runs is that of {root}: "
            f"run `make env` in {found} and use the environment there."
        )


def place(path: str | Path, remedy: str = "write the whole path") -> Path:
    """`path` made absolute, a ``~`` written out; `InputError` where there is no home folder."""
    try:
        found = Path(path).expanduser()
        return found.resolve() if ".." in found.parts else found.absolute()
    except RuntimeError:
        raise InputError(f"{path} begins at a home folder that is unknown: {remedy}.") from None


def places(value: str) -> list[Path]:
    """The place that `value` names, if it is there as it stands; else those between its commas."""
    parts = [part.strip() for part in value.split(",")]
    if os.path.exists(whole := place(value)):  # noqa: PTH110, Path's raises where it may not look
        return [whole]
    if not all(parts):
        raise InputError(f"{value!r} names a place on one side of a comma only: name both.")
    return [place(part) for part in parts]


def _folder(variable: str, default: str | Path) -> Path:
    """The folder that a variable of the environment names, or else `default`."""
    folder = place(os.environ.get(variable) or default, f"set {variable} to a whole path")
    if os.path.exists(folder) and not folder.is_dir():  # noqa: PTH110
        raise InputError(f"{folder} is no folder: delete it, or set {variable} to one.")
    return folder


def cache_dir() -> Path:
    """Folder of simulated data and trained weights: ``$RECON_CACHE``, or one in the home folder."""
    return _folder("RECON_CACHE", "~/.cache/images-from-less")


def runs_dir() -> Path:
    """Folder of the reader's own runs: ``$RECON_RUNS``, or ``runs/`` in the checkout."""
    return _folder("RECON_RUNS", project_root() / "runs")
