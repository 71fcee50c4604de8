"""Pairs of scans that differ by known lesions and by nothing else.

A body is rendered once. It is scanned as it is (the simulated set's own file); with lesions, by
adding the k-space that the same coils measure of the lesions alone, seen through the same phase and
the same filter, under the same noise; and once more without lesions but with other noise, which
says how much two scans of one body differ anyway. All are files of fastMRI's format in the cache.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recon.data.fastmri import Volume, make_target, read_volume
from recon.data.manifest import load_manifest
from recon.data.simulate import Plan, fill, plan_volume, set_folder, simulate
from recon.errors import InputError
from recon.paths import cache_dir
from recon.phantoms import brain, knee, scanner
from recon.phantoms.coil_array import sensitivities
from recon.phantoms.lesions import Lesion, Wish, hosts_of, place, profile
from recon.physics.fourier import centre_crop, fft2c
from recon.results.fingerprints import code_sha256

__all__ = [
    "COMMON",
    "SITE_DIAMETER",
    "Pair",
    "encode",
    "inserted_pairs",
    "middle_slices",
    "noise_of",
    "read_lesions",
    "wishes_for",
]

ANATOMY = {"knee": knee, "brain": brain}
#: The kind whose size and strength are varied, and small lesions of other places.
COMMON = {"knee": "marrow_oedema", "brain": "white_matter_lesion"}
SITES = {"knee": ("cartilage_defect", "meniscal_tear"), "brain": ()}
SITE_DIAMETER = 2.0  # pixels: what fits into cartilage


@dataclass(frozen=True)
class Pair:
    """One body: the scan without lesions, the same again with other noise, scans with lesions.

    The file without lesions holds all slices, the others those around the middle that hold lesions.
    Of a measured scan there is no second one.
    """

    healthy: Path
    repeat: Path | None
    inserted: tuple[Path, ...]


def wishes_for(
    anatomy: str, sizes: Sequence[float], contrasts: Sequence[float], number: int = 0
) -> list[Wish]:
    """Every size at every contrast, and a site at the strongest; those hard to place first.

    The sites of a joint share its rows, so a scan has room for one: they take turns by ``number``.
    """
    kinds = SITES[anatomy][number % len(SITES[anatomy]) :][:1] if SITES[anatomy] else ()
    sites = [Wish(kind, SITE_DIAMETER, max(contrasts)) for kind in kinds]
    sizes = sorted(sizes, reverse=True)
    return sites + [Wish(COMMON[anatomy], d, c) for d in sizes for c in contrasts]


def encode(picture: np.ndarray, scan: scanner.Scan, maps: np.ndarray, phase: np.ndarray):
    """Noise-free k-space of a picture that may be negative, under given coils and phase.

    Parameters
    ----------
    picture : np.ndarray
        ``(rows, 2 W)``, in units of the body's 95th percentile.
    scan : recon.phantoms.scanner.Scan
    maps, phase : np.ndarray
        ``(coils, rows, 2 W)`` complex and ``(rows, 2 W)`` radians, of the body.

    Returns
    -------
    np.ndarray
        ``(coils, H, W)`` complex64, as `recon.phantoms.scanner.measure` would measure it.
    """
    height, width = scan.matrix
    rows = picture.shape[0]
    images = np.zeros((len(maps), 2 * height, 2 * width), np.complex64)
    top = (2 * height - rows) // 2
    images[:, top : top + rows] = picture * np.exp(1j * phase) * maps
    kspace = centre_crop(fft2c(torch.from_numpy(images)), scan.matrix).numpy()
    decay = np.exp(-scan.decay * np.abs(np.arange(width) - width // 2) / (width / 2))
    return _filtered(kspace * (0.5 * decay).astype(np.float32), scan)


def noise_of(scan: scanner.Scan, slices: int, rng: np.random.Generator) -> np.ndarray:
    """Another draw of the noise that `recon.phantoms.scanner.measure` adds, ``(slices, ...)``."""
    height, width = scan.matrix
    coils = len(scan.coupling)
    white = rng.standard_normal((2, slices, coils, height * width), np.float32)
    noise = scan.coupling.astype(np.complex64) @ (white[0] + 1j * white[1])
    return _filtered(scan.noise * noise.reshape(slices, coils, height, width), scan)


def _filtered(kspace: np.ndarray, scan: scanner.Scan) -> np.ndarray:
    """The end of every scan: roll-off, columns that were never acquired, scale."""
    height, width = scan.matrix
    if scan.taper:
        down, across = (scanner._rolloff(n, scan.taper) for n in (height, width))
        kspace = kspace * down[:, None] * across
    left, right = scan.padding
    kspace[..., :left] = 0
    kspace[..., width - right :] = 0
    return (kspace * np.float32(scan.scale)).astype(np.complex64)


def inserted_pairs(
    data: str,
    profile_name: str,
    sizes: Sequence[float],
    contrasts: Sequence[float],
    volumes: int,
    draws: int = 1,
    slices: int = 1,
    seed: int = 0,
) -> list[Pair]:
    """The first validation bodies of a simulated set with lesions, made now where they lack.

    Parameters
    ----------
    data : str
        ``simulated_knee`` or ``simulated_brain``.
    profile_name : {"quick", "standard", "paper"}
    sizes, contrasts : sequence of float
        Diameters in pixels; peaks over the body's 95th percentile. A slice with lesions holds
        each size at each contrast once, as far as there is room.
    volumes : int
        Bodies; no more than the set has.
    draws : int
        Scans with lesions of each body, at other places.
    slices : int
        How many slices of a body hold lesions: those around its middle.
    seed : int
        Of the places and of the other noise. The bodies are the set's own.

    Raises
    ------
    InputError
        For a set that is not simulated anatomy, and a size or contrast that cannot be drawn.
    """
    manifest = load_manifest(data)
    anatomy = manifest.settings.get("anatomy")
    if manifest.kind != "simulated" or anatomy not in ANATOMY:
        raise InputError(
            f"{data} has no simulated anatomy, and lesions must be put into a body before it is "
            "scanned: pass data='simulated_knee' or 'simulated_brain'."
        )
    if not sizes or min(sizes) < 0.5 or max(sizes) > 16:
        raise InputError(f"sizes are {list(sizes)}: give diameters from 0.5 to 16 pixels.")
    if not contrasts or min(contrasts) <= 0 or max(contrasts) > 1:
        raise InputError(f"contrasts are {list(contrasts)}: give peaks above 0 and at most 1.")
    healthy = simulate(manifest, "multicoil", profile_name, "val")
    made_of = {
        "inserted": code_sha256(Path(__file__)),
        "lesions": [sorted(map(float, sizes)), sorted(map(float, contrasts)), slices, seed],
    }
    root = set_folder(manifest, profile_name, made_of)
    folder = cache_dir() / "inserted" / root.name
    pairs, makers = [], {}
    for index in range(min(volumes, manifest.profiles[profile_name]["val"]["volumes"])):
        plan = plan_volume(manifest, profile_name, "val", index)
        body = _Body(manifest, profile_name, plan, slices)
        names = [f"{plan.name}_lesions{draw}" for draw in range(draws)]
        for draw, name in enumerate(names):
            # Two volumes in turn have both contrasts.
            wanted = wishes_for(anatomy, sizes, contrasts, index // 2 + draw)
            makers[name] = partial(body.with_lesions, name, wanted, seed, draw)
        repeat = f"{plan.name}_repeat"
        makers[repeat] = partial(body.again, repeat, seed)
        files = [folder / "multicoil" / f"{name}.h5" for name in (repeat, *names)]
        pairs.append(Pair(healthy / f"{plan.name}.h5", files[0], tuple(files[1:])))
    fill(folder / "multicoil", makers, f"Lesions in {data}")
    return pairs


def middle_slices(count: int, wanted: int) -> list[int]:
    """Numbers of ``wanted`` slices around the middle of ``count``, in order."""
    first = max(0, (count - wanted + 1) // 2)
    return list(range(count))[first : first + wanted]


def read_lesions(path: Path) -> list[Lesion]:
    """The lesions of a file that `inserted_pairs` made."""
    about = read_volume(path, slice(0, 1)).attributes
    return [Lesion(**fields) for fields in json.loads(about["lesions"])]


class _Body:
    """A body and its scan, rendered when first asked for."""

    def __init__(self, manifest, profile_name: str, plan: Plan, slices: int):
        self.plan, self.slices = plan, slices
        self.sizes = manifest.profiles[profile_name]
        self.contrast = manifest.contrasts[plan.contrast]
        self.made: dict = {}

    def _render(self) -> tuple[np.ndarray, scanner.Scan]:
        """Body ``(slices, rows, 2 W)`` as the scan sees it, 1 at its 95th percentile; its scan."""
        if not self.made:
            height, width = self.sizes["matrix"]
            grid = (self.sizes["val"]["slices"], height, 2 * width)
            anatomy, render = ANATOMY[self.plan.anatomy], self.contrast["render"]
            body = self._mirrored(anatomy.render(grid, render, self.plan.seed))
            level = np.percentile(body[body > 0.05 * body.max()], 95)
            scan = scanner.draw_scan(
                (height, width),
                self.plan.coils,
                self.plan.seed,
                render,
                noise=self.contrast["noise"],
                bore=self.plan.bore,
            )
            self.made.update(body=body / level, scan=scan, grid=grid)
            self.made["kspace"] = scanner.measure(self.made["body"], scan)
        return self.made["body"], self.made["scan"]

    def _mirrored(self, picture: np.ndarray) -> np.ndarray:
        return picture[..., ::-1] if self.plan.mirrored else picture

    def with_lesions(self, name: str, wanted: list[Wish], seed: int, draw: int) -> Volume:
        """The body's own scan, with what its coils measure of lesions added."""
        body, scan = self._render()
        if "tissues" not in self.made:
            drawn = ANATOMY[self.plan.anatomy].tissues(self.made["grid"], self.plan.seed)
            self.made["tissues"] = {k: self._mirrored(v) for k, v in drawn.items()}
        rng = np.random.default_rng([self.plan.seed, seed, draw, 31])
        width = scan.matrix[1]
        high, wide = self.sizes["crop"]
        # Rows and columns of the picture that the file's target shows.
        top, left = (body.shape[1] // 2 - high) // 2, (width - wide) // 2
        window = (top, top + high, left, left + wide)
        maps = sensitivities(body, scan.array)
        numbers = middle_slices(len(body), self.slices)
        kspace = self.made["kspace"][numbers]
        lesions: list[Lesion] = []
        for k, i in enumerate(numbers):
            layers = {name: cover[i] for name, cover in self.made["tissues"].items()}
            found = place(
                hosts_of(layers),
                wanted,
                rng,
                window,
                self.contrast["render"],
                i,
                finer=2,
                own_rows=True,
            )
            if not found:
                continue
            grown = sum(
                one.contrast
                * profile(body.shape[1:], (2 * one.row, 2 * one.column), one.diameter, finer=2)
                for one in found
            )
            kspace[k] += encode(grown, scan, maps(i), scanner.object_phase(body[i], scan, i))
            lesions += [replace(x, row=x.row - top, column=x.column - left) for x in found]
        return self._volume(name, kspace, {"lesions": json.dumps([asdict(x) for x in lesions])})

    def again(self, name: str, seed: int) -> Volume:
        """The body scanned without lesions under another draw of the noise."""
        body, scan = self._render()
        kspace = scanner.measure(body, replace(scan, noise=0.0))
        rng = np.random.default_rng([self.plan.seed, seed, 32])
        kspace = kspace[middle_slices(len(body), self.slices)]
        volume = self._volume(name, kspace + noise_of(scan, len(kspace), rng), {})
        self.made = {}  # the last that is asked of a body; the next may be large
        return volume

    def _volume(self, name: str, kspace: np.ndarray, about: dict) -> Volume:
        crop = tuple(self.sizes["crop"])
        note = f"{self.plan.anatomy}, seed {self.plan.seed}"
        return Volume(
            name=name,
            kspace=kspace,
            target=make_target(kspace, crop),
            contrast=self.plan.contrast,
            crop=crop,
            padding=self.made["scan"].padding,
            single_coil=False,
            attributes={"simulated": note, "pixel_mm": self.sizes["pixel_mm"], **about},
        )
