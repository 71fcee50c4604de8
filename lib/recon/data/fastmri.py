"""fastMRI files: HDF5 with centred k-space, the reference image and the scan's header.

The layout is that of the public data set (Zbontar et al. 2018; facebookresearch/fastMRI):
`kspace`, `reconstruction_rss` or `reconstruction_esc`, an ISMRMRD header in XML, attributes, and in
test files a `mask`. What is written here passes through the `fastmri` package's own reader. Data
are stored contiguously: compressed files are 30 times slower to read.
"""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from recon.data import hdf5
from recon.data.folders import files_of
from recon.data.format import Volume, make_target, read_header, write_header
from recon.errors import InputError

__all__ = [
    "Volume",
    "check",
    "list_volumes",
    "make_target",
    "read_full",
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
    with hdf5.opened(path) as file:
        shape = _kspace_of(file).shape
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
    with hdf5.opened(path) as file:
        stored = _kspace_of(file)
        single_coil = stored.ndim == 3
        height, width = stored.shape[-2:]
        crop, padding = _read_header(file, width)
        mask = _read_mask(file, width)
        contrast = hdf5.text(file, "acquisition")
        if not contrast:
            raise InputError(
                f"{path}: the attribute 'acquisition' is missing: add the contrast, for example "
                "CORPD_FBK or AXT2."
            )
        reference = _reference_of(file, single_coil, len(stored), mask)
        kspace = hdf5.samples(stored, part, np.complex64)
        target = None if reference is None else hdf5.samples(reference, part, np.float32)
        crop = crop if reference is None else reference.shape[1:]
        attributes = hdf5.attributes(file)
    if crop[0] > height or crop[1] > width:
        raise InputError(
            f"{path}: the picture of {height} x {width} is smaller than its crop of "
            f"{crop[0]} x {crop[1]} (reconSpace): leave the file out or mend its header."
        )
    _check_padding(path, kspace, padding)
    return Volume(
        name=path.stem,
        kspace=kspace[:, None] if single_coil else kspace,
        target=target,
        contrast=contrast,
        crop=crop,
        padding=padding,
        single_coil=single_coil,
        mask=mask,
        attributes=attributes,
    )


def read_full(path: Path | str, slices: slice | None = None) -> Volume:
    """The same, of a fully sampled file: one whose k-space gives the reference image.

    Raises
    ------
    InputError
        Also when the file is undersampled itself.
    """
    volume = read_volume(path, slices)
    if volume.mask is not None:
        raise InputError(f"{path} is undersampled itself ('mask'): pass fully sampled files.")
    return volume


def check(path: Path, task: str) -> None:
    """Refuse, before anything is trained, a scan that could not be scored afterwards.

    Fields are read, and samples only until one is found that is not zero.

    Raises
    ------
    InputError
        As `read_volume`; for a test file without a reference image, for k-space or a reference
        that is all zero, and for a scan of the other task.
    """
    coils = volume_shape(path)[1]
    if (coils == 1) != (task == "singlecoil"):
        other = "singlecoil" if coils == 1 else "multicoil"
        raise InputError(
            f"{path}: 'kspace' has {coils} {'coil' if coils == 1 else 'coils'}, which does not "
            f"fit task={task!r}: pass task={other!r}."
        )
    volume = read_volume(path, slice(0, 0))
    if volume.target is None:
        raise InputError(
            f"{path} has no reference image (a test file): nothing can be compared with it; take "
            "it out of the folder."
        )
    with hdf5.opened(path) as file:
        asked = [(_kspace_of(file), np.complex64)]
        if volume.mask is not None:  # otherwise k-space gives the reference
            reference = _reference_of(file, volume.single_coil, len(asked[0][0]), volume.mask)
            asked.append((reference, np.float32))
        for stored, kind in asked:
            # From the middle outwards: of a good file, one coil of one slice is read.
            order = sorted(range(len(stored)), key=lambda i: abs(i - len(stored) // 2))
            coils = range(stored.shape[1]) if stored.ndim == 4 else [slice(None)]
            if not any(hdf5.samples(stored, (i, c), kind).any() for i in order for c in coils):
                raise InputError(
                    f"{path}: '{stored.name[1:]}' is all zero, so there is nothing to "
                    "reconstruct: take the file out of the folder."
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
        with suppress(OSError):  # such as a folder that is a file
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


def _kspace_of(file: h5py.File) -> h5py.Dataset:
    like = "complex, (slices, coils, H, W) or (slices, H, W)"
    return hdf5.array(file, "kspace", "c", like, (3, 4))


def _read_header(file: h5py.File, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    stored = hdf5.array(file, "ismrmrd_header", "OSU", "one text (XML)", (0, 1))
    try:
        return read_header(str(hdf5.plain(stored[()])), width)
    except ValueError as error:
        raise InputError(
            f"{file.filename}: 'ismrmrd_header' cannot be read ({str(error)[:200]}): it needs "
            "encodedSpace, reconSpace and encodingLimits that fit 'kspace', as in the fastMRI "
            "files."
        ) from None


def _check_padding(path: Path, kspace: np.ndarray, padding: tuple[int, int]) -> None:
    """The header's padding against the array: what was never acquired is zero.

    One column is let pass (the centre of an odd number of lines is rounded in either direction),
    and so is what a transform leaves of zeros.
    """
    width = kspace.shape[-1]
    edges = [*range(padding[0]), *range(width - padding[1], width)]
    columns = np.abs(kspace[..., edges]).max(tuple(range(kspace.ndim - 1)), initial=0)
    if edges and (columns > 1e-6 * np.abs(kspace).max(initial=0)).sum() > 1:
        raise InputError(
            f"{path}: 'ismrmrd_header' says that the first {padding[0]} and the last {padding[1]} "
            "columns of 'kspace' were never acquired (encodedSpace, center, maximum), but they "
            "hold samples: mend the header or the array."
        )


def _read_mask(file: h5py.File, width: int) -> np.ndarray | None:
    if "mask" not in list(file):  # a broken link is listed
        return None
    mask = hdf5.array(file, "mask", "buif", "zeros and ones, (W,)", range(1, 6))[()].reshape(-1)
    if len(mask) != width:
        raise InputError(
            f"{file.filename}: 'mask' has {len(mask)} entries for {width} columns of k-space: they "
            "must agree."
        )
    if not np.isin(mask, (0, 1)).all():
        raise InputError(f"{file.filename}: 'mask' holds more than zeros and ones: export it anew.")
    if not mask.any():
        raise InputError(f"{file.filename}: 'mask' keeps no column of k-space: take the file out.")
    return mask.astype(bool)


def _reference_of(
    file: h5py.File, single_coil: bool, slices: int, mask: np.ndarray | None
) -> h5py.Dataset | None:
    name = "reconstruction_esc" if single_coil else "reconstruction_rss"
    if name not in list(file):
        if mask is not None:
            return None
        raise InputError(
            f"{file.filename}: the dataset '{name}' is missing: without it (and without a 'mask', "
            "as test files have) there is nothing to compare with."
        )
    like = "real, one picture a slice, (slices, h, w)"
    stored = hdf5.array(file, name, "fiu", like, (3,))
    if len(stored) != slices:
        raise InputError(
            f"{file.filename}: '{name}' has {len(stored)} pictures for {slices} slices of k-space: "
            "it must hold one picture a slice."
        )
    return stored
