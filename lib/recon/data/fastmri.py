"""fastMRI files: HDF5 with centred k-space, the reference image and the scan's header.

The layout is that of the public data set (Zbontar et al. 2018; facebookresearch/fastMRI):
`kspace`, `reconstruction_rss` or `reconstruction_esc`, an ISMRMRD header in XML, attributes, and in
test files a `mask`. What is written here passes through the `fastmri` package's own reader. Data
are stored contiguously: compressed files are 30 times slower to read.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from recon.data.folders import files_of
from recon.data.format import Volume, make_target, read_header, write_header
from recon.errors import InputError

__all__ = [
    "Volume",
    "check",
    "list_volumes",
    "make_target",
    "read_volume",
    "volume_shape",
    "write_volume",
]


def list_volumes(folder: Path | str) -> list[Path]:
    """The HDF5 files of a folder, sorted as texts; see `recon.data.folders` for what it may hold.

    Raises
    ------
    InputError
        For a folder that is missing, unreadable or empty, or holds anything else.
    """
    found = files_of(folder, (".h5",))
    if not found:
        raise InputError(f"{folder} is empty: put fastMRI-format .h5 files into it.")
    return sorted(found)


def volume_shape(path: Path | str) -> tuple[int, int, int, int]:
    """Shape (slices, coils, H, W) of a file's k-space, without reading it; see `read_volume`."""
    with _opened(Path(path)) as file:
        shape = _kspace_of(file, Path(path)).shape
    return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def read_volume(path: Path | str, slices: slice | None = None) -> Volume:
    """Read a fastMRI file; of a part of the slices only that part is read from the disk.

    Parameters
    ----------
    path : Path
    slices : slice, optional
        Which slices; all when not given.

    Raises
    ------
    InputError
        For a file that is no fastMRI volume; the sentence names the field that is wrong.
    """
    path = Path(path)
    part = slices if slices is not None else slice(None)
    with _opened(path) as file:
        stored = _kspace_of(file, path)
        single_coil = stored.ndim == 3
        height, width = stored.shape[-2:]
        crop, padding = _read_header(file, path)
        mask = _read_mask(file, path, width)
        if "acquisition" not in file.attrs:
            raise InputError(
                f"{path}: the attribute 'acquisition' is missing: add the contrast, for example "
                "CORPD_FBK or AXT2."
            )
        kspace = stored[part].astype(np.complex64, copy=False)
        if not np.isfinite(kspace).all():
            raise InputError(
                f"{path}: 'kspace' holds NaN or infinite samples: fetch or export the file again."
            )
        target = _read_target(file, path, single_coil, part, mask)
        if target is not None:
            if target.ndim != 3 or len(target) != len(kspace):
                raise InputError(
                    f"{path}: the reconstruction has shape {target.shape} beside {len(kspace)} "
                    "slices of k-space: it must hold one picture a slice."
                )
            crop = target.shape[1:]
        attributes = dict(file.attrs)
    if crop[0] > height or crop[1] > width:
        raise InputError(
            f"{path}: the picture of {height} x {width} is smaller than its crop of "
            f"{crop[0]} x {crop[1]} (reconSpace): leave the file out or mend its header."
        )
    return Volume(
        name=path.stem,
        kspace=kspace[:, None] if single_coil else kspace,
        target=target,
        contrast=str(attributes["acquisition"]),
        crop=crop,
        padding=padding,
        single_coil=single_coil,
        mask=mask,
        attributes=attributes,
    )


def check(volume: Volume, task: str) -> None:
    """Refuse a volume of the other task.

    Raises
    ------
    InputError
        When a ``singlecoil`` task meets many coils, or ``multicoil`` meets one.
    """
    coils = volume.kspace.shape[1]
    if task == "singlecoil" and not volume.single_coil and coils > 1:
        raise InputError(
            f"{volume.name}: 'kspace' has {coils} coils where one is expected: pass "
            "task='multicoil'."
        )
    if task == "multicoil" and coils == 1:
        raise InputError(
            f"{volume.name}: 'kspace' has one coil where several are expected: pass "
            "task='singlecoil'."
        )


def write_volume(path: Path | str, volume: Volume) -> None:
    """Write a fastMRI file: whole, or not at all.

    A test file (one with a mask) gets no reconstruction when ``volume.target`` is None.

    Raises
    ------
    InputError
        When the disk is full or the folder can't be written; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w") as file:
            _fill(file, volume)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # HDF5 buries the reason of the system in a report of several lines.
        number = error.errno if isinstance(error, OSError) else None
        buried = re.search(r"errno = (\d+)", str(error))
        number = number or (int(buried[1]) if buried else None)
        reason = os.strerror(number) if number else " ".join(str(error).split())
        raise InputError(
            f"{path} could not be written ({reason}): free space on that disk or choose another "
            "place (for simulated data, set RECON_CACHE)."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _fill(file: h5py.File, volume: Volume) -> None:
    kspace = volume.kspace[:, 0] if volume.single_coil else volume.kspace
    attributes = dict(volume.attributes)
    pixel = float(attributes.pop("pixel_mm", 0.5))
    thickness = float(attributes.pop("thickness_mm", 3.0))
    file["ismrmrd_header"] = write_header(
        kspace.shape[-2:], volume.crop, volume.padding, pixel, thickness
    )
    file.create_dataset("kspace", data=kspace.astype(np.complex64, copy=False))
    if volume.mask is not None:
        file.create_dataset("mask", data=volume.mask.astype(bool))
    if volume.target is not None:
        name = "reconstruction_esc" if volume.single_coil else "reconstruction_rss"
        file.create_dataset(name, data=volume.target.astype(np.float32, copy=False))
        attributes["max"] = float(volume.target.max())
        attributes["norm"] = float(np.linalg.norm(volume.target))
    attributes["acquisition"] = volume.contrast
    attributes.setdefault("patient_id", hashlib.sha256(volume.name.encode()).hexdigest())
    file.attrs.update(attributes)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open for reading; what HDF5 finds wrong becomes one sentence."""
    if not path.is_file():
        raise InputError(f"{path} is no file: check the path.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except PermissionError:
        raise InputError(f"{path} is not readable: change its permissions.") from None
    except OSError as error:
        raise InputError(
            f"{path} is no whole HDF5 file ({str(error).split(', errno')[0]}): it is truncated or "
            "of another format, so fetch it again or move it out of the folder."
        ) from None


def _kspace_of(file: h5py.File, path: Path) -> h5py.Dataset:
    stored = file.get("kspace")
    if not isinstance(stored, h5py.Dataset):
        raise InputError(
            f"{path}: the dataset 'kspace' is missing: a fastMRI file has one, so fetch the file "
            "again or move it out of the folder."
        )
    if stored.ndim not in (3, 4) or stored.dtype.kind != "c" or 0 in stored.shape:
        raise InputError(
            f"{path}: 'kspace' is {stored.dtype} of shape {stored.shape}: it must be complex, "
            "(slices, coils, H, W) or (slices, H, W)."
        )
    return stored


def _read_header(file: h5py.File, path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    if "ismrmrd_header" not in file:
        raise InputError(
            f"{path}: the dataset 'ismrmrd_header' is missing: fetch the file again, or write it "
            "with recon.data.fastmri.write_volume."
        )
    try:
        return read_header(file["ismrmrd_header"][()], file["kspace"].shape[-1])
    except ValueError as error:
        raise InputError(
            f"{path}: 'ismrmrd_header' cannot be read ({error}): it needs encodedSpace, reconSpace "
            "and encodingLimits, as in the fastMRI files."
        ) from None


def _read_mask(file: h5py.File, path: Path, width: int) -> np.ndarray | None:
    if "mask" not in file:
        return None
    mask = np.asarray(file["mask"]).reshape(-1).astype(bool)
    if len(mask) != width:
        raise InputError(
            f"{path}: 'mask' has {len(mask)} entries for {width} columns of k-space: they must "
            "agree."
        )
    if not mask.any():
        raise InputError(f"{path}: 'mask' keeps no column of k-space: take the file out.")
    return mask


def _read_target(
    file: h5py.File, path: Path, single_coil: bool, part: slice, mask: np.ndarray | None
) -> np.ndarray | None:
    name = "reconstruction_esc" if single_coil else "reconstruction_rss"
    if name in file:
        return file[name][part].astype(np.float32, copy=False)
    if mask is None:
        raise InputError(
            f"{path}: the dataset '{name}' is missing: without it (and without a 'mask', as test "
            "files have) there is nothing to compare with."
        )
    return None
