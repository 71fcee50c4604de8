"""Pictures in ``.npy`` files."""

from pathlib import Path

import numpy as np

from recon.errors import InputError

__all__ = ["read_picture"]


def read_picture(path: Path | str, axes: int) -> np.ndarray:
    """An array of real numbers, read from the disk where it is looked at; `InputError` if none."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is no file: pass a .npy file of a picture.")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise all kinds, and pickles are not read
        reason = " ".join(str(error).split()) if isinstance(error, OSError) else "or is damaged"
        raise InputError(f"{path} is no .npy file ({reason}): save it with numpy.save.") from None
    shape, kind = getattr(found, "shape", ()), getattr(found, "dtype", np.dtype("V1")).kind
    if kind not in "iuf" or len(shape) != axes or 0 in shape:
        what = f"no picture of {axes} axes in real numbers, but an array {shape} of kind {kind}"
        raise InputError(f"{path} holds {what}: save one array with numpy.save.")
    return found
