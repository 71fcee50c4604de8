"""Pairs of a small and a large image, from the reference images in fastMRI files, and real slices.

Stoian (2020, sections 2 and 5.1): every slice is a grey image; a random crop of 96 x 96 pixels is
flipped along either axis with a probability of one half and reduced by bicubic interpolation.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from recon.classical.interpolation import reduce, whole_crop
from recon.data import hdf5
from recon.data.measurement import Measurement, seed_of
from recon.data.nifti import read_upright
from recon.errors import InputError
from recon.results.arrays import read_picture

__all__ = ["Pairs", "grey", "head_slices", "measure_pair", "read_contrast", "read_images"]

HEAD = "studyforrest_t1_0p7mm.nii.gz"
SLICE = "swastling_t2_512.npy"
FIELDS = ("reconstruction_rss", "reconstruction_esc")


@lru_cache(maxsize=64)
def read_images(path: Path) -> np.ndarray:
    """The reference images of a fastMRI file, root sum of squares where it has them.

    The real single-coil files hold both, and Stoian (2020) took the root sum of squares.

    Returns
    -------
    np.ndarray
        ``(slices, H, W)`` float32, in the file's units.

    Raises
    ------
    InputError
        For a file that cannot be read or holds no such images.
    """
    with hdf5.opened(path) as file:
        name = next((field for field in FIELDS if field in list(file)), None)
        if name is None:
            raise InputError(
                f"{path}: neither {' nor '.join(FIELDS)} is there, so there is nothing to "
                "reduce: pass fully sampled files"
            )
        stored = hdf5.array(file, name, "fiu", "finite, (slices, height, width)", (3,))
        return hdf5.samples(stored, (), np.float32)


def read_contrast(path: Path) -> str:
    """The file's name of its contrast, such as ``CORPD_FBK``; ``unknown`` where it has none."""
    with hdf5.opened(path) as file:
        return hdf5.text(file, "acquisition") or "unknown"


def grey(images: np.ndarray) -> Tensor:
    """Slices ``(slices, H, W)`` as grey images ``(slices, 1, H, W)``, each from 0 to 1.

    A slice is divided by its own maximum; an empty one stays empty.
    """
    stack = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None].clamp(min=0)
    maximum = stack.amax(dim=(-2, -1), keepdim=True)
    return stack / torch.where(maximum > 0, maximum, torch.ones_like(maximum))


def measure_pair(image: Tensor, scale: int, name: str) -> Measurement:
    """A grey image ``(1, H, W)`` and its reduction, in the form that `fit` trains on.

    ``kspace`` holds the small image ``(1, h, w)`` and ``target`` the large one; the mask says
    that nothing was left out.
    """
    return Measurement(
        kspace=reduce(image[None], scale)[0],
        mask=torch.ones(1, 1, 1, dtype=torch.bool),
        target=image,
        scale=torch.ones(()),
        name=name,
    )


class Pairs(Dataset):
    """Every slice of a list of files, as pairs, for `recon.learning.training.fit`.

    Parameters
    ----------
    paths : sequence of Path
        fastMRI-format files.
    scale : int
        Factor of the reduction.
    crop : int
        Side of the large image's crop, a multiple of the scale; 0 keeps whole slices.
    seed : int
        Of crops and flips. An item ``(index, epoch)`` is drawn anew in every epoch; a plain index
        is the whole slice, unflipped.

    Raises
    ------
    InputError
        When the crop is no multiple of the scale, or larger than a slice.
    """

    def __init__(self, paths: Sequence[Path], scale: int, crop: int = 96, seed: int = 0):
        self.scale, self.crop, self.seed = scale, crop, seed
        if crop % scale:
            raise InputError(f"the crop of {crop} pixels is no multiple of the scale {scale}")
        self.items: list[tuple[Path, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        for path in paths:
            count, height, width = read_images(path).shape
            if crop > min(height, width):
                raise InputError(
                    f"{path}: slices of {height} x {width} are smaller than the crop of {crop} "
                    "pixels: pass a smaller crop"
                )
            self.items += [(path, number) for number in range(count)]
            side = (crop, crop) if crop else (height - height % scale, width - width % scale)
            self.shapes += [side] * count

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> Measurement:
        index, epoch = key if isinstance(key, tuple) else (key, None)
        path, number = self.items[index]
        image = grey(read_images(path)[number : number + 1])[0]
        if epoch is None or not self.crop:
            return measure_pair(whole_crop(image, self.scale), self.scale, path.stem)
        generator = torch.Generator().manual_seed(seed_of(self.seed, path.stem, number, epoch))

        def draw(below: int) -> int:
            return int(torch.randint(below, (), generator=generator))

        top, left = draw(image.shape[-2] - self.crop + 1), draw(image.shape[-1] - self.crop + 1)
        part = image[:, top : top + self.crop, left : left + self.crop]
        flips = [axis for axis in (-2, -1) if draw(2)]
        return measure_pair(part.flip(flips), self.scale, path.stem)


def head_slices(root: Path | str, each: int = 8) -> dict[str, np.ndarray]:
    """Real slices by plane: a head in three planes, and one axial slice of another.

    Parameters
    ----------
    root : Path
        Folder with the studyforrest head, the T2-weighted slice, or both.
    each : int
        Slices of the head in each plane, evenly spaced in its middle third.

    Returns
    -------
    dict
        ``axial``, ``coronal``, ``sagittal`` (the head) and ``T2 axial``, each
        ``(slices, H, W)`` float32.

    Raises
    ------
    InputError
        When neither file is there.
    """
    root = Path(root).expanduser()
    found: dict[str, np.ndarray] = {}
    if (root / HEAD).is_file():
        head = read_upright(root / HEAD, "LPS")[0]
        for axis, plane in enumerate(("axial", "coronal", "sagittal")):
            size = head.shape[axis]
            places = np.linspace(size / 3, 2 * size / 3, each).round().astype(int)
            found[plane] = np.moveaxis(head.take(places, axis), axis, 0)
    if (root / SLICE).is_file():
        found["T2 axial"] = np.array(read_picture(root / SLICE, 2)[None], dtype=np.float32)
        if not np.isfinite(found["T2 axial"]).all():
            raise InputError(f"{root / SLICE} holds NaN or infinite pixels: fetch it again.")
    if not found:
        raise InputError(
            f"{root} holds neither {HEAD} nor {SLICE}: pass the folder of one of them."
        )
    return found
