"""Reading arrays out of files that somebody else wrote: what h5py finds wrong is said here, once.

A file is refused where an array is missing, lies elsewhere (links, virtual and external data sets:
such samples can change or vanish without the file changing), was never written in whole, or is
declared far larger than what the file can hold.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from recon.errors import InputError
from recon.paths import cache_dir

__all__ = ["array", "attributes", "check_range", "check_size", "opened", "plain", "samples", "text"]

MOST_COMPRESSED = 100  # undersampled k-space is packed 20 times at most; a bomb 1000 times
LARGEST, SMALLEST = 1e15, 1e-15  # beyond these, sums of squares leave single precision


@contextmanager
def opened(path: Path | str) -> Iterator[h5py.File]:
    """Open for reading; whatever HDF5 finds wrong, now or while reading, becomes one sentence."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file: check the path.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{path} is not readable: change its permissions.") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory: pass smaller files.") from None
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split(", errno")[0].split())[:200]
        made = cache_dir().resolve() in path.resolve().parents
        remedy = "delete it, and it is made anew" if made else "fetch it again or move it away"
        raise InputError(
            f"{path} is no whole HDF5 file ({reason}): it is truncated or of another format, so "
            f"{remedy}."
        ) from None


def array(file: h5py.File, name: str, kinds: str, like: str, axes: Collection[int]) -> h5py.Dataset:
    """An array of the file, without reading it.

    Parameters
    ----------
    file : h5py.File
    name : str
    kinds : str
        Kinds of number that it may hold, as `numpy.dtype.kind` letters.
    like : str
        What it must be, in words, for the sentence.
    axes : collection of int
        Numbers of axes that it may have.

    Raises
    ------
    InputError
        For an array that is missing, of another kind, elsewhere, not written, or too large.
    """
    path, stored = file.filename, file.get(name)
    if stored is None:
        raise InputError(
            f"{path}: the dataset '{name}' is missing: fetch the file again or move it away."
        )
    if not isinstance(stored, h5py.Dataset) or stored.shape is None:
        kind = "a group" if isinstance(stored, h5py.Group) else "empty"
        raise InputError(f"{path}: '{name}' is {kind}: it must be {like}.")
    if stored.ndim not in axes or stored.dtype.kind not in kinds or 0 in stored.shape:
        raise InputError(
            f"{path}: '{name}' is {stored.dtype} of shape {stored.shape}: it must be {like}."
        )
    if stored.is_virtual or stored.external or stored.file.filename != path:
        raise InputError(
            f"{path}: the samples of '{name}' lie in another file: copy them into this one."
        )
    if stored.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise InputError(
            f"{path}: '{name}' was never written in whole: fetch or export the file again."
        )
    size = stored.size * stored.dtype.itemsize
    check_size(f"{path}: '{name}'", size, stored.id.get_storage_size())
    return stored


def check_size(name: str, size: int, held: int) -> None:
    """Refuse ``size`` bytes that the ``held`` bytes of a file, or the memory, cannot hold."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > min(MOST_COMPRESSED * held, memory):
        raise InputError(
            f"{name} declares {size / 1e6:.4g} MB, where it holds {held / 1e6:.4g} MB and the "
            f"memory {memory / 1e6:.4g} MB: export it anew, in smaller files."
        )


def samples(stored: h5py.Dataset, part: Any, kind: type) -> np.ndarray:
    """A part of an array as ``complex64`` or ``float32``, finite and of a size that can be squared.

    Raises
    ------
    InputError
        For NaN, infinite, huge or tiny samples.
    """
    with np.errstate(over="ignore"):
        found = np.asarray(stored[part]).astype(kind, copy=False)
    name = stored.name.rsplit("/", 1)[-1]
    check_range(found, f"{stored.file.filename}: '{name}'")
    return found


def check_range(found: np.ndarray, name: str) -> None:
    """Refuse ``complex64`` or ``float32`` samples with which single precision cannot reckon."""
    parts = np.ascontiguousarray(found).view(np.float32)
    peak = max(float(parts.max(initial=0)), -float(parts.min(initial=0)))
    if not np.isfinite(peak):
        raise InputError(f"{name} holds NaN or infinite samples: fetch or export the file again.")
    if peak and not SMALLEST < peak < LARGEST:
        raise InputError(
            f"{name} has its largest sample at {peak:.3g}, whose square leaves single precision: "
            "rescale it."
        )


def attributes(file: h5py.File) -> dict[str, Any]:
    """All attributes of the file, each `plain`."""
    return {name: plain(file.attrs[name]) for name in file.attrs}


def plain(value: Any) -> Any:
    """What an attribute says, however its writer stored it.

    Text comes as str, bytes, padded, or in an array of one element (MATLAB, Julia, C): here as
    stripped str. An array of one number is that number; an empty attribute is "".
    """
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return (
        value.decode("utf-8", "replace").strip(" \t\r\n\0") if isinstance(value, bytes) else value
    )


def text(file: h5py.File, name: str) -> str:
    """One attribute as text; "" where it is missing or empty.

    Raises
    ------
    InputError
        When it holds several values.
    """
    value = plain(file.attrs[name]) if name in file.attrs else ""
    if not isinstance(value, str | np.generic):
        raise InputError(
            f"{file.filename}: the attribute '{name}' holds several values: write one text."
        )
    return str(value)
