"""Simulated retinas, written as an export from a scanner would look.

One folder a volume with a PNG file a B-scan, in two domains: ``high`` (few frames) and ``low``
(many). Both acquisitions show the same eye; their speckle is independent, and the eye has moved by
a few whole pixels between them. What the scanner cannot know lies in a tree of its own, ``truth``.
Patients have two eyes, each a volume; all of a patient is in one split.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from recon.data.cache import Ledger, alone, writing
from recon.data.manifest import Manifest
from recon.data.oct_files import Truth
from recon.paths import cache_dir
from recon.phantoms import retina
from recon.physics import speckle
from recon.physics.speckle import (
    LEVELS,
    SPECTRALIS,
    Device,
    average_frames,
    draw_device,
    expected_intensity,
    show_intensity,
)
from recon.results.fingerprints import cell_code, code_sha256

__all__ = ["SPLITS", "Plan", "plan_volumes", "read_truth", "simulate_oct"]

SPLITS = ("train", "val", "test")
FIRST = {"train": 1, "val": 6001, "test": 8001}  # number of a split's first patient
EYES = ("OD", "OS")  # right and left
DOMAINS = ("high", "low")


@dataclass(frozen=True)
class Plan:
    """One volume to simulate: its eye, its scanner, the place of the eye in each acquisition."""

    name: str
    seed: int
    device: Device
    shifts: dict[str, tuple[int, int]]  # rows, columns; by domain


def simulate_oct(manifest: Manifest, profile: str, split: str, seed: int = 0) -> Path:
    """Folder of one split, made now as far as it isn't there yet.

    Parameters
    ----------
    manifest : Manifest
        Of kind ``simulated_oct``.
    profile : {"quick", "standard", "paper"}
    split : {"train", "val", "test"}
    seed : int
        Another seed draws other eyes.

    Returns
    -------
    Path
        Holds ``high``, ``low`` and ``truth``.

    Raises
    ------
    InputError
        If the cache can't be written.
    """
    sizes = manifest.profiles[profile]
    folder = _set_folder(manifest, profile, seed) / split
    plans = plan_volumes(manifest, profile, split, seed)
    ledger = Ledger(folder)
    if all(_is_whole(ledger, plan) for plan in plans):
        return folder
    with alone(folder), writing(folder):
        for name in (*DOMAINS, "truth"):
            (folder / name).mkdir(exist_ok=True)
        ledger = Ledger(folder)
        missing = [plan for plan in plans if not _is_whole(ledger, plan)]
        done = len(plans) - len(missing)
        label = f"Simulating {manifest.name}, {split}"
        for plan in tqdm(missing, label, initial=done, total=len(plans), unit="volume"):
            if plan.name in ledger.units:
                tqdm.write(f"{folder}: {plan.name} is damaged, so it is simulated anew")
            _write(folder, plan, sizes, manifest.settings, sizes[split]["bscans"])
            ledger.add(plan.name, _files(folder, plan))
    return folder


def plan_volumes(manifest: Manifest, profile: str, split: str, seed: int = 0) -> list[Plan]:
    """What every volume of a split is: two eyes of each patient."""
    plans = []
    for index in range(manifest.profiles[profile][split]["patients"]):
        patient = f"P{FIRST[split] + index:04d}"
        rng = _generator(manifest.name, patient, seed, "scanner")
        device = draw_device(rng) if manifest.settings["devices"] == "many" else SPECTRALIS
        for eye in EYES:
            name = f"{patient}_{eye}"
            reach = manifest.settings["shift"]
            own = _generator(manifest.name, name, seed, "eye")
            shifts = {
                domain: tuple(int(s) for s in own.integers(-reach, reach + 1, 2))
                for domain in DOMAINS
            }
            plans.append(Plan(name, int(own.integers(2**31)), device, shifts))
    return plans


def acquire(
    plan: Plan, sizes: dict, settings: dict, count: int
) -> tuple[retina.Eye, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The eye with a margin; by domain, its B-scans and their expectation, ``(B, H, W)``."""
    (height, width), reach = sizes["shape"], settings["shift"]
    field = (
        sizes["field_mm"][0] * (height + 2 * reach) / height,
        sizes["field_mm"][1] * (width + 2 * reach) / width,
    )
    eye = retina.render((count, height + 2 * reach, width + 2 * reach), plan.seed, field=field)
    images, clean = {}, {}
    for domain, frames in zip(DOMAINS, settings["frames"], strict=True):
        rows, columns = _window(plan.shifts[domain], reach, height, width)
        seen = eye.reflectivity[:, rows, columns]
        rng = np.random.default_rng([plan.seed, 31, frames, domain == "low"])
        images[domain] = np.stack([average_frames(r, frames, plan.device, rng) for r in seen])
        clean[domain] = np.stack(
            [show_intensity(expected_intensity(r, plan.device), plan.device) for r in seen]
        )
    return eye, images, clean


def read_truth(path: Path) -> Truth | None:
    """What is true of a simulated volume, in the frame of its own images.

    Parameters
    ----------
    path : Path
        A volume of either domain.

    Returns
    -------
    Truth, or None for a volume that was not simulated
    """
    path = Path(path)
    file = _truth_file(path.parent.parent, path.name)
    if path.parent.name not in DOMAINS or not file.is_file():
        return None
    with np.load(file) as stored:
        reach, shift = int(stored["reach"]), tuple(int(s) for s in stored[path.parent.name])
        clean = stored[f"clean_{path.parent.name}"].astype(np.float32) / np.float32(LEVELS)
        rows, columns = _window(shift, reach, *clean.shape[1:])
        boundaries = stored["boundaries"][:, :, columns] - np.float32(rows.start)
        return Truth(boundaries, clean, str(stored["pathology"]), shift)


def _window(shift: tuple[int, int], reach: int, height: int, width: int) -> tuple[slice, slice]:
    """Cut of the drawn eye that shows it ``shift`` lower and further right."""
    top, left = reach - shift[0], reach - shift[1]
    return slice(top, top + height), slice(left, left + width)


def _write(folder: Path, plan: Plan, sizes: dict, settings: dict, count: int) -> None:
    """One volume: images first, the truth last, each whole under its name."""
    eye, images, clean = acquire(plan, sizes, settings, count)
    for domain, scans in images.items():
        final = folder / domain / plan.name
        part = final.with_name(f".{final.name}.tmp")
        for leftover in (part, final):  # of a process that was killed: we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        part.mkdir()
        for number, scan in enumerate(scans):
            grey = np.round(scan * LEVELS).astype(np.uint8)
            Image.fromarray(grey).save(part / f"bscan_{number:03d}.png", compress_level=3)
        part.rename(final)
    file = _truth_file(folder, plan.name)
    part = file.with_name(f".{os.getpid()}-{file.name}")
    np.savez_compressed(
        part,
        boundaries=eye.boundaries,
        pathology=eye.pathology,
        reach=settings["shift"],
        **plan.shifts,
        **{f"clean_{k}": np.round(v * LEVELS).astype(np.uint8) for k, v in clean.items()},
    )
    part.replace(file)


def _files(folder: Path, plan: Plan) -> list[Path]:
    """All files of a volume that are there, its truth in any case."""
    scans = [path for domain in DOMAINS for path in (folder / domain / plan.name).glob("[!.]*")]
    return [*scans, _truth_file(folder, plan.name)]


def _is_whole(ledger: Ledger, plan: Plan) -> bool:
    return ledger.holds(plan.name, _files(ledger.folder, plan))


def _truth_file(folder: Path, name: str) -> Path:
    return folder / "truth" / f"{name}.npz"


def _generator(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _set_folder(manifest: Manifest, profile: str, seed: int) -> Path:
    """Where a set lies in the cache: name, profile, and a hash of all that makes it.

    Of the code, that is the retina, the speckle and this module, without comments.
    """
    made_of = {
        "profile": manifest.profiles[profile],
        "settings": manifest.settings,
        "seed": seed,
        "writer": cell_code(Path(__file__).read_text(encoding="utf-8")),
        "code": code_sha256(Path(retina.__file__), Path(speckle.__file__)),
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:10]
    return cache_dir() / "oct" / f"{manifest.name}-{profile}-{digest}"
