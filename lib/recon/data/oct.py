"""Open a split of an OCT data set by name: the one door that the denoising chapters go through."""

from pathlib import Path

from recon.data.folders import entries
from recon.data.manifest import load_manifest
from recon.data.oct_files import (
    Crop,
    Domains,
    Truth,
    crop_back,
    pad_to,
    read_bscans,
)
from recon.data.oct_folders import open_folders
from recon.data.oct_simulated import SPLITS, read_truth, simulate_oct
from recon.errors import InputError

__all__ = [
    "Crop",
    "Domains",
    "Truth",
    "crop_back",
    "open_oct",
    "pad_to",
    "read_bscans",
    "read_truth",
]


def open_oct(
    name: str, split: str, profile: str = "quick", data_root: Path | str = "", seed: int = 0
) -> Domains:
    """Volumes of both domains of a split, simulated first where the set is simulated.

    Parameters
    ----------
    name : str
        A data set whose task is denoising: ``simulated_retina``, ``simulated_retina_devices``,
        ``oct_folders``, ``duke_2013``, ``pku37``, ``kermany_2018``.
    split : {"train", "val", "test", "all"}
        No patient is in two of the first three; ``val`` is for tuning. Of a real set, ``all`` is
        for one that nothing is trained on: every volume.
    profile : {"quick", "standard", "paper"}
        Size of simulated sets; real images are what they are.
    data_root : Path
        Where a real set lies; see `recon.data.oct_folders.open_folders`.
    seed : int
        Another seed draws other simulated eyes.

    Raises
    ------
    InputError
        For an unknown set or split, and for folders that cannot be used.
    """
    manifest = load_manifest(name)
    if "denoising" not in manifest.tasks:
        raise InputError(
            f"{name} is no set for denoising: pass data=simulated_retina, or oct_folders with a "
            "data_root."
        )
    known = SPLITS if manifest.kind == "simulated_oct" else (*SPLITS, "all")
    if split not in known:
        raise InputError(f"there is no split {split!r}: choose one of {', '.join(known)}.")
    if manifest.kind == "simulated_oct":
        if profile not in manifest.profiles:
            raise InputError(
                f"{name} has no profile {profile!r}: choose one of {', '.join(manifest.profiles)}."
            )
        folder = simulate_oct(manifest, profile, split, seed)
        volumes = [entries(folder / domain) for domain in ("high", "low")]
        return Domains(*volumes, paired=True, simulated=True)
    if not str(data_root):
        raise InputError(
            f"{name} is not simulated, so it has to be told where it lies: pass data_root "
            f"({manifest.access.get('how', 'the folder that holds the images')})."
        )
    return open_folders(manifest, str(data_root), split)
