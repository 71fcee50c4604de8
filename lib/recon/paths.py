"""Where things lie: the checkout, the cache of simulated data and trainings, the runs.

Nothing in a chapter may depend on the working directory (papermill runs a notebook in the
caller's, nbval and Jupyter in the notebook's), so every path starts here.
"""

import os
from pathlib import Path

from recon.errors import InputError

__all__ = ["cache_dir", "project_root", "runs_dir"]


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


def cache_dir() -> Path:
    """Folder of simulated data and trained weights: ``$RECON_CACHE``, or one in the home folder."""
    default = Path("~/.cache/images-from-less").expanduser()
    return Path(os.environ.get("RECON_CACHE") or default).expanduser()


def runs_dir() -> Path:
    """Folder of the reader's own runs: ``$RECON_RUNS``, or ``runs/`` in the checkout."""
    return Path(os.environ.get("RECON_RUNS") or project_root() / "runs").expanduser()
