"""Another road into fastMRI files: a head in a NIfTI file.

A NIfTI volume holds magnitudes that a scanner has already combined, filtered and interpolated. Put
through the simulated scanner it becomes k-space of real anatomy, yet kinder than a real scan: such
k-space can flatter a method ("data crimes", Shimron et al. 2022), and pages that use it say so.
"""

import hashlib
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from recon.data.fastmri import Volume
from recon.data.manifest import Manifest
from recon.data.nifti import read_upright
from recon.data.simulate import Plan, fill, scan_body, set_folder
from recon.errors import InputError

__all__ = ["axial_slices", "read_upright", "simulate_nifti"]


def simulate_nifti(manifest: Manifest, root: Path, task: str, profile: str, split: str) -> Path:
    """Slabs of a head as fastMRI files with simulated coils, in the cache.

    One head is cut into slabs of a few axial slices; each slab is a "volume" with a coil array,
    phase and noise of its own. The middle of the span is the validation split, its two ends are
    for training. All of them are one person, so their spread says nothing about other people.

    Parameters
    ----------
    manifest : Manifest
        Of kind ``nifti``.
    root : Path
        Folder that holds the manifest's one file.
    task : {"multicoil", "singlecoil"}
    profile : {"quick", "standard", "paper"}
    split : {"train", "val"}

    Returns
    -------
    Path
        Holds nothing but finished fastMRI files.

    Raises
    ------
    InputError
        When the file is missing or no volume, or the cache can't be written.
    """
    if profile not in manifest.profiles:
        raise InputError(
            f"{manifest.name} has no profile {profile!r}: choose one of "
            f"{', '.join(manifest.profiles)}."
        )
    path = Path(root) / manifest.files[0]["path"]
    if not path.is_file():
        raise InputError(f"{path} is missing: pass the folder that holds it as data_root.")
    sizes = manifest.profiles[profile]
    counts = {name: sizes[name]["volumes"] for name in ("train", "val")}
    thick = sizes["val"]["slices"]
    before = counts["train"] // 2  # training slabs above the validation slabs
    middle = range(before, before + counts["val"])
    chosen = [i for i in range(sum(counts.values())) if (i in middle) == (split == "val")]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    # The head is read once, and only if a slab is missing.
    heads: list[np.ndarray] = []

    def make(plan: Plan, index: int) -> Volume:
        if not heads:
            heads.append(axial_slices(manifest, path, profile))
        slab = heads[0][index * thick : (index + 1) * thick]
        return scan_body(manifest, profile, plan, slab, task, f"coils only; {path.name}")

    makers = {}
    for i in chosen:
        seed = int.from_bytes(hashlib.sha256(f"{manifest.name}/{i}".encode()).digest()[:6], "big")
        contrast = next(iter(manifest.contrasts))
        low, high = sizes["coils"]
        coils = int(np.random.default_rng(seed).integers(low, high + 1))
        name = f"file_brain_{contrast}_200_{6900000 + i}"
        plan = Plan(name, "brain", contrast, coils, 0, False, "through", seed)
        makers[name] = partial(make, plan, i)
    home = set_folder(manifest, profile, {"file": digest})
    label = f"Scanning {manifest.name}, {task} {split}"
    return fill(home / f"{task}_{split}", makers, label)


def axial_slices(manifest: Manifest, path: Path, profile: str) -> np.ndarray:
    """Axial slices of a head on the scanner's fine grid.

    Slices follow each other without gaps, over the manifest's ``span_mm`` below the vertex; each is
    the mean of the planes in its thickness, which is the partial volume of a thick slice. The
    field of view is square and centred on the head.

    Returns
    -------
    np.ndarray
        ``(slices, H, 2 W)`` float32.
    """
    sizes = manifest.profiles[profile]
    height, width = sizes["matrix"]
    volume, spacing = read_upright(path, manifest.settings.get("axes"))
    known = manifest.settings.get("voxel_mm")
    if known and abs(max(spacing) - known) > 0.01 * known:
        raise InputError(
            f"{path}: voxels are up to {max(spacing):.4g} mm long by its header, but {known:g} mm "
            f"by voxel_mm in the manifest of {manifest.name}: mend the one that is wrong."
        )
    body = volume > 0.15 * np.percentile(volume[volume > 0], 99)
    # The vertex, and the middle of the head: planes where at least a few hundred voxels are tissue.
    ends = []
    for axis in range(3):
        rest = tuple(a for a in range(3) if a != axis)
        planes = np.flatnonzero(body.sum(axis=rest) > 300)
        if not len(planes):
            raise InputError(f"{path} shows no head: no plane has 300 voxels of tissue.")
        ends.append(planes[[0, -1]])
    top, low, high = ends[0][0], *manifest.settings["span_mm"]
    count = sizes["val"]["slices"] * (sizes["train"]["volumes"] + sizes["val"]["volumes"])
    borders = top + np.linspace(low, high, count + 1) / spacing[0]
    fine = sizes["pixel_mm"] / 2
    step = np.array([fine / spacing[1], fine / spacing[2]])
    middle = np.array([ends[1].mean(), ends[2].mean()])
    offset = middle - step * (np.array([height, 2 * width]) - 1) / 2
    slices = np.empty((count, height, 2 * width), np.float32)
    for i, (start, stop) in enumerate(pairwise(borders)):
        plane = volume[round(start) : max(round(stop), round(start) + 1)]
        if not len(plane):
            raise InputError(
                f"{path} ends above slice {i + 1} of {count}: shorten span_mm in the manifest of "
                f"{manifest.name}."
            )
        slices[i] = affine_transform(plane.mean(0), step, offset, (height, 2 * width), order=3)
    return np.maximum(slices, 0)
