"""Scans and B-scans with lesions, through every method, into exams."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recon.classical import compressed_sensing
from recon.data.fastmri import read_volume
from recon.data.inserted import Pair, middle_slices, read_lesions
from recon.data.inserted_oct import Scene
from recon.data.maps import coil_maps
from recon.data.measurement import (
    Measurement,
    Sampling,
    acquired_columns,
    draw_mask,
    measure,
    seed_of,
    steady_calibration_size,
)
from recon.data.samples import collate
from recon.learning.denoising import Stack
from recon.learning.exams import FULL, REPEAT, Exam, level_of
from recon.learning.false_structures import Detector, body_of, calibrate
from recon.learning.losses import combine, nmse
from recon.learning.metrics import CONTRASTS
from recon.physics.sampling import effective_acceleration

__all__ = [
    "detectors_for",
    "examine",
    "examine_bscans",
    "full_scans",
    "plain_scans",
    "tune_sensing",
]


def tune_sensing(
    slices: Sequence[Measurement], count: int, strengths: Sequence[float]
) -> tuple[Callable[[Measurement], Tensor], dict[float, float]]:
    """Compressed sensing at the strength that is best on some slices, beside zero filling.

    Parameters
    ----------
    slices : sequence of Measurement
        Not of the test set; `count` of them are taken, evenly.
    count : int
    strengths : sequence of float

    Returns
    -------
    method : callable
        As `recon.classical.compressed_sensing.tuned` gives it.
    errors : dict
        Mean NMSE by strength, on these slices; that of zero filling as strength 0.
    """
    places = range(0, len(slices), max(1, len(slices) // count))[:count]
    picked = [slices[place] for place in places]
    method, errors = compressed_sensing.tuned(picked, len(picked), strengths)
    unfilled = [combine(item.image, item.target.shape[-2:]) for item in picked]
    plain = [
        nmse(image[None], item.target[None]).item()
        for image, item in zip(unfilled, picked, strict=True)
    ]
    return method, {0.0: float(np.mean(plain)), **errors}


def full_scans(pair: Pair, wanted: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A slice of a pair, fully sampled: without lesions, with them, and scanned again.

    Where there is no second scan, the third is the first.
    """
    paths = (pair.healthy, pair.inserted[0], pair.repeat or pair.healthy)
    targets = [read_volume(path).target for path in paths]
    number = middle_slices(len(targets[0]), wanted)[0]
    level = level_of(targets[0][number])
    again = targets[2][0 if pair.repeat else number]
    return targets[0][number] / level, targets[1][0] / level, again / level


def plain_scans(files: Sequence[Path], anatomy: str) -> list[np.ndarray]:
    """The middle slices of the files that show an anatomy, fully sampled, in units of their level.

    Simulated training sets hold other structures too, and say what they show; measured files show
    what they show.
    """
    images = []
    for path in files:
        volume = read_volume(path)
        if str(volume.attributes.get("simulated", anatomy)).startswith(anatomy):
            image = volume.target[len(volume.target) // 2]
            images.append(image / level_of(image))
    return images


def detectors_for(
    images: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    diameters: Iterable[float],
    rate: float,
    floor: float,
) -> dict[float, Detector]:
    """A detector for every diameter: `recon.learning.false_structures.calibrate`."""
    return {d: calibrate(images, regions, d, rate, floor) for d in sorted(diameters)}


@torch.inference_mode()
def examine(
    pairs: Sequence[Pair],
    methods: Mapping[str, Callable[[Measurement], Tensor]],
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    slices: int = 1,
    widest: float = 6,
) -> list[Exam]:
    """Undersample both scans of every pair with the same mask, and reconstruct them.

    Parameters
    ----------
    pairs : sequence of Pair
        From `recon.data.inserted.inserted_pairs`.
    methods : mapping
        Name to a function from a batch to coil images, as `evaluate_methods` takes it.
    plan, virtual_coils, seed, device
        As for `recon.learning.metrics.reconstruct`.
    slices : int
        Slices of each body that hold lesions.
    widest : float
        Largest diameter, which decides how near to the air spots are looked for.
    """
    exams = []
    for pair in tqdm(pairs, desc=f"reading at {plan.accel:g}x", mininterval=2):
        healthy = read_volume(pair.healthy)
        mask = draw_mask(healthy, plan, seed_of(seed, healthy.name))
        size = steady_calibration_size(healthy, plan, mask)
        numbers = middle_slices(len(healthy.kspace), slices)
        items, repeats = [], read_volume(pair.repeat).target if pair.repeat else None
        for path in (pair.healthy, *pair.inserted):
            volume = read_volume(path)
            for k, number in enumerate(numbers):
                i = number if path == pair.healthy else k
                maps = coil_maps(path, i, virtual_coils, size)
                items.append(measure(volume, i, mask, virtual_coils, size, maps))
        images = {name: _images(method, items, device) for name, method in methods.items()}
        images[FULL] = np.stack([(item.target * item.scale).numpy() for item in items])
        effective = effective_acceleration(mask, acquired_columns(healthy))
        for draw, path in enumerate(pair.inserted, start=1):
            lesions = read_lesions(path)
            for k, i in enumerate(numbers):
                level = level_of(images[FULL][k])
                without = {name: found[k] / level for name, found in images.items()}
                body = body_of(without[FULL], 1.0, widest)
                if repeats is not None:
                    without[REPEAT] = repeats[k] / level
                other = draw * len(numbers) + k
                exams.append(
                    Exam(
                        volume=healthy.name,
                        contrast=CONTRASTS.get(healthy.contrast, healthy.contrast),
                        accel=plan.accel,
                        effective=effective,
                        lesions=tuple(one for one in lesions if one.slice == i),
                        without=without,
                        with_lesions={n: found[other] / level for n, found in images.items()},
                        regions={"body": body},
                        first=draw == 1,
                    )
                )
    return exams


def _images(method, items: list[Measurement], device: str, batch_size: int = 4) -> np.ndarray:
    """Images ``(n, height, width)`` float32 in the file's units."""
    images = []
    for first in range(0, len(items), batch_size):
        batch = collate(items[first : first + batch_size]).to(torch.device(device))
        output = combine(method(batch), batch.target.shape[-2:])
        images.append((output * batch.scale.reshape(-1, 1, 1)).float().cpu())
    return torch.cat(images).numpy()


def examine_bscans(scenes: Sequence[Scene], denoisers: Mapping[str, Stack]) -> list[Exam]:
    """Denoise both B-scans of every pair.

    Beside the denoisers stand ``raw``, what they were given, and ``average``, of many frames; what
    is there without speckle is ``full``.

    Parameters
    ----------
    scenes : sequence of Scene
        From `recon.data.inserted_oct.inserted_bscans`.
    denoisers : mapping
        Name to a function from images ``(B, H, W)`` to as many of the same size.
    """
    exams: list[Exam] = []
    done: dict[str, dict[str, np.ndarray]] = {}  # what is without lesions is shared by the draws

    def seen(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {"raw": images["raw"], "average": images["average"]}
        out |= {name: method(images["raw"][None])[0] for name, method in denoisers.items()}
        return {**out, FULL: images["truth"]}

    for scene in tqdm(scenes, desc="reading B-scans", mininterval=2):
        first = scene.volume not in done
        if first:
            done[scene.volume] = seen(scene.without)
        exams.append(
            Exam(
                volume=scene.volume,
                contrast=scene.pathology,
                accel=0.0,
                effective=0.0,
                lesions=scene.lesions,
                without=done[scene.volume],
                with_lesions=seen(scene.with_lesions),
                regions=scene.regions,
                first=first,
            )
        )
    return exams
