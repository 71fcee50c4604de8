"""Simulated scans with one part of the scanner taken away, to learn what that part is good for.

The bodies, their places and their contrasts are those of the simulated set; only the scan differs.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recon.data.fastmri import Volume, list_volumes, make_target, read_volume
from recon.data.manifest import Manifest, load_manifest
from recon.data.simulate import RENDER, Plan, fill, plan_volume, set_folder, simulate
from recon.errors import InputError
from recon.phantoms import scanner
from recon.phantoms.coil_array import draw_array
from recon.physics.fourier import centre_crop
from recon.results.fingerprints import cell_code

__all__ = ["STRIPPED", "strip_array", "strip_noise", "strip_phase", "train_files"]

COILS = 8  # of the one array
MADE_BY = cell_code(Path(__file__).read_text(encoding="utf-8"))  # names the folders


def strip_phase(scan: scanner.Scan) -> scanner.Scan:
    """A real object: no shim, no random field, no susceptibility. Coils keep their phases."""
    none = np.zeros_like(scan.polynomial)
    return replace(scan, polynomial=none, ripple=0.0, susceptibility=0.0)


def strip_noise(scan: scanner.Scan) -> scanner.Scan:
    """A receiver without noise."""
    return replace(scan, noise=0.0)


def strip_array(scan: scanner.Scan) -> scanner.Scan:
    """The same eight coils around every body, with the same couplings."""
    array = draw_array(COILS, np.random.default_rng(0), "through")
    return replace(scan, array=array, coupling=np.eye(COILS))


#: What can be taken away. ``leaves`` draws anatomy only; ``detail`` leaves out the outer half of
#: k-space, so that pixels are twice as large. Both keep the scanner as it is.
STRIPPED: dict[str, Callable[[scanner.Scan], scanner.Scan] | None] = {
    "phase": strip_phase,
    "noise": strip_noise,
    "array": strip_array,
    "leaves": None,
    "detail": None,
}


def train_files(name: str, profile: str, without: str = "") -> list[Path]:
    """Training files of a simulated multi-coil set, made first where they are missing.

    Parameters
    ----------
    name : str
        Simulated set.
    profile : {"quick", "standard", "paper"}
    without : str
        Key of `STRIPPED`: the part that is taken away from every scan; empty for none.

    Raises
    ------
    InputError
        For a part that cannot be taken away, and a set that is not simulated.
    """
    manifest = load_manifest(name)
    if manifest.kind != "simulated":
        raise InputError(f"{name} is not simulated: nothing can be taken away from its scans.")
    if without and without not in STRIPPED:
        raise InputError(f"there is no {without!r} to take away: choose {', '.join(STRIPPED)}.")
    if without == "leaves":
        manifest = replace(manifest, settings={**manifest.settings, "leaves": 0.0})
    strip = STRIPPED[without] if without else None
    also = {"without": without, "stripped": MADE_BY}
    if strip is None:
        files = list_volumes(simulate(manifest, "multicoil", profile, "train"))
        if without != "detail":
            return files
        folder = set_folder(manifest, profile, also) / "multicoil_train"
        makers = {path.stem: partial(_coarser, path) for path in files}
        return list_volumes(fill(folder, makers, f"Halving the resolution of {name}"))
    count = manifest.profiles[profile]["train"]["volumes"]
    plans = [plan_volume(manifest, profile, "train", number) for number in range(count)]
    folder = set_folder(manifest, profile, also) / "multicoil_train"
    makers = {plan.name: partial(_scan, manifest, profile, plan, strip) for plan in plans}
    return list_volumes(fill(folder, makers, f"Simulating {name} without {without}"))


def _coarser(path: Path) -> Volume:
    """A volume of which only the inner half of k-space was measured, along both axes."""
    volume = read_volume(path)
    size = tuple(n // 2 for n in volume.kspace.shape[-2:])
    crop = tuple(n // 2 for n in volume.crop)
    kspace = np.ascontiguousarray(centre_crop(torch.from_numpy(volume.kspace), size).numpy())
    lost = (volume.kspace.shape[-1] - size[1]) // 2
    padding = tuple(max(0, n - lost) for n in volume.padding)
    target = make_target(kspace, crop)
    return replace(volume, kspace=kspace, target=target, crop=crop, padding=padding)


def _scan(
    manifest: Manifest,
    profile: str,
    plan: Plan,
    strip: Callable[[scanner.Scan], scanner.Scan],
) -> Volume:
    """One volume as `recon.data.simulate.generate` makes it, but for the scan."""
    sizes, contrast = manifest.profiles[profile], manifest.contrasts[plan.contrast]
    height, width = sizes["matrix"]
    grid = (height, 2 * width) if plan.turns % 2 == 0 else (2 * width, height)
    shape = (sizes["train"]["slices"], *grid)
    body = RENDER[plan.anatomy](shape, contrast["render"], plan.seed)
    body = np.rot90(body, plan.turns, axes=(1, 2))
    body = body[:, :, ::-1] if plan.mirrored else body
    level, bore = contrast["noise"], plan.bore
    matrix = (height, width)
    scan = scanner.draw_scan(matrix, plan.coils, plan.seed, contrast["render"], level, bore)
    kspace = scanner.measure(body, strip(scan))
    crop = tuple(sizes["crop"])
    return Volume(
        name=plan.name,
        kspace=kspace,
        target=make_target(kspace, crop),
        contrast=plan.contrast,
        crop=crop,
        padding=scan.padding,
        attributes={
            "simulated": f"{plan.anatomy}, seed {plan.seed}",
            "pixel_mm": sizes["pixel_mm"],
        },
    )
