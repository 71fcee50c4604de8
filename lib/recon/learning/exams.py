"""Read pictures with and without known lesions: what is kept, what is lost, what is new.

The reader knows nothing of where pictures come from. Accelerated scans and denoised B-scans become
`Exam`s, one picture seen by every method, and are measured by the same functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recon.learning import detectability as see
from recon.learning import false_structures as false
from recon.phantoms.lesions import Lesion

__all__ = ["FULL", "REPEAT", "Exam", "count_spots", "level_of", "measure_lesions", "observe"]

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
    regions : dict
        By name, where spots are looked for, bool.
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
    regions: Mapping[str, np.ndarray]
    first: bool


def level_of(image: np.ndarray) -> float:
    """Reference level of an image: the 95th percentile of its signal, as for the object."""
    return float(np.percentile(image[image > 0.05 * image.max()], 95))


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
    """One row per lesion and method: recovery, and with and without it, CNR and detection.

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
                d: [false.conspicuity(x, d, detectors[d].floor) for x in (image, plain)]
                for d in {lesion.diameter for lesion in exam.lesions}
            }
            for lesion in exam.lesions:
                there, before = (
                    false.found(z, lesion, detectors[lesion.diameter])
                    for z in maps[lesion.diameter]
                )
                rows.append(
                    {
                        **_fields(exam, method),
                        "kind": lesion.kind,
                        "diameter": lesion.diameter,
                        "strength": abs(lesion.contrast),
                        "recovery": see.recovery(plain, image, response, lesion),
                        "cnr": see.cnr(image, lesion),
                        "cnr_without": see.cnr(plain, lesion),
                        "found": there,
                        "found_without": before,
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
    """One row per picture without lesions, method, diameter and region: spots invented and removed.

    Beside ``new`` and ``lost`` (against the fully sampled image) stand ``there``, the spots of the
    fully sampled image, and ``pixels``, the size of the region.
    """
    rows = []
    for exam in exams:
        if not exam.first:
            continue
        for diameter, detector in detectors.items():
            target = false.conspicuity(exam.without[FULL], diameter, detector.floor)
            for method, image in exam.without.items():
                if method == FULL:
                    continue
                z = false.conspicuity(image, diameter, detector.floor)
                for name, region in exam.regions.items():
                    there = false.spots(target, detector.threshold, region, diameter)
                    rows.append(
                        {
                            **_fields(exam, method),
                            "region": name,
                            "diameter": diameter,
                            "new": len(false.unmatched(z, target, detector, region)),
                            "lost": len(false.unmatched(target, z, detector, region)),
                            "there": len(there),
                            "pixels": int(region.sum()),
                        }
                    )
    return pd.DataFrame(rows)
