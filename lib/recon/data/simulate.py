"""Simulated data sets, in fastMRI's own files.

Every volume is a body (anatomy, or dead leaves in training) behind a scan of its own: number and
place of the coils, phases, noise, orientation, contrast and scale all come from a seed made of the
set's name, the split and the volume's index. Files appear whole, under their final names, so an
interrupted run is continued by the next; a lock lets one process simulate and the others wait.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recon.data.cache import Ledger, alone
from recon.data.fastmri import Volume, make_target, read_volume, write_volume
from recon.data.manifest import Manifest
from recon.errors import InputError
from recon.paths import cache_dir
from recon.phantoms import brain, knee, leaves, scanner
from recon.results.fingerprints import cell_code, code_sha256

__all__ = ["Plan", "fill", "generate", "plan_volume", "scan_body", "set_folder", "simulate"]

RENDER = {"knee": knee.render, "brain": brain.render, "leaves": leaves.render}
#: Direction of the static field in an upright picture: knees are coronal, brains axial.
BORE = {"knee": "rows", "brain": "through", "leaves": None}
FIRST = {"train": 1000000, "val": 1500000}  # number of a split's first file


@dataclass(frozen=True)
class Plan:
    """One volume to simulate."""

    name: str
    anatomy: str  # knee, brain or leaves
    contrast: str  # key of the manifest's contrasts
    coils: int
    turns: int  # quarter turns of the body in the picture
    mirrored: bool
    bore: str | None
    seed: int


def simulate(
    manifest: Manifest, task: str, profile: str = "quick", split: str = "train", seed: int = 0
) -> Path:
    """Folder of one split of a simulated set, made now as far as it isn't there yet.

    Parameters
    ----------
    manifest : Manifest
        Of kind ``simulated``.
    task : {"multicoil", "singlecoil"}
    profile : {"quick", "standard", "paper"}
    split : {"train", "val"}
    seed : int
        Another seed draws other bodies and other scans.

    Returns
    -------
    Path
        Holds nothing but finished fastMRI files.

    Raises
    ------
    InputError
        For an unknown task, profile or split, and when the cache can't be written.
    """
    for word, value, known in (
        ("task", task, manifest.tasks),
        ("profile", profile, tuple(manifest.profiles)),
        ("split", split, tuple(FIRST)),
    ):
        if value not in known:
            raise InputError(
                f"{manifest.name} has no {word} {value!r}: choose one of {', '.join(known)}."
            )
    count = manifest.profiles[profile][split]["volumes"]
    plans = [plan_volume(manifest, profile, split, i, seed) for i in range(count)]
    return fill(
        set_folder(manifest, profile, {"seed": seed}) / f"{task}_{split}",
        {plan.name: partial(generate, manifest, profile, split, plan, task) for plan in plans},
        f"Simulating {manifest.name}, {task} {split}",
    )


def fill(folder: Path, makers: dict[str, Callable[[], Volume]], label: str) -> Path:
    """Write the volumes that a folder lacks or that have changed, each whole under its name.

    Parameters
    ----------
    folder : Path
    makers : dict
        By the file's name without suffix, the function that makes its volume.
    label : str
        What the progress bar says.

    Returns
    -------
    Path
        The folder; beside it a `recon.data.cache.Ledger` of what was written.
    """
    files = {name: folder / f"{name}.h5" for name in makers}
    ledger = Ledger(folder)
    if all(ledger.holds(name, [file]) for name, file in files.items()):
        return folder
    with alone(folder):
        for leftover in folder.glob(".*.tmp"):  # of a process that was killed: we hold the lock
            leftover.unlink()
        ledger = Ledger(folder)
        missing = [name for name, file in files.items() if not _is_whole(ledger, name, file)]
        done = len(makers) - len(missing)
        for name in tqdm(missing, label, initial=done, total=len(makers), unit="volume"):
            write_volume(files[name], makers[name]())
            ledger.add(name, [files[name]])
    return folder


def _is_whole(ledger: Ledger, name: str, file: Path) -> bool:
    """Whether a volume is there; one that the ledger does not know yet is read to find out."""
    if not file.exists():
        return False
    if name not in ledger.units:
        with suppress(InputError):
            read_volume(file)
            ledger.add(name, [file])
    if ledger.holds(name, [file]):
        return True
    tqdm.write(f"{file}: damaged, so it is deleted and simulated anew")
    file.unlink()
    return False


def set_folder(manifest: Manifest, profile: str, also: dict[str, Any]) -> Path:
    """Where a simulated set lies in the cache: name, profile, and a hash of all that makes it.

    The hash covers the manifest's section, ``also``, and the code (without comments and docstrings)
    of the phantoms, the scanner and the modules of this folder that write such a set, so an older
    set is never taken for a newer one.
    """
    here, read = Path(__file__).parent, ["volumes", "nifti"] if manifest.kind == "nifti" else []
    sources = [here / f"{name}.py" for name in ("simulate", "fastmri", "format", *read)]
    bodies = [Path(module.__file__) for module in (brain, knee, leaves, scanner)]
    made_of = {
        "profile": manifest.profiles[profile],
        "contrasts": manifest.contrasts,
        "settings": manifest.settings,
        "code": [cell_code(path.read_text(encoding="utf-8")) for path in sources],
        "phantoms": code_sha256(*bodies),
        **also,
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:10]
    return cache_dir() / "simulated" / f"{manifest.name}-{profile}-{digest}"


def plan_volume(manifest: Manifest, profile: str, split: str, index: int, seed: int = 0) -> Plan:
    """Decide what volume ``index`` of a split is; the same in every profile but for its coils."""
    digest = hashlib.sha256(f"{manifest.name}/{split}/{index}/{seed}".encode()).digest()
    own = int.from_bytes(digest[:6], "big")
    rng = np.random.default_rng(own)
    # The share of leaves, spread evenly: with a half, every second training volume.
    share = manifest.settings["leaves"] if split == "train" else 0.0
    is_leaves = int((index + 1) * share) > int(index * share)
    anatomy = "leaves" if is_leaves else manifest.settings["anatomy"]
    earlier = int(index * share)
    contrasts = list(manifest.contrasts)
    contrast = contrasts[(earlier if is_leaves else index - earlier) % len(contrasts)]
    # Pages show validation volumes upright. In training, half of them lie any way round.
    turned = anatomy == "leaves" or (split == "train" and rng.random() < 0.5)
    number = FIRST[split] + index
    name = (
        f"file{number}"
        if manifest.settings["anatomy"] == "knee"
        else (f"file_{manifest.settings['anatomy']}_{contrast}_200_{6 * 10**6 + number % 10**6}")
    )
    low, high = manifest.profiles[profile]["coils"]
    return Plan(
        name=name,
        anatomy=anatomy,
        contrast=contrast,
        coils=int(rng.integers(low, high + 1)),
        turns=int(rng.integers(4)) if turned else 0,
        mirrored=bool(rng.integers(2)),
        bore=None if turned else BORE[anatomy],
        seed=own,
    )


def generate(manifest: Manifest, profile: str, split: str, plan: Plan, task: str) -> Volume:
    """Render a body the way the plan wants it and scan it."""
    sizes, contrast = manifest.profiles[profile], manifest.contrasts[plan.contrast]
    height, width = sizes["matrix"]
    grid = (height, 2 * width)  # twice as fine as the voxels, without the readout oversampling
    drawn = grid if plan.turns % 2 == 0 else grid[::-1]
    body = RENDER[plan.anatomy]((sizes[split]["slices"], *drawn), contrast["render"], plan.seed)
    body = np.rot90(body, plan.turns, axes=(1, 2))
    if plan.mirrored:
        body = body[:, :, ::-1]
    return scan_body(manifest, profile, plan, body, task, f"{plan.anatomy}, seed {plan.seed}")


def scan_body(
    manifest: Manifest, profile: str, plan: Plan, body: np.ndarray, task: str, note: str
) -> Volume:
    """Scan a body ``(slices, H, 2 W)`` and keep what a fastMRI file holds.

    ``note`` becomes the attribute ``simulated`` of the file.
    """
    sizes, contrast = manifest.profiles[profile], manifest.contrasts[plan.contrast]
    scan = scanner.draw_scan(
        tuple(sizes["matrix"]),
        plan.coils,
        plan.seed,
        contrast["render"],
        noise=contrast["noise"],
        bore=plan.bore,
    )
    kspace = scanner.measure(body, scan)
    if task == "singlecoil":
        kspace = scanner.emulate_single_coil(kspace)[:, None]
    crop = tuple(sizes["crop"])
    return Volume(
        name=plan.name,
        kspace=kspace,
        target=make_target(kspace, crop),
        contrast=plan.contrast,
        crop=crop,
        padding=scan.padding,
        single_coil=task == "singlecoil",
        attributes={"simulated": note, "pixel_mm": sizes["pixel_mm"]},
    )
