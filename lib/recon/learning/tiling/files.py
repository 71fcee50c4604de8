"""Outputs of tiled runs on disk: NumPy and HDF5 files that appear whole or not at all."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from recon.errors import InputError

__all__ = ["Array", "Output"]


class Array:
    """An array that somebody holds, with the manners of an `Output`.

    Raises
    ------
    InputError
        If it has another shape than the result.
    """

    def __init__(self, data: Any, shape: tuple[int, ...], dtype: np.dtype):
        if data is not None and tuple(getattr(data, "shape", ())) != shape:
            raise InputError(
                f"out has shape {getattr(data, 'shape', None)}, but the result has {shape}."
            )
        self.data = np.empty(shape, dtype) if data is None else data
        self.done: set[int] = set()

    def write(self, number: int, where: tuple[slice, ...], piece: np.ndarray) -> None:
        """Put a piece in its place."""
        held = isinstance(self.data, torch.Tensor)
        self.data[where] = torch.from_numpy(piece).to(self.data.dtype) if held else piece

    def save(self) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """Nothing to do."""


class NpyFile:
    """A ``.npy`` file that is written piece by piece without being mapped into memory."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, new: bool):
        self.shape, self.dtype = shape, np.dtype(dtype)
        if new:
            with path.open("wb") as file:
                header = {"descr": np.lib.format.dtype_to_descr(self.dtype)}
                header |= {"fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                self.offset = file.tell()
                size = int(np.prod(shape)) * self.dtype.itemsize
                # All blocks now: a full disk is noticed here, not in the middle.
                os.posix_fallocate(file.fileno(), self.offset, size)
        else:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                self.offset = file.tell()
        self.file = path.open("r+b")

    def __setitem__(self, where: tuple[slice, ...], piece: np.ndarray) -> None:
        starts = [s.start or 0 for s in where]
        piece = np.ascontiguousarray(piece, self.dtype)
        strides = np.cumprod((self.dtype.itemsize, *self.shape[:0:-1]))[::-1]
        for index in np.ndindex(piece.shape[:-1]):
            place = np.add((*index, 0), starts) @ strides
            os.pwrite(self.file.fileno(), piece[index].tobytes(), self.offset + int(place))

    def flush(self) -> None:
        """To the disk."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Finish."""
        self.file.close()


class Hdf5File:
    """A data set ``data`` in an HDF5 file, its space taken at once."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, new: bool):
        self.file = h5py.File(path, "w" if new else "r+")
        if new:
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plist.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)  # or a full disk goes unnoticed
            space = h5py.h5s.create_simple(shape)
            kind = h5py.h5t.py_create(np.dtype(dtype))
            h5py.h5d.create(self.file.id, b"data", kind, space, plist)
            self.file.flush()
        self.data = self.file["data"]

    def __setitem__(self, where: tuple[slice, ...], piece: np.ndarray) -> None:
        self.data[where] = piece

    def flush(self) -> None:
        """To the disk."""
        self.file.flush()

    def close(self) -> None:
        """Finish."""
        self.file.close()


class Output:
    """A file in the making, and the record of the pieces that are in it.

    ``result.npy.part`` grows beside the final name, and ``result.npy.part.log`` holds the run's
    key and, a line each, the pieces that are safely in the file; a torn last line does not count.

    Parameters
    ----------
    path : Path
        Ends in ``.npy`` or ``.h5``.
    shape, dtype
        Of the array.
    made_from : str
        What the result depends on; a part that was made from something else is thrown away.
    resume : bool
        Go on from a part that is there.

    Raises
    ------
    InputError
        If the file exists, its name has another ending, or the disk is full.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: Any, made_from: str, resume: bool
    ):
        kinds = {".npy": NpyFile, ".h5": Hdf5File, ".hdf5": Hdf5File}
        if path.suffix not in kinds:
            raise InputError(f"{path.name}: out must end in .npy, .h5 or .hdf5.")
        if path.exists():
            raise InputError(f"{path} exists; remove it, or give out another name.")
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.log = path.with_name(path.name + ".part.log")
        key = hashlib.sha256(made_from.encode()).hexdigest()
        self.done: set[int] = set()
        self.waiting: list[int] = []
        if resume and self.part.exists() and self.log.exists():
            lines = self.log.read_text().split("\n")[:-1]
            if lines and lines[0] == key:
                self.done = {int(line) for line in lines[1:]}
        try:
            if not self.done:
                self.part.unlink(missing_ok=True)
                self.log.write_text(key + "\n")
            self.data = kinds[path.suffix](self.part, shape, dtype, new=not self.done)
        except (OSError, ValueError, RuntimeError) as error:  # HDF5 has no error of its own
            self.discard()
            raise self.full(error) from error

    def full(self, error: Exception) -> InputError:
        """What to say when nothing more can be written."""
        reason = getattr(error, "strerror", None) or str(error).split(",")[0].splitlines()[0]
        return InputError(
            f"{self.path}: the output cannot be written ({reason}); free some "
            "space, or name a file on another disk."
        )

    def discard(self) -> None:
        """Remove what is there of the part."""
        for path in (self.part, self.log):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def write(self, number: int, where: tuple[slice, ...], piece: np.ndarray) -> None:
        """Put a piece in its place."""
        try:
            self.data[where] = piece
        except (OSError, RuntimeError) as error:
            raise self.full(error) from error
        self.waiting.append(number)

    def save(self) -> None:
        """First the pieces to the disk, then the record of them."""
        if not self.waiting:
            return
        try:
            self.data.flush()
            with self.log.open("a") as file:
                file.write("".join(f"{number}\n" for number in self.waiting))
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            raise self.full(error) from error
        self.waiting.clear()

    def finish(self) -> None:
        """Give the file its name."""
        self.save()
        self.data.close()
        self.part.replace(self.path)
        self.log.unlink(missing_ok=True)
