"""The ISMRMRD header of a fastMRI file, as far as it is read.

Three things are in it: the matrix that was encoded (H readout samples, W columns), the matrix of
the picture (h, w), and the range of columns that were really acquired. fastMRI stores k-space with
the zero frequency in the middle column, zeros standing where nothing was acquired:

    padding_left = W // 2 - center,        padding_right = W - (padding_left + maximum + 1).
"""

import xml.etree.ElementTree as etree

from fastmri.data.mri_data import et_query

__all__ = ["read_header", "write_header"]

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
        When the XML is malformed or lacks a field.
    """
    limits = ["encoding", "encodingLimits", "kspace_encoding_step_1"]
    try:
        root = etree.fromstring(xml)
        h, w = (int(et_query(root, ["encoding", "reconSpace", "matrixSize", a])) for a in "xy")
        encoded = int(et_query(root, ["encoding", "encodedSpace", "matrixSize", "y"]))
        left = encoded // 2 - int(et_query(root, [*limits, "center"]))
        right = width - (left + int(et_query(root, [*limits, "maximum"])) + 1)
    except (etree.ParseError, RuntimeError, TypeError) as error:
        raise ValueError(str(error)) from None
    return (h, w), (max(0, left), max(0, right))
