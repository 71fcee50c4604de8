"""Loss and scores of the middle columns, for methods that do not draw the rest."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from recon.data.fastmri import read_volume
from recon.data.measurement import Measurement, Sampling, draw_mask, measure, seed_of
from recon.data.samples import collate
from recon.learning.losses import ReconstructionLoss, combine
from recon.learning.metrics import CONTRASTS, Method, reconstruct, score
from recon.networks.replication import (
    Deviations,
    cut,
    part,
    positive_part,
    rejoin,
    target_units,
    widen,
)
from recon.physics.coils import rss
from recon.physics.encoding import data_consistency
from recon.physics.fourier import ifft2

__all__ = [
    "ReplicationLoss",
    "best_possible",
    "fully_sampled",
    "restore",
    "score_centre",
    "score_truth",
]


class ReplicationLoss(ReconstructionLoss):
    """The loss of the paper on the target of the report: cut, and with zero mean if it says so."""

    def __init__(self, deviations: Deviations, beta: float = 0.5):
        super().__init__(beta)
        self.deviations = deviations

    def forward(self, images: Tensor, measurement: Measurement) -> Tensor:
        """Loss of coil images ``(batch, coils, height, width)`` complex."""
        target = cut(measurement.target, self.deviations.columns)
        if self.deviations.zero_mean_target:
            mean, deviation = target_units(target)
            target = (target - mean) / deviation
        return super().forward(images, replace(measurement, target=target))


def middle(images: np.ndarray, columns: int) -> np.ndarray:
    """The middle ``columns`` of ``(..., width)``; all of them for 0 or too many."""
    width = images.shape[-1]
    if not 0 < columns < width:
        return images
    left = (width - columns) // 2
    return images[..., left : left + columns]


def rows_of(
    name: str, contrast: str, effective: float, images: dict[str, np.ndarray], target: np.ndarray
) -> list[dict]:
    """Tidy scores of one volume under every method, region ``centre``."""
    return [
        {
            "volume": name,
            "contrast": CONTRASTS.get(contrast, contrast),
            "effective_accel": effective,
            "method": method,
            "metric": metric,
            "region": "centre",
            "value": value,
        }
        for method, image in images.items()
        for metric, value in score(image, target).items()
    ]


def score_centre(
    methods: dict[str, Method],
    paths: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    columns: int,
    seed: int = 0,
    device: str = "cpu",
) -> pd.DataFrame:
    """Score every method on the middle ``columns`` of every volume, rows as `evaluate_methods` has.

    Every pixel that is scored is one that all methods draw, so differences are paired.
    """
    rows = []
    for path in tqdm(paths, desc="evaluating", mininterval=2):
        volume = read_volume(path)
        images, target, effective = reconstruct(methods, volume, plan, virtual_coils, seed, device)
        cut = {name: middle(image, columns) for name, image in images.items()}
        rows += rows_of(path.stem, volume.contrast, effective, cut, middle(target, columns))
    return pd.DataFrame(rows)


def fully_sampled(path: Path, plan: Sampling, seed: int = 0) -> tuple[Measurement, Tensor]:
    """A volume's measurements in one batch, its coils as they are, and the true coil images.

    Returns
    -------
    Measurement
        Of all slices.
    Tensor
        ``(slices, coils, height, width)`` complex, in the units of each measurement.
    """
    volume = read_volume(path)
    mask = draw_mask(volume, plan, seed_of(seed, volume.name))
    whole = torch.ones_like(mask)
    items, truths = [], []
    for index in range(len(volume.kspace)):
        item, full = measure(volume, index, mask), measure(volume, index, whole)
        items.append(item)
        truths.append(full.image * (full.scale / item.scale))
    return collate(items), torch.stack(truths)


def score_truth(
    what: dict[str, Callable[[Tensor, Measurement], Tensor]],
    paths: Sequence[Path],
    plan: Sampling,
    columns: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Score what is left of the true images after something was done to them.

    Parameters
    ----------
    what : dict
        Name to a function of the true coil images and the measurement.
    paths, plan, columns, seed
        As for `score_centre`.
    """
    rows = []
    for path in paths:
        item, truth = fully_sampled(path, plan, seed)
        size = item.target.shape[-2:]
        images = {
            name: middle(combine(change(truth, item), size).numpy(), columns)
            for name, change in what.items()
        }
        contrast = read_volume(path, slice(0, 1)).contrast
        rows += rows_of(
            path.stem, contrast, plan.accel, images, middle(item.target.numpy(), columns)
        )
    return pd.DataFrame(rows)


def restore(images: Tensor, target: Tensor, deviations: Deviations, fitted: bool = True) -> Tensor:
    """A reconstruction in the units of the target, where it was taught in others.

    Nothing in the report leads back from a target of zero mean, so each slice is told two numbers:
    the factor and the offset that bring it nearest to its target (no others would score higher), or
    the deviation and the mean that were taken from the target.

    Parameters
    ----------
    images : Tensor
        ``(batch, coils, height, width)`` complex.
    target : Tensor
        ``(batch, height, width)``, in the measurement's units.
    deviations : Deviations
    fitted : bool
        Which two numbers.

    Returns
    -------
    Tensor
        ``(batch, coils, height, width)`` complex; with `zero_mean_target` one coil, a magnitude.
    """
    if not deviations.zero_mean_target:
        return images
    goal = cut(target, deviations.columns)
    mean, factor = target_units(goal)
    offset = mean
    if fitted:
        seen = combine(images, goal.shape[-2:])
        seen_mean = seen.mean((-2, -1), keepdim=True)
        shared = ((seen - seen_mean) * (goal - mean)).sum((-2, -1), keepdim=True)
        spread = (seen - seen_mean).square().sum((-2, -1), keepdim=True)
        factor = shared / spread.clamp_min(1e-12)
        offset = mean - factor * seen_mean
    magnitude = (factor * rss(images) + offset).clamp_min(0)
    return torch.complex(magnitude, torch.zeros_like(magnitude)).unsqueeze(1)


def best_possible(truth: Tensor, measurement: Measurement, deviations: Deviations) -> Tensor:
    """The true coil images after what a deviation does to them.

    The crop and the units act on what leaves the network, ReLU on what leaves a module; a target of
    zero mean asks for the nearest magnitude, whatever the network could draw.

    Parameters
    ----------
    truth : Tensor
        ``(batch, coils, height, width)`` complex, fully sampled, in the measurement's units.
    measurement : Measurement
        Of a batch.
    deviations : Deviations

    Returns
    -------
    Tensor
        ``(batch, coils, height, width)`` complex, in the units of the target.
    """
    kspace, mask, width = measurement.kspace, measurement.mask, truth.shape[-1]
    image = cut(truth, deviations.columns)
    lost = deviations.consistency_lost
    if deviations.normalised_apart:
        _, kspace, units = part(cut(ifft2(kspace), deviations.columns), kspace)
        image = (image - units.image_mean) / units.image_deviation
    if deviations.relu_at_end:
        image = positive_part(image)
    if not lost:
        image = cut(data_consistency(widen(image, width), kspace, mask), image.shape[-1])
    if deviations.normalised_apart:
        image = rejoin(image, units, in_kspace=not lost)
    image = widen(image, width)
    if deviations.zero_mean_target:
        mean, _ = target_units(cut(measurement.target, deviations.columns))
        nearest = (rss(image) - mean).clamp_min(0).unsqueeze(1)
        nearest = torch.complex(nearest, torch.zeros_like(nearest))
        image = restore(nearest, measurement.target, deviations)
    return image
