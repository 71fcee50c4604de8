"""B-scans as files: what is read, what is refused, and the padding that networks need.

A volume is a folder of images in the order of their names, or one image file. Images are 8-bit grey
PNG, TIFF or JPEG, also where a viewer has saved the same grey in three channels. Anything else is
refused and never converted: 16-bit and float images have no known display curve, and colour is a
rendering for the eye.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from recon.data.folders import files_of, regular_file
from recon.errors import InputError

__all__ = [
    "Crop",
    "Domains",
    "Truth",
    "crop_back",
    "image_files",
    "pad_to",
    "read_bscans",
    "read_image",
]

# By suffix, the one decoder that may open such a file, whatever it holds.
FORMATS = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".bmp": "BMP"}
FORMATS |= {".tiff": "TIFF", ".jpeg": "JPEG"}
LARGEST = 1 << 26  # pixels of a B-scan
Crop = tuple[slice, slice]


@dataclass(frozen=True)
class Domains:
    """Volumes of the two domains of one split.

    Attributes
    ----------
    high, low : list of Path
        High noise (few frames) and low noise (many frames); each a folder of images or one image.
        ``low`` is empty where a set has one domain only.
    paired : bool
        Whether ``high[i]`` and ``low[i]`` show the same eye at the same positions.
    simulated : bool
    """

    high: list[Path]
    low: list[Path]
    paired: bool
    simulated: bool


@dataclass(frozen=True)
class Truth:
    """What a simulated acquisition shows, aligned with its own images.

    Attributes
    ----------
    boundaries : np.ndarray
        ``(B, len(BOUNDARIES), W)`` float32, rows.
    clean : np.ndarray
        ``(B, H, W)`` float32 in [0, 1]: the display of the expected intensity.
    pathology : str
    shift : tuple of int
        Rows and columns by which this acquisition's picture lies lower and further right than the
        eye was drawn; boundaries and clean already have it.
    """

    boundaries: np.ndarray
    clean: np.ndarray
    pathology: str
    shift: tuple[int, int]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, which holds nothing else, in the order of their numbers."""
    return files_of(folder, tuple(FORMATS))


def read_bscans(path: Path) -> np.ndarray:
    """All B-scans of a volume.

    Parameters
    ----------
    path : Path
        Folder of images, or one image.

    Returns
    -------
    np.ndarray
        ``(B, H, W)`` float32 in [0, 1], grey levels over 255 and nothing else.

    Raises
    ------
    InputError
        For a folder without images, images of unequal size, and all that `read_image` refuses.
    """
    path = Path(path)
    files = image_files(path) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no image: put the PNG or TIFF files of one volume there.")
    images = [read_image(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"{file} has {_size(image)} pixels where {files[0].name} has {_size(images[0])}: "
                "give B-scans of different sizes folders of their own."
            )
    return np.stack(images).astype(np.float32) / np.float32(255)


def read_image(path: Path) -> np.ndarray:
    """Grey levels ``(H, W)`` uint8 of one file; three equal channels are one.

    Raises
    ------
    InputError
        For a file that is no image of the kind that its suffix says, and for colour, 16-bit and
        float images.
    """
    path = Path(path)
    regular_file(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} is no image that is read: export it as PNG or TIFF.")
    try:
        with Image.open(path, formats=(kind,)) as image:
            mode, pages = image.mode, getattr(image, "n_frames", 1)
            if image.width * image.height > LARGEST:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            grey = np.asarray(image)
    except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"it does not hold {kind}"
        raise InputError(
            f"{path} cannot be read as an image ({reason}): export it again."
        ) from None
    if pages > 1:
        raise InputError(
            f"{path} holds {pages} pictures: save each B-scan as a file of its own, in one folder."
        )
    if mode in ("F", "I") and not np.isfinite(grey).all():
        raise InputError(
            f"{path} holds NaN or infinite values: export the B-scan as the scanner displays it, "
            "as 8-bit grey."
        )
    if mode == "L":
        return grey
    if mode == "RGB" and (grey == grey[..., :1]).all():
        return grey[..., 0]
    what = {"F": "float", "1": "black-and-white"}.get(mode)
    what = what or ("16-bit or 32-bit" if mode.startswith("I") else f"colour (mode {mode})")
    raise InputError(
        f"{path} is a {what} image: export the B-scan as the scanner displays it, as 8-bit grey, "
        "because another scale or a colour map would be a guess."
    )


def pad_to(images: np.ndarray, multiple: int) -> tuple[np.ndarray, Crop]:
    """Mirror the edges until height and width are multiples, as 496 x 512 to 512 x 512.

    The rows are shared between the upper and the lower edge, the columns between left and right.

    Parameters
    ----------
    images : np.ndarray
        ``(..., H, W)``.
    multiple : int

    Returns
    -------
    images : np.ndarray
    crop : Crop
        ``padded[..., *crop]`` (or `crop_back`) is the images again.
    """
    height, width = images.shape[-2:]
    margins, crop = [(0, 0)] * (images.ndim - 2), []
    for size in (height, width):
        extra = -size % multiple
        margins.append((extra // 2, extra - extra // 2))
        crop.append(slice(extra // 2, extra // 2 + size))
    return np.pad(images, margins, mode="symmetric"), (crop[0], crop[1])


def crop_back(images: np.ndarray, crop: Crop) -> np.ndarray:
    """Undo `pad_to`; ``images`` may have any leading axes."""
    return images[..., crop[0], crop[1]]


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
