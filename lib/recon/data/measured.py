"""Measured k-space in a NumPy file, made a fastMRI file: ``python -m recon data import``.

An array does not say what its axes are, so its samples are asked: k-space is strongest at its zero
frequency, which lies in the middle, and neither rows nor columns are as few as coils.
"""

import hashlib
from pathlib import Path

import numpy as np

from recon.data import hdf5
from recon.data.fastmri import Volume, make_target, read_volume, write_volume
from recon.errors import InputError

__all__ = ["describe", "import_kspace", "write_measured"]

AXES = ("slices", "coils", "h", "w")
FEW, MANY = 16, 64  # fewer rows than FEW beside MANY of another axis: these are coils or slices


def write_measured(
    kspace: np.ndarray,
    path: Path | str,
    contrast: str = "UNKNOWN",
    patient: str = "",
    source: str = "",
) -> None:
    """Write measured k-space to a fastMRI file.

    Columns of zeros at the edges count as never acquired (padding). When other whole columns are
    zero the data are undersampled: the file gets a mask and no reference image.

    Parameters
    ----------
    kspace : np.ndarray
        ``(coils, H, W)`` or ``(slices, coils, H, W)`` complex, centred; W is the direction to be
        undersampled. The whole picture is kept: readout oversampling is not looked for.
    path : Path
        Where the ``.h5`` file goes.
    contrast : str
        The attribute ``acquisition``.
    patient : str
        The attribute ``patient_id``: files that share it are never split into training and test.
        By default a hash of the file's name.
    source : str
        The attribute ``source``: the file that the samples come from.

    Raises
    ------
    InputError
        For an array of another kind, not centred, or undersampled along both axes.
    """
    path, kspace = Path(path), np.asarray(kspace)
    about = {"patient_id": patient, "source": source}
    if kspace.ndim not in (3, 4) or not np.iscomplexobj(kspace) or not kspace.size:
        raise InputError(
            f"{path.stem}: k-space is {kspace.dtype} of shape {kspace.shape}: it must be complex, "
            "(coils, H, W) or (slices, coils, H, W); for another order, pass --axes."
        )
    with np.errstate(over="ignore"):
        kspace = kspace.astype(np.complex64).reshape(-1, *kspace.shape[-3:])
    hdf5.check_range(kspace, f"{path.stem}: k-space")
    if not kspace.any():
        raise InputError(f"{path.stem}: k-space is all zero: export it again.")
    _check_centred(kspace, path.stem)
    zero = (kspace == 0).all(axis=(0, 1))  # (H, W)
    columns = ~zero.all(axis=0)
    if zero[:, columns].mean() > 0.02:
        raise InputError(
            f"{path.stem}: {zero[:, columns].mean():.0%} of the samples in measured columns are "
            "zero: only whole columns may be left out, so pass fully sampled k-space."
        )
    first, last = np.flatnonzero(columns)[[0, -1]]
    whole = columns[first : last + 1].all()
    crop = kspace.shape[-2:]
    write_volume(
        path,
        Volume(
            name=path.stem,
            kspace=kspace,
            target=make_target(kspace, crop) if whole else None,
            contrast=contrast,
            crop=crop,
            padding=(int(first), int(len(columns) - 1 - last)),
            single_coil=kspace.shape[1] == 1,
            mask=None if whole else columns,
            attributes={name: value for name, value in about.items() if value},
        ),
    )


def zero_frequency(kspace: np.ndarray) -> tuple[int, int]:
    """Row and column of the strongest sample of ``(slices, coils, H, W)``, over all coils."""
    energy = _energy(kspace)
    return tuple(int(i) for i in np.unravel_index(energy.argmax(), energy.shape))


def _energy(array: np.ndarray) -> np.ndarray:
    return np.sum(array.real**2 + array.imag**2, axis=(0, 1), dtype=np.float64)


def _check_centred(kspace: np.ndarray, name: str) -> None:
    energy, peak = _energy(kspace), zero_frequency(kspace)
    picture = _energy(np.fft.fft2(kspace))
    if energy.max() / energy.mean() < picture.max() / picture.mean():
        raise InputError(
            f"{name}: this looks like an image, not like k-space, for its Fourier transform is "
            "more concentrated than itself: pass its centred transform."
        )
    middle = tuple(n // 2 for n in energy.shape)
    # Gradient delays shift real scans by a sample or two, more where readouts are oversampled.
    far = any(abs(p - m) > max(3, 2 * m // 64) for p, m in zip(peak, middle, strict=True))
    if far:
        raise InputError(
            f"{name}: read as {kspace.shape[1]} coils of {energy.shape[0]} x {energy.shape[1]}, "
            f"k-space is strongest at {peak[0]}, {peak[1]} and not in its middle {middle[0]}, "
            f"{middle[1]}: centre it (numpy.fft.fftshift over rows and columns), or pass the order "
            "of its axes with --axes."
        )


def import_kspace(
    path: Path | str,
    folder: Path | str,
    contrast: str = "UNKNOWN",
    swap: bool = False,
    axes: str = "",
) -> Path:
    """Turn a ``.npz`` (array ``kspace``, or its only one) or ``.npy`` file into a fastMRI file.

    Parameters
    ----------
    path, folder : Path
    contrast : str
        Acquisition, as fastMRI names it.
    swap : bool
        Exchange rows and columns, so that the other axis becomes the one to leave lines out of. A
        fully sampled slice can be tested in both directions.
    axes : str
        Names of the array's axes, joined by commas: ``h`` (rows), ``w`` (columns), ``coils``,
        ``slices``, and ``1`` for an axis of one element. By default ``coils,h,w``, or
        ``slices,coils,h,w``.

    Returns
    -------
    Path
        ``folder/<name>.h5`` or ``folder/<name>_swapped.h5``; see `write_measured` for what is
        refused.
    """
    path, folder = Path(path), Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: pass a folder for the .h5 file.")
    loaded = _load(path)
    kspace = _ordered(loaded, axes, path)
    if swap and kspace.ndim > 1:
        kspace = kspace.swapaxes(-2, -1)
    target = folder / f"{path.stem}{'_swapped' * swap}.h5"
    # The samples themselves, swapped or not: one scan is one patient under any name.
    patient, source = hashlib.sha256(loaded.tobytes()).hexdigest(), str(path.resolve())
    if target.exists():
        with hdf5.opened(target) as file:
            earlier = hdf5.text(file, "source")
            if earlier != source and hdf5.text(file, "patient_id") != patient:
                raise InputError(
                    f"{target} was made from {earlier or 'another file'}, not "
                    f"from {path}: rename the new file, or choose another folder."
                )
    write_measured(kspace, target, contrast, patient, source)
    return target


def describe(path: Path) -> str:
    """What was read, in a line: ``1 slice, 8 coils, 128 x 96, zero frequency at 64, 48``."""
    kspace = read_volume(path).kspace
    slices, coils, height, width = kspace.shape
    counts = f"{slices} slice{'s' * (slices > 1)}, {coils} coil{'s' * (coils > 1)}"
    row, column = zero_frequency(kspace)
    return f"{counts}, {height} x {width}, zero frequency at {row}, {column}"


def _load(path: Path) -> np.ndarray:
    """The array of a .npy or .npz file; whatever NumPy finds wrong becomes one sentence."""
    if not path.is_file():
        raise InputError(f"{path} is no file: pass a .npy or .npz file with k-space.")
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if not magic.startswith((b"PK", b"\x93NUMPY")):
            raise InputError(
                f"{path} is no .npy or .npz file: save the array 'kspace' with numpy.savez."
            )
        hdf5.check_size(str(path), path.stat().st_size, path.stat().st_size)
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        with loaded:
            names = loaded.files
            key = names[0] if len(names) == 1 else "kspace"
            if key not in names:
                raise InputError(
                    f"{path} holds {', '.join(names)[:200] or 'nothing'}: name the array 'kspace'."
                )
            for entry in loaded.zip.infolist():
                name = f"{path}: '{entry.filename}'"
                hdf5.check_size(name, entry.file_size, entry.compress_size)
            found = loaded[key]
            if not isinstance(found, np.ndarray):
                raise ValueError(f"{key} is no array")
            return found
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for damaged files
        reason = " ".join(str(error).split())[:200]
        reason = "it holds Python objects" if "pickle" in reason else reason
        raise InputError(
            f"{path} is no readable .npy or .npz file ({reason}): export it again."
        ) from None


def _ordered(array: np.ndarray, axes: str, path: Path) -> np.ndarray:
    """The array as ``(slices, coils, H, W)``, or as it is where nothing can be said."""
    usual = {3: AXES[1:], 4: AXES}.get(array.ndim, ())
    names = tuple(name.strip().lower() for name in axes.split(",")) if axes else usual
    if axes:
        known = [name for name in names if name != "1"]
        ones = [n for n, name in zip(array.shape, names, strict=False) if name == "1"]
        fits = len(names) == array.ndim and all(n == 1 for n in ones)
        if not fits or len({*known}) < len(known) or not {"h", "w"} <= {*known} <= {*AXES}:
            raise InputError(
                f"{path}: --axes {axes} does not fit an array of shape {array.shape}: name every "
                "axis once, h, w, coils or slices (1 for an axis of one element), as in h,w,coils."
            )
        array = array.reshape(
            [n for n, name in zip(array.shape, names, strict=True) if name != "1"]
        )
        missing = [name for name in AXES if name not in known]
        array = array.reshape(*(1 for _ in missing), *array.shape)
        return array.transpose([[*missing, *known].index(name) for name in AXES])
    if names and min(array.shape[-2:]) < FEW and max(array.shape) >= MANY:
        large = sorted(np.argsort(array.shape)[-2:])
        rest = iter(AXES[4 - array.ndim : 2])
        likely = ["hw"[large.index(i)] if i in large else next(rest) for i in range(array.ndim)]
        raise InputError(
            f"{path}: read as ({', '.join(names)}), an array of shape {array.shape} has pictures "
            f"of {array.shape[-2]} x {array.shape[-1]}: its order is rather --axes "
            f"{','.join(likely)}; if it is not, pass --axes {','.join(names)}."
        )
    return array
