"""What a fastMRI file holds: the volume, its reference image, and the ISMRMRD header.

Three things are read of the header: the matrix that was encoded (H readout samples, W columns),
the matrix of the picture (h, w), and the range of columns that were really acquired. fastMRI stores
k-space with the zero frequency in the middle column, zeros standing where nothing was acquired:

    padding_left = W // 2 - center,        padding_right = W - (padding_left + maximum + 1).
"""

import xml.etree.ElementTree as etree
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft
from fastmri.data.mri_data import et_query

__all__ = ["Volume", "make_target", "read_header", "write_header"]

TEMPLATE = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <encoding>
    <trajectory>cartesian</trajectory>
    <encodedSpace>
      <matrixSize><x>{H}</x><y>{W}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{H_mm:.4f}</x><y>{W_mm:.4f}</y><z>{thick:.4f}</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>{h}</x><y>{w}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{h_mm:.4f}</x><y>{w_mm:.4f}</y><z>{thick:.4f}</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
      </kspace_encoding_step_1>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>
"""


@dataclass
class Volume:
    """One scan, or some slices of it.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    kspace : np.ndarray
        ``(slices, coils, H, W)`` complex64, centred, orthonormal; one coil keeps its axis.
    target : np.ndarray or None
        ``(slices, h, w)`` float32, the centre of the reference image; None in test files.
    contrast : str
        The attribute ``acquisition``, such as CORPD_FBK or AXT2.
    crop : (int, int)
        Size (h, w) of the picture that is compared.
    padding : (int, int)
        Columns (left, right) of k-space that were never acquired and are zero.
    single_coil : bool
        Whether the file has no coil axis.
    mask : np.ndarray or None
        ``(W,)`` bool, in files that come undersampled.
    attributes : dict
        All attributes of the file (``max``, ``norm``, ``patient_id``, ...). When writing,
        ``pixel_mm`` (0.5) and ``thickness_mm`` (3) set the header's field of view.
    """

    name: str
    kspace: np.ndarray
    target: np.ndarray | None
    contrast: str
    crop: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    single_coil: bool = False
    mask: np.ndarray | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def make_target(kspace: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """Reference image of fully sampled k-space: RSS over the coils, cut to its centre.

    ``(slices, coils, H, W)`` complex to ``(slices, h, w)`` float32. With one coil it is the
    magnitude, fastMRI's ``reconstruction_esc``.
    """
    axes = (-2, -1)
    images = scipy.fft.ifft2(scipy.fft.ifftshift(kspace, axes=axes), norm="ortho")
    images = scipy.fft.fftshift(images, axes=axes)
    root = np.sqrt(np.sum(images.real**2 + images.imag**2, axis=1))
    top, left = ((n - c) // 2 for n, c in zip(root.shape[-2:], crop, strict=True))
    return root[:, top : top + crop[0], left : left + crop[1]].astype(np.float32)


def write_header(
    matrix: tuple[int, int],
    crop: tuple[int, int],
    padding: tuple[int, int],
    pixel_mm: float,
    thickness_mm: float,
) -> str:
    """The header as XML.

    Parameters
    ----------
    matrix : (int, int)
        Encoded k-space (H, W).
    crop : (int, int)
        Picture (h, w).
    padding : (int, int)
        Columns (left, right) that were not acquired.
    pixel_mm, thickness_mm : float
        Size of a voxel in the picture (square) and through it.
    """
    (height, width), (h, w), (left, right) = matrix, crop, padding
    return TEMPLATE.format(
        H=height,
        W=width,
        h=h,
        w=w,
        H_mm=height * pixel_mm,
        W_mm=width * pixel_mm,
        h_mm=h * pixel_mm,
        w_mm=w * pixel_mm,
        thick=thickness_mm,
        center=width // 2 - left,
        maximum=width - left - right - 1,
    )


def read_header(xml: str | bytes, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Crop (h, w) and padding (left, right) of k-space with ``width`` columns.

    Raises
    ------
    ValueError
        When the XML is malformed, lacks a field, or contradicts the width.
    """
    limits = ["encoding", "encodingLimits", "kspace_encoding_step_1"]
    try:
        root = etree.fromstring(xml)
        h, w = (int(et_query(root, ["encoding", "reconSpace", "matrixSize", a])) for a in "xy")
        encoded = int(et_query(root, ["encoding", "encodedSpace", "matrixSize", "y"]))
        center, maximum = (int(et_query(root, [*limits, name])) for name in ("center", "maximum"))
    except (etree.ParseError, RuntimeError, TypeError) as error:
        raise ValueError(str(error)) from None
    if min(h, w) < 1:
        raise ValueError(f"reconSpace is {h} x {w}")
    if encoded != width:
        raise ValueError(f"encodedSpace has {encoded} columns, the array {width}")
    left = encoded // 2 - center
    right = width - (left + maximum + 1)
    # The centre of an odd number of lines is rounded up or down.
    if min(left, right) < -1 or left + right >= width:
        raise ValueError(
            f"center {center} and maximum {maximum} leave {left} and {right} columns of padding "
            f"beside {width} columns"
        )
    return (h, w), (max(0, left), max(0, right))
