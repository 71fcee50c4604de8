"""Read pairs of images with and without known lesions: what is kept, what is lost, what is new.

The reader knows nothing of where the images come from. Accelerated scans and denoised B-scans
become `Exam`s, one picture seen by every method, and are measured by the same functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from recon.data.fastmri import read_volume
from recon.data.inserted import Pair, middle_slices, read_lesions
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
from recon.learning import detectability as see
from recon.learning import false_structures as false
from recon.learning.losses import combine
from recon.learning.metrics import CONTRASTS
from recon.phantoms.lesions import Lesion
from recon.physics.sampling import effective_acceleration

__all__ = ["Exam", "count_spots", "examine", "level_of", "measure_lesions", "observe"]

FULL, REPEAT = "full", "repeat"


@dataclass(frozen=True)
class Exam:
    """One picture without and with lesions under every method, in units of its reference level.

    Attributes
    ----------
    volume, contrast : str
    accel, effective : float
        Nominal and effective acceleration; 0 where there is none.
    lesions : tuple of Lesion
    without, with_lesions : dict
        Method to ``(height, width)``; ``full`` is the best that was acquired, and ``repeat`` (only
        without lesions) the same body acquired again.
    body : np.ndarray
        Where spots are looked for, bool.
    first : bool
        Whether this is the first exam with these images without lesions: spots are counted once.
    """

    volume: str
    contrast: str
    accel: float
    effective: float
    lesions: tuple[Lesion, ...]
    without: Mapping[str, np.ndarray]
    with_lesions: Mapping[str, np.ndarray]
    body: np.ndarray
    first: bool


def level_of(image: np.ndarray) -> float:
    """Reference level of an image: the 95th percentile of its signal, as for the object."""
    return float(np.percentile(image[image > 0.05 * image.max()], 95))


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
        items, repeats = [], read_volume(pair.repeat).target
        for path in (pair.healthy, *pair.inserted):
            volume = read_volume(path)
            for i in numbers:
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
                other = draw * len(numbers) + k
                exams.append(
                    Exam(
                        volume=healthy.name,
                        contrast=CONTRASTS.get(healthy.contrast, healthy.contrast),
                        accel=plan.accel,
                        effective=effective,
                        lesions=tuple(one for one in lesions if one.slice == i),
                        without={**without, REPEAT: repeats[i] / level},
                        with_lesions={n: found[other] / level for n, found in images.items()},
                        body=false.body_of(without[FULL], 1.0, widest),
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


def _fields(exam: Exam, method: str) -> dict:
    return {
        "volume": exam.volume,
        "contrast": exam.contrast,
        "accel": exam.accel,
        "effective_accel": exam.effective,
        "method": method,
    }


def measure_lesions(
    exams: Sequence[Exam], detectors: Mapping[float, false.Detector]
) -> pd.DataFrame:
    """One row per lesion and method: recovery, CNR with and without it, whether it was detected.

    Parameters
    ----------
    exams : sequence of Exam
    detectors : mapping
        By diameter, one for every diameter of the lesions.
    """
    rows = []
    for exam in exams:
        response = exam.with_lesions[FULL] - exam.without[FULL]
        for method, image in exam.with_lesions.items():
            plain = exam.without[method]
            maps = {
                d: false.conspicuity(image, d, one.floor)
                for d, one in detectors.items()
                if any(lesion.diameter == d for lesion in exam.lesions)
            }
            for lesion in exam.lesions:
                rows.append(
                    {
                        **_fields(exam, method),
                        "kind": lesion.kind,
                        "diameter": lesion.diameter,
                        "strength": abs(lesion.contrast),
                        "recovery": see.recovery(plain, image, response, lesion),
                        "cnr": see.cnr(image, lesion),
                        "cnr_without": see.cnr(plain, lesion),
                        "found": false.found(
                            maps[lesion.diameter], lesion, detectors[lesion.diameter]
                        ),
                    }
                )
    return pd.DataFrame(rows)


def observe(exams: Sequence[Exam], kinds: Sequence[str]) -> pd.DataFrame:
    """The channelised Hotelling observer, left-one-out: AUC with intervals.

    A row per method, acceleration, diameter and strength that at least three volumes hold. The
    ground is every place of such a lesion, of whatever size, in the images without lesions.

    Parameters
    ----------
    exams : sequence of Exam
    kinds : sequence of str
        Kinds of lesions that are read; their grounds are alike.
    """
    rows = []
    places = [(exam, one) for exam in exams for one in exam.lesions if one.kind in kinds]
    accelerations = sorted({exam.accel for exam in exams})
    wanted = sorted({(one.diameter, abs(one.contrast)) for _, one in places})
    for accel in accelerations:
        at = [(exam, one) for exam, one in places if exam.accel == accel]
        for method in at[0][0].with_lesions:
            for diameter, strength in wanted:
                part = [
                    (e, x) for e, x in at if (x.diameter, abs(x.contrast)) == (diameter, strength)
                ]
                if len({e.volume for e, _ in part}) < 3:
                    continue
                rows.append(
                    {
                        "accel": accel,
                        "effective_accel": float(np.mean([e.effective for e, _ in part])),
                        "method": method,
                        "diameter": diameter,
                        "strength": strength,
                        **_read(at, part, method, diameter),
                    }
                )
    return pd.DataFrame(rows)


def _read(at, part, method: str, diameter: float) -> dict:
    """AUC of one method for one kind of lesion, its interval, d' and the numbers of readings."""
    waves = see.channels(diameter)

    def outputs(image, lesion):
        seen = see.patch(image, lesion, waves.shape[-1] // 2).astype(np.float64)
        return np.sign(lesion.contrast) * np.tensordot(waves, seen - seen.mean(), 2)

    present = np.stack([outputs(e.with_lesions[method], x) for e, x in part])
    paired = np.stack([outputs(e.without[method], x) for e, x in part])
    ground = np.stack([outputs(e.without[method], x) for e, x in at])
    volumes, others = [e.volume for e, _ in part], [e.volume for e, _ in at]
    yes, no = see.leave_one_out(present, paired, ground, volumes, others)
    lo, hi = see.auc_interval(yes, no, volumes, others)
    spread = np.sqrt(0.5 * (yes.var(ddof=1) + no.var(ddof=1)))
    return {
        "auc": see.auc(yes, no),
        "lo": lo,
        "hi": hi,
        "d_prime": float((yes.mean() - no.mean()) / spread) if spread else 0.0,
        "present": len(yes),
        "absent": len(no),
        "volumes": len(set(volumes)),
    }


def count_spots(exams: Sequence[Exam], detectors: Mapping[float, false.Detector]) -> pd.DataFrame:
    """One row per picture without lesions, method and diameter: spots invented and removed.

    Beside ``new`` and ``lost`` (against the fully sampled image) stand ``there``, the spots of the
    fully sampled image, and ``pixels``, the size of the body.
    """
    rows = []
    for exam in exams:
        if not exam.first:
            continue
        for diameter, detector in detectors.items():
            target = false.conspicuity(exam.without[FULL], diameter, detector.floor)
            there = false.spots(target, detector.threshold, exam.body, diameter)
            for method, image in exam.without.items():
                if method == FULL:
                    continue
                z = false.conspicuity(image, diameter, detector.floor)
                rows.append(
                    {
                        **_fields(exam, method),
                        "diameter": diameter,
                        "new": len(false.unmatched(z, target, detector, exam.body)),
                        "lost": len(false.unmatched(target, z, detector, exam.body)),
                        "there": len(there),
                        "pixels": int(exam.body.sum()),
                    }
                )
    return pd.DataFrame(rows)
