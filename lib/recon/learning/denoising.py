"""Volumes of B-scans, opened for scoring, and methods scored on them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recon.classical.denoisers import GRID, PAPER, Denoiser, available, tune
from recon.data.oct import Domains, Truth, read_bscans, read_truth
from recon.errors import InputError
from recon.learning.denoising_scores import Pair, frame, prepare, score, score_volume

__all__ = [
    "Stack",
    "Volume",
    "baselines",
    "each",
    "evaluate",
    "flipped",
    "open_volumes",
    "relative_gain",
    "tune_on",
]

Stack = Callable[[np.ndarray], np.ndarray]  # (B, H, W) -> (B, H, W)


@dataclass(frozen=True)
class Volume:
    """One volume that is to be denoised: `noisy (B, H, W)` and what scores it.

    `contrast` is ``healthy`` or ``diseased`` where that is known, else ``unknown``; `left_out` says
    which B-scans cannot be scored, and why.
    """

    name: str
    contrast: str
    noisy: np.ndarray
    pairs: tuple[Pair, ...]
    truth: Truth | None
    left_out: tuple[str, ...]


def open_volumes(domains: Domains, upsample: int = 1) -> list[Volume]:
    """Volumes of a split, each B-scan prepared for scoring; see `prepare`.

    Raises
    ------
    InputError
        When none of the B-scans can be scored.
    """
    partners = domains.low if domains.paired else [None] * len(domains.high)
    volumes, refused = [], []
    times = Counter(path.name for path in domains.high)  # 18 scans may all be called test.tif
    for path, partner in zip(domains.high, partners, strict=True):
        noisy, truth = read_bscans(path), read_truth(path)
        low = [None] * len(noisy) if partner is None else read_bscans(partner)
        if len(low) != len(noisy):
            raise InputError(f"{path.name}: {len(noisy)} B-scans, but {len(low)} in its partner")
        pairs, kept, why = [], [], []
        for index, (image, other) in enumerate(zip(noisy, low, strict=True)):
            try:
                clean = None if truth is None else truth.clean[index]
                pairs.append(prepare(image, other, clean, upsample))
                kept.append(index)
            except InputError as error:
                why.append(f"{path.name}, B-scan {index}: {error}")
        refused += why
        if kept:
            seen = "unknown"
            if truth is not None:
                seen = "healthy" if truth.pathology == "none" else "diseased"
                truth = Truth(
                    truth.boundaries[kept], truth.clean[kept], truth.pathology, truth.shift
                )
            name = path.name if times[path.name] == 1 else f"{path.parent.name}/{path.name}"
            volumes.append(Volume(name, seen, noisy[kept], tuple(pairs), truth, tuple(why)))
    if not volumes:
        raise InputError(f"no B-scan can be scored; the first: {[*refused, 'there is none'][0]}")
    return volumes


def evaluate(
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]], volumes: Sequence[Volume]
) -> pd.DataFrame:
    """Score methods on volumes, beside ``raw`` (nothing done) and ``oracle`` (the truth, if known).

    Parameters
    ----------
    methods : mapping
        Name to ``method(noisy (B, H, W)) -> (B, H, W)``.
    volumes : sequence of Volume

    Returns
    -------
    pd.DataFrame
        As `frame` makes it.
    """
    scored = {}
    for volume in volumes:
        images = {"raw": volume.noisy}
        images |= {name: method(volume.noisy) for name, method in methods.items()}
        if volume.truth is not None:
            images["oracle"] = volume.truth.clean
        scored[volume.name] = (volume.contrast, score_volume(images, volume.pairs))
    return frame(scored)


def each(denoiser: Denoiser, strength: float) -> Stack:
    """A denoiser of single images as a method for stacks of them."""
    return lambda images: np.stack([denoiser(image, strength) for image in images])


def tune_on(
    denoiser: Denoiser, volumes: Sequence[Volume], strengths: Sequence[float], metric: str = "psnr"
) -> tuple[float, Mapping[float, float]]:
    """`recon.classical.denoisers.tune` on the first B-scan of each volume, by one of its scores."""
    pairs = [volume.pairs[0] for volume in volumes]
    return tune(
        denoiser,
        [pair.noisy for pair in pairs],
        lambda index, drawn: score(drawn, pairs[index])[metric],
        strengths,
    )


def baselines(volumes: Sequence[Volume]) -> tuple[dict[str, Stack], pd.DataFrame]:
    """The denoisers that can run here, at the paper's strength and (``_tuned``) at the best one.

    Parameters
    ----------
    volumes : sequence of Volume
        To tune on: neither trained on nor tested on. Without registered partners there is nothing
        to tune by, and the tuned methods are left out.

    Returns
    -------
    (dict, pd.DataFrame)
        Methods by name; and a line a denoiser with the strengths ``paper`` and ``tuned`` and the
        PSNR of both on `volumes`.
    """
    methods, lines = {}, {}
    usable = [volume for volume in volumes if volume.pairs[0].registered]
    for name, denoiser in available().items():
        methods[name] = each(denoiser, PAPER[name])
        lines[name] = {"paper": PAPER[name]}
        if usable:
            strength, tried = tune_on(denoiser, usable, GRID[name])
            methods[f"{name}_tuned"] = each(denoiser, strength)
            lines[name] |= {"tuned": strength, "PSNR, paper": tried[PAPER[name]]}
            lines[name] |= {"PSNR, tuned": tried[strength], "tried": ", ".join(map(str, tried))}
    return methods, pd.DataFrame(lines).T


def relative_gain(method: Stack, volumes: Sequence[Volume]) -> float:
    """Mean of the gains over the raw image in the scores of table 1, each as a share of the raw's.

    On the first B-scan of each volume; without registered partners, of CNR and MSR alone.
    """
    gains: dict[str, list[tuple[float, float]]] = {}
    for volume in volumes:
        pair = volume.pairs[0]
        raw, ours = score(pair.noisy, pair), score(method(pair.noisy[None])[0], pair)
        for metric in ("cnr", "msr", "psnr", "ssim"):
            if metric in raw:
                gains.setdefault(metric, []).append((raw[metric], ours[metric]))
    means = [np.mean(pairs, axis=0) for pairs in gains.values()]
    return float(np.mean([ours / raw - 1 for raw, ours in means]))


def flipped(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images and their mirror images: a right eye is a left eye in the mirror."""
    return [*images, *(np.ascontiguousarray(image[:, ::-1]) for image in images)]
