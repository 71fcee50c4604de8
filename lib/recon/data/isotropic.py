"""Volumes with voxels as long as wide: simulated heads, a public head, or a folder of NIfTI files.

All of them are NIfTI files that `recon.data.nifti.read_upright` turns the same way: axis 0 runs
from the vertex downwards, axis 1 from front to back, axis 2 from the patient's right to left.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from recon.data.cache import Ledger
from recon.data.folders import files_of
from recon.data.manifest import load_manifest
from recon.data.nifti import SUFFIXES, read_upright
from recon.errors import InputError
from recon.paths import cache_dir
from recon.phantoms import brain
from recon.results.fingerprints import code_sha256

__all__ = ["FOLDERS", "SOURCES", "open_heads", "read_head", "simulated_head"]

FOLDERS = ("nifti_folder", "oasis3_t1", "adni_phantom")  # read alike; the name tells them apart
SOURCES = ("simulated_head", "studyforrest_t1", *FOLDERS)
TOP = 94.0  # mm above the commissures: the vertex of the largest heads
HEIGHT = 0.75  # of a volume, as a part of the field of view
NOISE = 0.01  # standard deviation in each of the two channels; white matter is near 0.6
FIRST_SEED = 7_000  # no other set draws these people


def open_heads(name: str, count: int, pixels: int, seed: int = 0, root: str = "") -> list[Path]:
    """Files of a set of isotropic volumes, simulated first where the set is simulated.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    count : int
        Volumes, the first ones of a folder; a folder may hold fewer, studyforrest holds one.
    pixels : int
        Voxels across a simulated head.
    seed : int
        Another seed draws other people.
    root : str
        Folder of a set that is not simulated.

    Raises
    ------
    InputError
        For a missing folder or file.
    """
    if name == "simulated_head":
        return [simulated_head(pixels, FIRST_SEED + 100 * seed + i) for i in range(count)]
    folder = Path(root).expanduser()
    if not root or not folder.is_dir():
        raise InputError(f"{name} is not simulated: pass the folder that holds it as data_root.")
    if name in FOLDERS:
        paths = files_of(folder, SUFFIXES)[:count]
    else:
        paths = [folder / load_manifest(name).files[0]["path"]]
    if not paths or not paths[0].is_file():
        raise InputError(f"{folder} holds no NIfTI file of {name}: pass another data_root.")
    return paths


def read_head(path: Path, name: str = "", tolerance: float = 0.05) -> np.ndarray:
    """A head, upright, divided by its 99.5th percentile.

    Parameters
    ----------
    path : Path
        NIfTI file.
    name : str
        The set that it belongs to; some headers do not know where the axes point.
    tolerance : float
        Voxels may be longer than wide by this part.

    Returns
    -------
    np.ndarray
        ``(slices, rows, columns)`` float32, bright tissues near 1.

    Raises
    ------
    InputError
        For a file that cannot be read, or whose voxels are longer than wide: it holds no truth.
    """
    axes = load_manifest(name).settings.get("axes") if name == "studyforrest_t1" else None
    volume, spacing = read_upright(path, axes)
    if max(spacing) > (1 + tolerance) * min(spacing):
        raise InputError(
            f"{path.name}: voxels of {' x '.join(f'{s:g}' for s in spacing)} mm are not isotropic, "
            "so there is nothing to compare a super-resolved volume with; leave the file out."
        )
    return volume / np.percentile(volume, 99.5)


def simulated_head(pixels: int, seed: int) -> Path:
    """A T1-weighted head of ``pixels`` voxels across, in the cache; made now if it isn't there.

    The phantom is that of the simulated brains, drawn in slices as thin as its pixels are wide,
    from the vertex to below the skull base, with Rician noise.

    Returns
    -------
    Path
        ``.nii`` file of ``(0.75 * pixels, pixels, pixels)`` voxels.
    """
    made_of = code_sha256(Path(__file__), Path(brain.__file__))[:10]
    path = cache_dir() / "heads" / f"head-{pixels}-{seed}-{made_of}.nii"
    ledger = Ledger(path.parent)
    if ledger.holds(path.name, [path]):
        return path
    if path.exists():
        tqdm.write(f"{path}: damaged, so it is simulated anew")
    voxel = brain.person(seed).field_of_view / pixels
    count = round(HEIGHT * pixels)
    heights = TOP - voxel * (np.arange(count) + 0.5)
    with _slices_at(heights, voxel):
        image = brain.render((count, pixels, pixels), "T1", seed)
    rng = np.random.default_rng([seed, 77])
    real, imaginary = NOISE * rng.standard_normal((2, *image.shape))
    image = np.hypot(image + real, imaginary).astype(np.float32)
    affine = np.array([[0, 0, -voxel, 0], [0, -voxel, 0, 0], [-voxel, 0, 0, 0], [0, 0, 0, 1]])
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(image, affine), temporary)
        temporary.replace(path)
        ledger.add(path.name, [path])
    except OSError as error:
        raise InputError(
            f"the cache {path.parent} cannot be written ({error.strerror or error}): make it "
            "writable, or set RECON_CACHE to a folder with space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def _slices_at(heights: np.ndarray, thickness: float) -> Iterator[None]:
    """Let the brain phantom draw its slices at these heights and of this thickness, in mm.

    It draws slices of 4 mm over the cerebrum, because a clinical scan has them; here they would be
    thick slices before any were simulated. Both are names of its module, put back afterwards.
    """
    before = brain.THICKNESS, brain.levels
    brain.THICKNESS, brain.levels = thickness, lambda who, slices: heights
    try:
        yield
    finally:
        brain.THICKNESS, brain.levels = before
