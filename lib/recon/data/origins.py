"""Where the k-space of every data set comes from, and which crimes that leaves possible."""

from collections.abc import Sequence
from pathlib import Path

from recon.data.fastmri import read_volume
from recon.data.manifest import Manifest, load_manifest, manifest_names
from recon.data.measurement import Sampling, acquired_columns, draw_mask, seed_of
from recon.paths import project_root
from recon.physics.sampling import effective_acceleration
from recon.results.html import Html, html_table
from recon.results.parameters import declared

__all__ = ["origins", "padding_table", "voxel_ratio"]

ORIGIN = {
    "simulated": (
        "drawn, twice as fine as the voxels",
        "simulated",
        "added in k-space",
        "none; but smooth pieces and white noise are easier than tissue",
    ),
    "nifti": (
        "a finished magnitude picture",
        "simulated",
        "in the picture (now anatomy), and added",
        "in part: phase lost and replaced by a smooth one, picture filtered",
    ),
    "fastmri": ("measured", "measured", "measured", "none, where the files hold raw k-space"),
}


def voxel_ratio(manifest: Manifest, profile: str) -> float:
    """Voxel that the simulated scanner acquires over the voxel of the picture behind it.

    Above 1 the edges of the simulated k-space lie inside what the picture really holds; below 1 the
    scanner would measure interpolation, the crime of zero-padding.
    """
    return manifest.profiles[profile]["pixel_mm"] / manifest.settings["voxel_mm"]


def origins(profile: str) -> Html:
    """A line for every manifest with k-space: object, coils, noise, crimes, who starts there."""
    users: dict[str, list[str]] = {}
    for path in sorted((project_root() / "book").glob("*.py")):
        given = declared(path).get("data")
        if given:
            users.setdefault(given, []).append(path.stem)
    lines = []
    for name in manifest_names():
        manifest = load_manifest(name)
        if manifest.kind not in ORIGIN:  # no k-space
            continue
        cells = list(ORIGIN[manifest.kind])
        if "voxel_mm" in manifest.settings:
            cells[0] += f" (voxel acquired {voxel_ratio(manifest, profile):.1f} times its own)"
        lines.append([name, *cells, ", ".join(users.get(name, [])) or "–"])
    columns = ["Data set", "Object", "Phase, coils", "Noise", "Crimes in it", "Default of"]
    return html_table("Where k-space comes from, by data set", columns, lines)


def padding_table(paths: Sequence[Path], plan: Sampling, seed: int) -> Html:
    """Acceleration of every scan, over all columns of its file and over those acquired."""
    lines = []
    for path in paths:
        volume = read_volume(path, slice(0, 1))
        mask = draw_mask(volume, plan, seed_of(seed, volume.name))
        acquired = acquired_columns(volume)
        counts = [f"{effective_acceleration(mask, n):.2f}" for n in (len(mask), acquired)]
        lines.append([volume.name, len(mask), len(mask) - acquired, *counts])
    columns = ["Scan", "Columns", "Never acquired", "R, all columns", "R, acquired (used here)"]
    return html_table(f"Acceleration of the test scans, nominal {plan.accel:g}", columns, lines)
