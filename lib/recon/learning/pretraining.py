"""Pre-training of a translator's discriminator, which section 4 of Manakov 2019 suggests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from recon.data.measurement import seed_of
from recon.learning.training import pick_device
from recon.learning.translation import draw_crops
from recon.networks import domain_norm
from recon.networks.cyclegan import DOMAINS, HDCycleGAN
from recon.results.fingerprints import code_sha256

__all__ = ["beside", "calibrated", "classify_domains"]

SEEN = 16  # crops of each domain that a normalisation is calibrated on


def calibrated(
    model: HDCycleGAN,
    high: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    shape: tuple[int, int],
    seed: int = 0,
) -> HDCycleGAN:
    """`recon.networks.domain_norm.with_domain_norm` on crops ``shape`` of both domains."""
    return domain_norm.with_domain_norm(model, _crops(high, low, shape, seed))


def _crops(high, low, shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Crops to calibrate on, ``(2 * SEEN, 1, *shape)``, half of them of each domain."""
    rng = np.random.default_rng(seed_of(seed, "calibration"))
    return torch.cat([draw_crops(images, SEEN, shape, rng) for images in (high, low)])


def classify_domains(
    model: HDCycleGAN,
    high: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    shape: tuple[int, int],
    steps: int,
    batch: int = 8,
    rate: float = 3e-3,
    seed: int = 0,
    device: str = "auto",
) -> list[float]:
    """Train the discriminators of a model to tell real images of the domains apart, in place.

    Separate discriminators learn that images of the other domain are not of theirs. Where they are
    normalised over the domains, the normalisation follows these batches, which hold both; at their
    end it is measured once more and then stays as it is.

    Parameters
    ----------
    model : HDCycleGAN
    high, low : sequence of np.ndarray
        Training images ``(H, W)``.
    shape : (int, int)
        Of the crops.
    steps, batch, rate, seed, device
        Of this training; a batch holds as many crops of each domain.

    Returns
    -------
    list of float
        Accuracy on the batch, each step, the mean over both verdicts where there are two.
    """
    where = pick_device(device)
    model.to(where, memory_format=torch.channels_last).train()
    kinds = {domain: model.judge(domain)[1] for domain in DOMAINS}
    judges = {id(judge): judge for judge in (model.judge(d)[0] for d in DOMAINS)}
    weights = [weight for judge in judges.values() for weight in judge.parameters()]
    optimiser = torch.optim.Adam(weights, lr=rate)
    accuracies = []
    for judge in judges.values():
        domain_norm.follow(judge, True)
    for step in range(steps):
        rng = np.random.default_rng(seed_of(seed, "domains", step))
        crops = torch.cat([draw_crops(images, batch, shape, rng) for images in (high, low)])
        crops = crops.to(where, memory_format=torch.channels_last)
        loss, right = 0.0, []
        for domain in DOMAINS[:1] if model.shared else DOMAINS:
            own = torch.arange(2 * batch, device=where) // batch == DOMAINS.index(domain)
            other = kinds["low"] if model.shared else 0
            target = torch.where(own, kinds[domain], other)
            logits = model.logits(crops, domain)
            loss = loss + cross_entropy(logits, target)
            right.append((logits.argmax(1) == target).float().mean().item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        accuracies.append(float(np.mean(right)))
    seen = _crops(high, low, shape, seed).to(where, memory_format=torch.channels_last)
    for judge in judges.values():
        domain_norm.follow(judge, False)
        domain_norm.measure(judge, seen)
    model.eval()
    return accuracies


def beside(folder: Path, *words: object) -> Path:
    """A folder of checkpoints beside one that does not know of this pre-training.

    Parameters
    ----------
    folder : Path
        As `recon.learning.translation.translation_folder` names it.
    words
        What the start depended on beyond the model and its images.
    """
    code = code_sha256(Path(__file__), Path(domain_norm.__file__))
    digest = hashlib.sha256(repr((*words, code)).encode()).hexdigest()[:8]
    return folder.with_name(f"{folder.name}-{digest}")
