"""BART, the Berkeley Advanced Reconstruction Toolbox, where it is installed (Debian: ``bart``).

A program of its own, so arrays pass through files: a text header and raw complex64, first axis
fastest, the coils on axis 3.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["Bart", "available", "read_cfl", "write_cfl"]


def available() -> bool:
    """Whether there is a BART to run."""
    return shutil.which("bart") is not None


def write_cfl(path: Path, array: np.ndarray) -> None:
    """Write ``path.hdr`` and ``path.cfl``."""
    text = "# Dimensions\n" + " ".join(map(str, array.shape)) + "\n"
    path.with_suffix(".hdr").write_text(text)
    array.astype(np.complex64).flatten(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> np.ndarray:
    """Read what `write_cfl` or BART wrote, axes of length 1 kept."""
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F")


class Bart:
    """One k-space, written once, for commands to work on.

    Parameters
    ----------
    kspace : np.ndarray
        ``(coils, height, width)`` complex, centred.
    """

    def __init__(self, kspace: np.ndarray):
        self._folder = tempfile.TemporaryDirectory(prefix="recon-bart-")
        self.input = Path(self._folder.name) / "kspace"
        self.output = Path(self._folder.name) / "out"
        write_cfl(self.input, np.moveaxis(kspace, 0, -1)[:, :, None, :])

    def run(self, *words: str) -> None:
        """``bart WORDS kspace out``; RuntimeError with BART's own words if it fails."""
        command = ["bart", *words, str(self.input), str(self.output)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"bart {' '.join(words)}: {done.stderr.strip() or done.stdout}")

    def result(self) -> np.ndarray:
        """What the last command wrote: ``(coils, height, width)`` complex64."""
        return np.moveaxis(read_cfl(self.output).reshape(*self._shape(), -1), -1, 0)

    def _shape(self) -> tuple[int, int]:
        return read_cfl(self.input).shape[:2]
