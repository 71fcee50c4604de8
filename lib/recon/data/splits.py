"""Open a split of any data set by name: the one door that chapters go through."""

import hashlib
from pathlib import Path

from recon.data import hdf5
from recon.data.fastmri import check, list_volumes
from recon.data.manifest import Manifest, load_manifest
from recon.data.simulate import simulate
from recon.data.volumes import simulate_nifti
from recon.errors import InputError

__all__ = ["open_split"]

VALIDATION_SHARE = 0.2  # of the patients of a folder that has no official split


def open_split(
    name: str, task: str, split: str, profile: str = "quick", data_root: Path | str = ""
) -> list[Path]:
    """fastMRI-format files of a split, simulated first where the set is simulated.

    Parameters
    ----------
    name : str
        A data set: see `recon.data.manifest.manifest_names`.
    task : {"multicoil", "singlecoil"}
    split : {"train", "val", "all"}
        ``all`` is for a set that nothing is trained on: every file of a folder that has no official
        splits, and the validation split of any other set.
    profile : {"quick", "standard", "paper"}
        Size of simulated sets; real files are what they are.
    data_root : Path
        Where a real set lies: the folder that holds ``multicoil_train`` and its like, or the files
        themselves.

    Returns
    -------
    list of Path
        Sorted, at least one.

    Raises
    ------
    InputError
        For an unknown set or split, a task that the set doesn't have, an unusable folder, such as
        one of a single patient that is to be trained on, and a file that `fastmri.check` refuses.
    """
    manifest = load_manifest(name)
    if task not in manifest.tasks:
        raise InputError(
            f"{name} has no task {task!r}: pass task={' or '.join(map(repr, manifest.tasks))}."
        )
    if split not in ("train", "val", "all"):
        raise InputError(f"there is no split {split!r}: choose train, val or all.")
    named = "val" if split == "all" else split
    if manifest.kind == "simulated":
        return list_volumes(simulate(manifest, task, profile, named))
    if not str(data_root):
        raise InputError(
            f"{name} is not simulated, so it has to be told where it lies: pass data_root "
            f"({manifest.access.get('how', 'the folder that holds the files')})."
        )
    root = Path(data_root).expanduser()
    if manifest.kind == "nifti":
        return list_volumes(simulate_nifti(manifest, root, task, profile, named))
    return _files(manifest, root, task, split)


def _files(manifest: Manifest, root: Path, task: str, split: str) -> list[Path]:
    """The official folder of a split, or a share of a plain folder of files."""
    named = "val" if split == "all" else split
    official = manifest.splits.get(named, {}).get("folder", f"{task}_{named}")
    if (root / official).is_dir():
        paths = list_volumes(root / official)
    elif any((root / f"{task}_{other}").is_dir() for other in ("train", "val", "test")):
        raise InputError(
            f"{root} has no folder {official}: unpack the archive of the split {named!r} there, or "
            "choose another data set for training."
        )
    else:
        paths = _share(list_volumes(root), split, root)
    for path in paths:
        check(path, task)
    return paths


def _share(paths: list[Path], split: str, root: Path) -> list[Path]:
    """Four fifths of the patients for training, the rest for validation, decided by a hash of each.

    All files of a patient (see `_patient`) are on one side; a file without the attribute is a
    patient of its own, known by its name. A patient keeps its side when others are added. Where
    chance leaves a side empty, the patient with the smallest (validation) or largest (training)
    hash takes it; a single patient can be tested on, not trained on.
    """
    if split == "all":
        return paths
    patient = {p: _patient(p) or p.name for p in paths}
    known = set(patient.values())
    if len(known) < 2:
        if split == "val":
            return paths
        held = "one volume only" if len(paths) < 2 else f"{len(paths)} volumes of one patient_id"
        raise InputError(
            f"{root} holds {held}, which is not enough to train on: pass the folder as "
            "test_root (with test_data) and train on another data set."
        )
    place = {p: int(hashlib.sha256(p.encode()).hexdigest()[:8], 16) / 2**32 for p in known}
    ordered = sorted(known, key=place.get)
    validation = {p for p in known if place[p] < VALIDATION_SHARE} or {ordered[0]}
    if len(validation) == len(known):
        validation.discard(ordered[-1])
    return [p for p in paths if (patient[p] in validation) == (split == "val")]


def _patient(path: Path) -> str:
    """The attribute ``patient_id`` of a file, as fastMRI's have it; empty where there is none."""
    with hdf5.opened(path) as file:
        return hdf5.text(file, "patient_id")
