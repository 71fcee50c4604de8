"""What makes HDcycleGAN of a cycleGAN, taken back one change at a time, and how that is scored.

Section 2 of Manakov et al. (2019) tells of three: skips, resize-convolutions, a shared
discriminator. The fourth is one of its code: who learns from which loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recon.data.oct import Domains, Truth, read_bscans, read_truth
from recon.errors import InputError
from recon.learning.adversarial import TranslationSchedule
from recon.learning.artefacts import blurred_courses, edge_blur, grid_peak
from recon.learning.denoising_scores import Pair, prepare, score
from recon.learning.translation import denoise, draw_crops, translate
from recon.networks.cyclegan import DOMAINS, HDCycleGAN
from recon.networks.domain_norm import normalise_over_domains

__all__ = [
    "VARIANTS",
    "Subject",
    "Variant",
    "blind_guess",
    "judgements",
    "open_eyes",
    "score_images",
    "score_inputs",
    "score_model",
    "told_apart",
]

CROPS = 8  # of each domain and test volume that discriminators are asked about


@dataclass(frozen=True)
class Variant:
    """A model of the ablation: what is taken back, in words and as switches.

    ``switched`` is whether the other regime of the optimiser is taken, ``visible`` whether the
    discriminators normalise over the domains and not over each image, so that they can see how
    noisy it is (`recon.networks.domain_norm`).
    """

    title: str
    shared: bool = True
    skips: bool = True
    resize: bool = True
    block: str | None = "after"
    switched: bool = False
    visible: bool = False

    def build(
        self, seed: int, images: Mapping[str, Sequence[np.ndarray]], shape, **sizes: int
    ) -> HDCycleGAN:
        """The model with the first weights of a seed.

        Parameters
        ----------
        seed : int
        images : mapping
            To train on, "high" and "low"; some calibrate the normalisation.
        shape : (int, int)
            Of the crops.
        sizes
            As `HDCycleGAN` takes them.
        """
        torch.manual_seed(seed)
        model = HDCycleGAN(
            shared=self.shared,
            skips=self.skips,
            resize=self.resize,
            discriminator_block=self.block,
            **sizes,
        )
        if self.visible:
            rng = np.random.default_rng(seed)
            crops = [draw_crops(images[domain], CROPS, shape, rng) for domain in DOMAINS]
            for domain in DOMAINS:
                normalise_over_domains(model.judge(domain)[0], torch.cat(crops))
        return model

    def schedule(self, schedule: TranslationSchedule) -> TranslationSchedule:
        """The schedule with this variant's regime."""
        if not self.switched:
            return schedule
        return replace(schedule, optimiser="split" if schedule.optimiser == "joint" else "joint")


VARIANTS = {
    "hdcyclegan": Variant("HDcycleGAN"),
    "two_discriminators": Variant("two discriminators", shared=False),
    "transposed": Variant("transposed convolutions", resize=False),
    "no_skips": Variant("no skips", skips=False),
    "other_optimiser": Variant("the other optimiser", switched=True),
    "visible": Variant("noise level visible", visible=True),
    "two_visible": Variant("two discriminators, visible", shared=False, visible=True),
    "cyclegan": Variant("plain cycleGAN", False, False, False, None),
}


def blind_guess(shared: bool, optimiser: str) -> dict[str, float]:
    """What equations 2 and 3 are least for, if a discriminator sees no difference between images.

    It then gives every class the share of the terms that ask for it: a generated image of the pool
    and a real one of each domain, and in the joint regime a fresh generated image, as real.

    Returns
    -------
    dict
        ``real``, of one domain, and ``fake``.
    """
    real, fake = (2 if optimiser == "joint" else 1), (2 if shared else 1)
    terms = real * (2 if shared else 1) + fake
    return {"real": real / terms, "fake": fake / terms}


@dataclass(frozen=True)
class Subject:
    """A test volume: images of both domains, pairs to score with, the truth where it is known."""

    name: str
    noisy: np.ndarray  # (B, H, W)
    partner: np.ndarray  # (B, H, W), of little noise; of another eye where nothing is paired
    pairs: list[Pair]
    truth: Truth | None
    boundaries: np.ndarray | None  # (B, n, W) true rows
    courses: list[np.ndarray]  # `blurred_courses` of each B-scan


def open_eyes(domains: Domains, bscans: int = 0) -> list[Subject]:
    """All volumes of a split, read and registered; of each the first ``bscans`` (0: all).

    Raises
    ------
    InputError
        When there is no volume, or none of little noise.
    """
    if not domains.high or not domains.low:
        raise InputError("an ablation needs volumes of both domains to test on")
    eyes = []
    for place, path in enumerate(domains.high):
        noisy = read_bscans(path)[: bscans or None]
        partner = read_bscans(domains.low[place % len(domains.low)])[: bscans or None]
        truth = read_truth(path)
        references = partner if domains.paired else [None] * len(noisy)
        clean = truth.clean[: len(noisy)] if truth else [None] * len(noisy)
        pairs = [prepare(*images) for images in zip(noisy, references, clean, strict=True)]
        rows = truth.boundaries[: len(noisy)] if truth else None
        courses = list(map(blurred_courses, clean, rows)) if truth else []
        eyes.append(Subject(Path(path).stem, noisy, partner, pairs, truth, rows, courses))
    return eyes


def score_images(images: np.ndarray, eye: Subject, step: int) -> dict[str, float]:
    """All scores of one volume's denoised B-scans.

    Those of `recon.learning.denoising_scores`, and ``checkerboard`` and ``checkerboard_added`` (of
    the result, and of what it adds to its input; `grid_peak`) and ``edge_blur`` where the truth is
    known.

    Parameters
    ----------
    images : np.ndarray
        ``(B, H, W)``, denoised from ``eye.noisy``.
    eye : Subject
    step : int
        Period of the coarsest grid of the generator.
    """
    table = pd.DataFrame(
        [score(image, pair) for image, pair in zip(images, eye.pairs, strict=True)]
    )
    found = {str(name): float(value) for name, value in table.mean().items()}
    found["checkerboard"] = grid_peak(images, step)
    if not np.array_equal(images, eye.noisy):
        found["checkerboard_added"] = grid_peak(images - eye.noisy, step)
    if eye.truth is not None:
        found["edge_blur"] = edge_blur(images, eye.courses, eye.boundaries)
    return found


@torch.inference_mode()
def judgements(
    model: HDCycleGAN, eye: Subject, shape: tuple[int, int], seed: int, generated: bool = True
) -> pd.DataFrame:
    """What the discriminators say of crops of a test volume, as in figure A.1.

    Parameters
    ----------
    model : HDCycleGAN
    eye : Subject
    shape : (int, int)
        Of the crops: that of the training.
    seed : int
        Of where they are cut.
    generated : bool
        Whether to ask about generated images too.

    Returns
    -------
    pd.DataFrame
        A line a crop: ``image`` ("real high", "real low", "generated high", "generated low"), and
        the probability that it is a real one of the domain: ``high``, ``low``; and ``fake``, the
        mean of both discriminators where there are two.
    """
    device = next(model.parameters()).device
    real = {"high": eye.noisy, "low": eye.partner}
    asked = {"real": real}
    if generated:
        made = {"low": denoise(model, eye.noisy), "high": translate(model.to_high, eye.partner)}
        asked["generated"] = made
    lines = []
    for kind, stacks in asked.items():
        for domain, images in stacks.items():
            images = [image for image in images if image.max() > 0]  # a dead generator's is black
            if not images:
                continue
            crops = draw_crops(images, CROPS, shape, np.random.default_rng(seed)).to(device)
            chances = {name: model.probabilities(crops, name) for name in DOMAINS}
            table = pd.DataFrame({name: chances[name]["real"].cpu() for name in DOMAINS})
            table["fake"] = (chances["high"]["fake"].cpu() + chances["low"]["fake"].cpu()) / 2
            lines.append(table.assign(image=f"{kind} {domain}"))
    return pd.concat(lines, ignore_index=True)


def told_apart(judged: pd.DataFrame) -> float:
    """How often a real crop of a domain gets a higher chance to be of it than one of the other.

    The area under the ROC curve, mean over both domains: 1 when all are told apart, 0.5 by chance.
    """
    shares = []
    for domain, other in (DOMAINS, DOMAINS[::-1]):
        own = judged.loc[judged.image == f"real {domain}", domain].to_numpy()[:, None]
        foreign = judged.loc[judged.image == f"real {other}", domain].to_numpy()
        shares.append(np.mean((own > foreign) + 0.5 * (own == foreign)))
    return float(np.mean(shares))


def score_model(
    model: HDCycleGAN, eyes: Sequence[Subject], shape: tuple[int, int], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of a trained model on every test volume, and what its discriminators said.

    Returns
    -------
    (pd.DataFrame, pd.DataFrame)
        ``volume, contrast, metric, value``, with the scores of `score_images`, ``told_apart``, and
        ``score_change``: by how much the mean score of a real image changes when it is judged as
        one of its own domain and not of the other; and the lines of `judgements` with ``volume``.
    """
    lines, said = [], []
    for eye in eyes:
        found = score_images(denoise(model, eye.noisy), eye, 2**model.to_low.depth)
        judged = judgements(model, eye, shape, seed)
        real = judged[judged.image.str.startswith("real")]
        own = np.where(real.image == "real low", real.low, real.high)
        other = np.where(real.image == "real low", real.high, real.low)
        found |= {"told_apart": told_apart(judged), "score_change": float((own - other).mean())}
        lines.append(_lines(eye, found))
        said.append(judged.assign(volume=eye.name))
    return pd.concat(lines, ignore_index=True), pd.concat(said, ignore_index=True)


def score_inputs(eyes: Sequence[Subject], step: int) -> dict[str, float]:
    """The scores of the noisy images themselves, as far as they make sense, means over volumes."""
    table = pd.concat([_lines(eye, score_images(eye.noisy, eye, step)) for eye in eyes])
    return table.groupby("metric")["value"].mean().to_dict()


def _lines(eye: Subject, found: Mapping[str, float]) -> pd.DataFrame:
    pathology = eye.truth.pathology if eye.truth else "unknown"
    table = pd.DataFrame({"metric": list(found), "value": list(found.values())})
    return table.assign(volume=eye.name, contrast=pathology)
