"""Can a discriminator tell two levels of noise apart, if that is all it is asked to do?"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from recon.data.measurement import seed_of
from recon.learning.training import pick_device
from recon.learning.translation import draw_crops
from recon.networks.cyclegan import DOMAINS, HDCycleGAN

__all__ = ["learn_domains"]


def learn_domains(
    model: HDCycleGAN,
    images: Mapping[str, Sequence[np.ndarray]],
    shape: tuple[int, int],
    steps: int,
    seed: int = 0,
    batch: int = 8,
    rate: float = 3e-3,
    device: str = "auto",
    label: str = "telling apart",
) -> list[float]:
    """Train the shared discriminator of a model on real images alone, in place.

    Nobody tries to fool it, and no generated image is shown to it.

    Parameters
    ----------
    model : HDCycleGAN
        With a shared discriminator; the generators stay as they are.
    images : mapping
        "high" and "low" to training images ``(H, W)``.
    shape : (int, int)
        Of the crops.
    steps, seed, batch, rate, device, label
        Of this training by Adam; ``batch`` crops of either domain in a step.

    Returns
    -------
    list of float
        The share of each step's crops that were taken for what they are.
    """
    where = pick_device(device)
    model.to(where, memory_format=torch.channels_last).train()
    judge = model.discriminator
    optimiser = torch.optim.Adam(judge.parameters(), lr=rate)
    kinds = [model.judge(domain)[1] for domain in DOMAINS]
    target = torch.tensor(kinds, device=where).repeat_interleave(batch)
    right = []
    for step in tqdm(range(steps), label, mininterval=2):
        rng = np.random.default_rng(seed_of(seed, "domains", step))
        crops = torch.cat([draw_crops(images[domain], batch, shape, rng) for domain in DOMAINS])
        scores = judge(crops.to(where, memory_format=torch.channels_last))
        value = cross_entropy(scores, target)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        right.append((scores.argmax(1) == target).float().mean().item())
    model.eval()
    return right
