"""NIfTI files: one volume of magnitudes, turned upright, or a sentence that says what is wrong."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from recon.data.folders import regular_file
from recon.errors import InputError

__all__ = ["SUFFIXES", "read_upright"]

SUFFIXES = (".nii.gz", ".nii")
KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the length of the header
LARGEST = 1 << 31  # bytes of a volume
SLACK = 1 << 20  # bytes of zeros that may follow the volume
DIFFERENT = 0.01  # by this part, two statements of one length contradict each other
NEGATIVE = 0.01  # share of the voxels that interpolation may leave below zero
SPIKE, LIMIT = 1e6, 1e30  # brightest voxel over bright tissue, and as such
UNITS = {1: 1000.0, 3: 0.001}  # metres and micrometres; all else is taken to be millimetres


def read_upright(path: Path, axes: str | None = None) -> tuple[np.ndarray, tuple[float, ...]]:
    """A head with its axes as an axial picture wants them.

    Parameters
    ----------
    path : Path
        NIfTI file with one volume of magnitudes. The little that interpolation leaves below zero
        becomes zero.
    axes : str, optional
        Where the array's three axes point (such as "LPS"), for files whose header doesn't know.

    Returns
    -------
    volume : np.ndarray
        ``(slices, rows, columns)`` float32: downwards from the vertex, anterior to posterior, the
        patient's right to left (radiological). Its 99.5th percentile is above 0.
    spacing : (float, float, float)
        Millimetres along these axes.

    Raises
    ------
    InputError
        For a file that is damaged, is no 3-D volume of magnitudes, or contradicts itself.
    """
    path = Path(path)
    regular_file(path)
    try:
        image, pixdim = _load(path)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or 0 in shape:
            raise InputError(f"the shape is {image.shape}: export a single 3-D volume")
        with np.errstate(over="ignore", invalid="ignore"):
            data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
        zooms = _spacing(image, pixdim)
        codes = tuple(axes) if axes else _pointing(image)
        _check_values(data)
    except InputError as error:
        raise InputError(f"{path}: {error}.") from None
    except Exception as error:  # nibabel, gzip and NumPy raise a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is no whole NIfTI file ({reason}): fetch it again.") from None
    turn = ornt_transform(axcodes2ornt(codes), axcodes2ornt(("I", "P", "L")))
    spacing = tuple(float(zooms[int(np.flatnonzero(turn[:, 0] == i)[0])]) for i in range(3))
    return np.maximum(apply_orientation(data, turn), 0), spacing


def _load(path: Path) -> tuple[nib.Nifti1Image, np.ndarray]:
    """The image, of NIfTI 1 or 2 and nothing else, and its ``pixdim``.

    The whole file is read, so that compressed bytes are held against their checksum.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else Path.open
    with opener(path, "rb") as stream:
        start = stream.read(540)
        sizes = [int.from_bytes(start[:4], order) for order in ("little", "big")]
        kind = next((KINDS[n] for n in sizes if n in KINDS), None)
        if kind is None:
            raise ValueError("no header of 348 or 540 bytes")
        length = kind.header_class.sizeof_hdr
        header = kind.header_class(start[:length], check=False)
        count = np.prod([int(n) for n in header.get_data_shape()], dtype=object)
        stored, offset = header.get_data_dtype(), int(header["vox_offset"])
        declared = offset + int(count) * stored.itemsize
        if offset < length + 4:
            raise InputError(f"vox_offset is {offset}, within the header: export it again")
        if declared > LARGEST:
            raise InputError(f"the header declares {declared:,} bytes: cut out a head")
        content = start + stream.read(max(declared - len(start), 0) + SLACK + 1)
    if len(content) > declared + SLACK or any(content[declared:]):
        raise InputError(f"the file goes on beyond the {declared:,} bytes of its header: mend it")
    if stored.kind not in "iuf":
        what = "complex" if stored.kind == "c" else "coloured"
        raise InputError(f"the voxels are {what} ({stored}): export magnitudes")
    return kind.from_bytes(content), np.abs(header["pixdim"][1:4])  # nibabel makes 1 mm of 0


def _spacing(image: nib.Nifti1Image, zooms: np.ndarray) -> np.ndarray:
    """Millimetres along the stored axes, which ``pixdim`` and the affine have to agree about."""
    affine = image.affine[:3, :3]
    lengths = np.linalg.norm(affine, axis=0)
    if not (np.isfinite(image.affine).all() and lengths.min() > 0):
        raise InputError("the affine (srow_x to srow_z) cannot be inverted: mend it")
    if abs(np.linalg.det(affine / lengths)) < 1e-3:
        raise InputError("two axes of the affine (srow_x to srow_z) are one: mend it")
    if not np.allclose(zooms, lengths, rtol=DIFFERENT, atol=0):
        said = [" x ".join(f"{n:.4g}" for n in given) for given in (zooms, lengths)]
        raise InputError(
            f"voxels of {said[0]} mm by pixdim, but of {said[1]} mm by the affine: find out which "
            "is true and mend the other"
        )
    return zooms * UNITS.get(int(image.header["xyzt_units"]) & 7, np.float32(1))


def _pointing(image: nib.Nifti1Image) -> tuple[str, ...]:
    """Where the axes point, which qform and sform have to agree about where both are set."""
    both = image.get_qform(coded=True)[0], image.get_sform(coded=True)[0]
    said = ["".join(map(str, nib.aff2axcodes(affine))) for affine in both if affine is not None]
    if len(set(said)) > 1:
        raise InputError(
            f"the axes point to {said[0]} by qform, but to {said[1]} by sform: find out which is "
            "true and mend the other"
        )
    return nib.aff2axcodes(image.affine)


def _check_values(data: np.ndarray) -> None:
    """Refuse what is no picture in magnitudes."""
    odd = int(data.size - np.isfinite(data).sum())
    if odd:
        raise InputError(
            f"{odd:,} of {data.size:,} voxels are NaN or infinite: write 0 where nothing was "
            "measured"
        )
    if data.min() < 0:
        bright = np.percentile(np.abs(data), 99.5)
        below, filled = int((data < -NEGATIVE * bright).sum()), int((data != 0).sum())
        if below > NEGATIVE * filled:
            raise InputError(
                f"{below:,} of the {filled:,} voxels that are not 0 are negative: pass magnitudes, "
                "such as the volume before it was z-scored (and no CT)"
            )
    bright, top = np.percentile(np.maximum(data, 0), 99.5), float(data.max())
    if bright < 1 / LIMIT or top > min(SPIKE * float(bright), LIMIT):
        raise InputError(
            f"the 99.5th percentile is {bright:g} and the brightest voxel {top:g}: export the head "
            "itself, without spikes and with less air"
        )
