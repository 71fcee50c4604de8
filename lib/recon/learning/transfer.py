"""Score networks of several trainings, and methods without one, on the same measurements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from recon.classical.bart import available
from recon.classical.compressed_sensing import compressed_sensing
from recon.classical.pics import pics
from recon.data.measurement import Measurement, Sampling
from recon.errors import InputError
from recon.learning.contest import reconstruct_with
from recon.learning.losses import combine, nmse
from recon.learning.metrics import Method, evaluate_methods
from recon.physics.sense import sense
from recon.results.statistics import summarise
from recon.results.transfer import BASELINES, UNTRAINED

WEIGHTS = (0.001, 0.003, 0.01, 0.03)  # of a prior, that `tuned` tries
Family = Callable[[Measurement, float], Tensor]


@dataclass(frozen=True)
class Lesson:
    """What a network is trained on: a simulated set, whole or with a part taken away."""

    data: str
    without: str = ""

    @property
    def label(self) -> str:
        """The set's name, and what it lacks."""
        return f"{self.data} without {self.without}" if self.without else self.data


@dataclass(frozen=True)
class Exam:
    """What networks are tested on: files, and how many masks of each."""

    label: str
    files: Sequence[Path]
    draws: int = 1


def _sense(item: Measurement, weight: float) -> Tensor:
    """SENSE of one slice, ``(1, height, width)`` complex."""
    return sense(item.kspace[None], item.mask[None], item.sensitivities[None], weight)[0]


def without_training(bart: bool = False) -> dict[str, Family]:
    """Methods that learn nothing, each a function of a slice (with maps) and the prior's weight.

    With ``bart``, also BART's compressed sensing.

    Raises
    ------
    InputError
        When BART is asked for and not installed.
    """
    families: dict[str, Family] = {"sense": _sense, "cs": compressed_sensing}
    if bart:
        if not available():
            raise InputError(
                "there is no bart to run: install BART (Debian: bart), or pass bart=False"
            )
        families["bart_wavelet"] = partial(pics, prior="wavelet", iterations=100)
        families["bart_tv"] = partial(pics, prior="tv", iterations=200)
    return families


def tuned(
    families: Mapping[str, Family], measurements: Sequence[Measurement]
) -> dict[str, dict[float, float]]:
    """Mean NMSE of every method at every weight over training slices, by method."""
    errors: dict[str, dict[float, float]] = {}
    for name, family in families.items():
        for weight in WEIGHTS:
            images = [combine(family(m, weight), m.target.shape[-2:]) for m in measurements]
            pairs = zip(images, measurements, strict=True)
            values = [nmse(image[None], m.target[None]).item() for image, m in pairs]
            errors.setdefault(name, {})[weight] = sum(values) / len(values)
    return errors


def best(families: Mapping[str, Family], errors: Mapping[str, Mapping[float, float]]):
    """Every method at its best weight, for batches: see `recon.learning.metrics.Method`."""

    def batched(family: Family, weight: float, batch: Measurement) -> Tensor:
        tensors = batch.tensors().items()
        items = [
            Measurement(name=name, **{key: value[i] for key, value in tensors})
            for i, name in enumerate(batch.name)
        ]
        return torch.stack([family(item, weight) for item in items])

    chosen = {name: min(tried, key=tried.get) for name, tried in errors.items()}
    return {name: partial(batched, families[name], weight) for name, weight in chosen.items()}


def bart_tuned(
    slices: Sequence[Measurement], count: int = 8
) -> tuple[dict[str, Method], dict[str, dict[float, float]]]:
    """BART's methods, each at the weight that is best on ``count`` slices, taken evenly from all.

    Returns
    -------
    methods : dict
        By name, for `recon.learning.metrics.evaluate_methods`.
    errors : dict
        See `tuned`.

    Raises
    ------
    InputError
        When BART is not installed.
    """
    families = {k: f for k, f in without_training(bart=True).items() if k.startswith("bart")}
    chosen = range(0, len(slices), max(1, len(slices) // count))[:count]
    errors = tuned(families, [slices[i] for i in chosen])
    return best(families, errors), errors


def examine(
    networks: Mapping[Lesson, Mapping[str, nn.Module]],
    untrained: Mapping[str, Method],
    exam: Exam,
    plan: Sampling,
    coils: int,
    seed: int,
    device: str,
    **constants: object,
) -> tuple[list[dict], pd.DataFrame]:
    """Rows of every network of every lesson, and of the methods that learn nothing.

    Parameters
    ----------
    networks : mapping
        Lesson to networks by name.
    untrained : mapping
        Methods by name, ``zero_filled`` among them.
    exam : Exam
    plan : Sampling
    coils : int
        Virtual coils; 0 keeps those of the files.
    seed, device
        As for `recon.learning.metrics.evaluate_methods`.
    constants
        Further fields of every row.

    Returns
    -------
    rows : list of dict
        Tidy rows with ``trained_on`` and ``coils``. Differences are from ``zero_filled``, and over
        all contrasts also from those of `recon.results.transfer.BASELINES` that took part.
    scores : pd.DataFrame
        Per volume, with a column ``trained_on``.
    """
    methods: dict[tuple[str, str], Method] = {(UNTRAINED, k): m for k, m in untrained.items()}
    for lesson, made in networks.items():
        methods |= {(lesson.label, k): partial(reconstruct_with, net) for k, net in made.items()}
    joined = {"|".join(key): method for key, method in methods.items()}
    scores = evaluate_methods(joined, exam.files, plan, coils, seed, device, exam.draws, maps=True)
    split = scores["method"].str.split("|", n=1, expand=True)
    scores["trained_on"], scores["method"] = split[0], split[1]
    rows = []
    for label in dict.fromkeys(key[0] for key in methods):
        others = ("zero_filled", *BASELINES)
        compared = (scores.trained_on == UNTRAINED) & scores.method.isin(others)
        part = scores[(scores.trained_on == label) | compared]
        own = [name for where, name in methods if where == label]
        pairs = [(a, b) for a in own for b in others if a not in (b, "zero_filled")]
        fields = {**constants, "data": exam.label, "trained_on": label, "coils": coils}
        found = summarise(part, pairs, "volume" if exam.draws == 1 else "mask", **fields)
        rows += [row for row in found if row["method"] in own and _kept(row)]
    return rows, scores


def _kept(row: Mapping[str, object]) -> bool:
    """Whether a row is stored: of single contrasts, differences from zero-filled are enough."""
    return row["contrast"] == "all" or row.get("against") in (None, "zero_filled")
