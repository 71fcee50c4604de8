"""Train and score on honest and on processed k-space, every way round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recon.classical import compressed_sensing as cs
from recon.data.crimes import Recipe, variable_density_mask
from recon.data.fastmri import Volume, read_volume
from recon.data.measurement import Measurement, Sampling, draw_mask, seed_of
from recon.data.samples import Slices
from recon.learning import contest
from recon.learning.metrics import Method, reconstruct, score
from recon.learning.training import pick_device
from recon.physics.sampling import make_mask

__all__ = [
    "Study",
    "conjugate_asymmetry",
    "mirrored",
    "outer_energy",
    "padded_accelerations",
    "true_acceleration",
]


def mirrored(batch: Measurement) -> Tensor:
    """Zero-filled, with missing samples taken from their mirror image where that was measured.

    ``k(-f) = conj k(f)`` holds for real pictures, and for nothing that a scanner measures.

    Returns
    -------
    Tensor
        ``(batch, coils, height, width)`` complex.
    """

    def mirror(x: Tensor) -> Tensor:
        return x.flip((-2, -1)).roll((1, 1), (-2, -1))

    found = torch.where(batch.mask, batch.kspace, mirror(batch.kspace).conj())
    known = batch.mask | batch.mask.flip(-1).roll(1, -1)
    return torch.fft.ifft2(torch.where(known, found, 0), norm="ortho")


def conjugate_asymmetry(volume: Volume) -> float:
    """How far k-space is from that of a real picture: 0 for a real one, 1 for random phases.

    The part that changes sign under mirroring and conjugation, over the root of half the energy.
    """
    shifted = np.fft.ifftshift(volume.kspace, axes=(-2, -1))
    mirror = np.roll(shifted[..., ::-1, ::-1], (1, 1), (-2, -1)).conj()
    odd = np.linalg.norm(shifted - mirror) / 2
    return float(odd / (np.linalg.norm(shifted) / np.sqrt(2)))


def outer_energy(volume: Volume, share: float = 0.25) -> float:
    """Mean energy of the outermost ``share`` of the columns over the mean of all columns."""
    energy = (np.abs(volume.kspace) ** 2).sum((0, 1, 2))
    edge = round(len(energy) * share / 2)
    return float(np.concatenate([energy[:edge], energy[-edge:]]).mean() / energy.mean())


def true_acceleration(mask: np.ndarray, width: int, padding: tuple[int, int] = (0, 0)) -> float:
    """Acceleration over the columns that a scanner acquired, wherever a mask's grid was padded to.

    Parameters
    ----------
    mask : np.ndarray
        Of the grid that the file shows, centred.
    width : int
        Columns of the scan, in the middle of that grid (or, of a smaller grid, all around it).
    padding : (int, int)
        Columns (left, right) of the scan that were never acquired.
    """
    first = len(mask) // 2 - width // 2 + padding[0]
    acquired = width - sum(padding)
    measured = int(mask[max(0, first) : first + acquired].sum())
    return acquired / measured if measured else float("inf")


def padded_accelerations(
    width: int, factors: Sequence[float], plan: Sampling, power: float, draws: int
) -> dict[str, np.ndarray]:
    """`true_acceleration` on padded grids, ``(factors, draws)``, for three laws of the mask.

    Columns spread evenly with a fixed centre, at random with a fixed centre, and with a density
    that falls to the edges (`recon.data.crimes.variable_density_mask`).
    """

    def drawn(law: str, points: int, seed: int) -> np.ndarray:
        if law == "variable density":
            return variable_density_mask(points, plan.accel, plan.center_fraction, power, seed)
        return make_mask(points, plan.accel, plan.center_fraction, law, seed).numpy()

    laws = {"equispaced": "equispaced_fraction", "random": "random"}
    laws["variable density"] = "variable density"
    return {
        name: np.array(
            [
                [
                    true_acceleration(drawn(law, round(width * factor), seed), width)
                    for seed in range(draws)
                ]
                for factor in factors
            ]
        )
        for name, law in laws.items()
    }


@dataclass
class Study:
    """Files of every data set, what was trained or tuned on it, and scores.

    Attributes
    ----------
    train, test : dict
        Name of a recipe to its files.
    recipes : mapping
        From `recon.data.crimes.recipes`.
    plan : Sampling
    coils : int
        Virtual coils of the multi-coil set.
    settings : mapping
        The chapter's parameters.
    """

    train: Mapping[str, Sequence[Path]]
    test: Mapping[str, Sequence[Path]]
    recipes: Mapping[str, Recipe]
    plan: Sampling
    coils: int
    settings: Mapping[str, Any]
    networks: dict[str, dict[str, nn.Module]] = field(default_factory=dict)
    histories: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    strengths: dict[str, float] = field(default_factory=dict)
    found: list[dict[str, Any]] = field(default_factory=list)

    def channels(self, name: str) -> int:
        """Coils that a network for this set draws."""
        return self.coils if name == "multicoil" else 1

    def learn(self, name: str, methods: Sequence[str], budget: contest.Budget) -> None:
        """Train ``methods`` on a data set, or take them from the cache."""
        files = self.train[name]
        task = "multicoil" if name == "multicoil" else "singlecoil"
        # The files' folder bears a hash of all that made them; names and sizes alone do not tell
        # one crime from another.
        data = f"{self.settings['data']} {files[0].parent.parent.name}/{files[0].parent.name}"
        own = {**self.settings, "data": data, "task": task, "coils": self.channels(name)}
        self.networks[name], self.histories[name] = contest.train_alike(
            methods, files, self.plan, self.channels(name), budget, own
        )

    def tune(self, name: str, files: Sequence[Path], grid: Sequence[float]) -> dict[float, float]:
        """Choose the strength of compressed sensing on the middle slices of some training files."""
        slices = Slices(files, self.plan, self.channels(name), self.settings["seed"], maps=True)
        places: dict[Path, list[int]] = {}
        for i, (path, _) in enumerate(slices.items):
            places.setdefault(path, []).append(i)
        middle = [slices[own[len(own) // 2]] for own in places.values()]
        self.strengths[name], tried = cs.tune(middle, grid)
        return tried

    def score(self, name: str, sources: Sequence[str]) -> None:
        """Score on the test files of a set all that was trained or tuned on the ``sources``."""
        methods: dict[str, Any] = {f"zero_filled@{name}": lambda batch: batch.image}
        if self.channels(name) == 1:
            methods[f"mirrored@{name}"] = mirrored
        tuned = {s: self.strengths[s] for s in sources if s in self.strengths}
        first = {strength: source for source, strength in reversed(tuned.items())}
        for strength, source in first.items():
            methods[f"cs@{source}"] = partial(cs.batched, regularisation=strength)
        for source in sources:
            for label, network in self.networks.get(source, {}).items():
                if self.channels(source) == self.channels(name):
                    methods[f"{label}@{source}"] = partial(contest.reconstruct_with, network)
        for path in tqdm(self.test[name], desc=f"testing on {name}", mininterval=2):
            images, target, effective = self.reconstruct(methods, name, path)
            # The same strength gives the same picture: it is made once and counts for every source.
            for source, strength in tuned.items():
                images[f"cs@{source}"] = images[f"cs@{first[strength]}"]
            for key, image in images.items():
                method, trained = key.split("@")
                about = {"volume": path.stem, "method": method, "trained": trained, "tested": name}
                about["effective_accel"] = effective
                self.found += [
                    {**about, "metric": metric, "value": value}
                    for metric, value in score(image, target).items()
                ]

    def reconstruct(
        self, methods: Mapping[str, Method], name: str, path: Path
    ) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
        """`recon.learning.metrics.reconstruct` of one test file of a set, with its maps."""
        return reconstruct(
            dict(methods),
            read_volume(path),
            self.plan,
            self.channels(name),
            self.settings["seed"],
            str(pick_device(self.settings["device"])),
            maps_of=path if self.channels(name) == 1 else None,
        )

    def scores(self) -> pd.DataFrame:
        """All scores of full pictures: a row per volume, method, ``trained``, ``tested``, metric.

        ``nrmse`` is the root mean square error over the maximum of the target.
        """
        every = pd.DataFrame(self.found)
        psnr = every[every.metric == "psnr"]
        error = psnr.assign(metric="nrmse", value=10 ** (-psnr.value / 20))
        return pd.concat([error, every[every.metric.isin(["psnr", "ssim"])]], ignore_index=True)

    def pairs(self) -> dict[tuple[str, tuple[str, str, str]], tuple[str, str, str]]:
        """What to compare, for `recon.results.flattery.flattery_rows`.

        ``honest``: the reported test against the honest one; ``before``: against the set without
        this crime; ``use``: tested honestly, trained on the processed set against trained honestly.
        """
        pairs = {}
        methods = [*dict.fromkeys(one["method"] for one in self.found)]
        for name, recipe in self.recipes.items():
            for method in methods:
                reported, honest = (method, name, name), (method, recipe.honest, recipe.honest)
                if name == recipe.honest:
                    continue
                pairs["honest", reported] = honest
                pairs["before", reported] = (method, recipe.before, recipe.before)
                pairs["use", (method, name, recipe.honest)] = honest
        return pairs

    def mask_of(self, volume: Volume) -> np.ndarray:
        """The centred mask ``(width,)`` under which `score` measures a volume."""
        seed = seed_of(self.settings["seed"], volume.name)
        return draw_mask(volume, self.plan, seed).numpy()

    def example(self, name: str, scan: str) -> Volume:
        """A test scan of a data set."""
        return read_volume(next(p for p in self.test[name] if p.stem == scan))

    def view(
        self, label: str, trained: str, tested: str, scan: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Middle slice of a scan by a network, and its target, over the target's maximum."""
        method = {"own": partial(contest.reconstruct_with, self.networks[trained][label])}
        path = next(p for p in self.test[tested] if p.stem == scan)
        images, target, _ = self.reconstruct(method, tested, path)
        middle, top = len(target) // 2, float(target.max())
        return images["own"][middle] / top, target[middle] / top

    def marks(self, name: str, scans: Sequence[Path]) -> dict[str, float]:
        """What gives a processed data set away: means over the test volumes.

        ``asymmetry`` (`conjugate_asymmetry`), ``outer`` (`outer_energy`), and the acceleration over
        the columns of the ``grid`` and over those ``acquired`` by the ``scans`` it was made from.
        """
        found: dict[str, list[float]] = {"asymmetry": [], "outer": [], "grid": [], "acquired": []}
        for path, scan in zip(self.test[name], scans, strict=True):
            volume, original = read_volume(path), read_volume(scan, slice(0, 1))
            mask = self.mask_of(volume)
            # A picture that was cut has fewer columns, which lie further apart in k-space.
            columns = original.kspace.shape[-1]
            cut = original.crop[1] / columns if volume.kspace.shape[-1] == volume.crop[1] else 1
            padding = (round(cut * original.padding[0]), round(cut * original.padding[1]))
            found["asymmetry"].append(conjugate_asymmetry(volume))
            found["outer"].append(outer_energy(volume))
            found["grid"].append(len(mask) / int(mask.sum()))
            found["acquired"].append(true_acceleration(mask, round(cut * columns), padding))
        return {key: float(np.mean(values)) for key, values in found.items()}
