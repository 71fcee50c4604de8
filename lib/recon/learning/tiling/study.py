"""A small denoiser to tile, and how far it looks once it has learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from recon.phantoms import brain

__all__ = ["Steps", "fit_denoiser", "gradient_map", "half_width", "noisy_slices"]


@dataclass(frozen=True)
class Steps:
    """How a denoiser learns: AdamW on squared error, the rate falling to zero along a cosine."""

    steps: int
    batch: int = 8
    patch: int = 64
    rate: float = 2e-3


def noisy_slices(
    people: Sequence[int], size: int, contrast: str, noise: float
) -> tuple[Tensor, Tensor]:
    """Middle slices of simulated heads, noisy and clean, each ``(people, 1, size, size)``."""
    drawn = np.stack([brain.render((3, size, size), contrast, one)[1] for one in people])
    clean = torch.from_numpy(drawn.astype(np.float32))[:, None]
    spread = torch.Generator().manual_seed(min(people))
    return clean + noise * torch.randn(clean.shape, generator=spread), clean


def fit_denoiser(
    network: nn.Module,
    clean: Tensor,
    noise: float,
    schedule: Steps,
    seed: int,
    label: str,
    around: int = 0,
) -> list[float]:
    """Train in place on patches with fresh noise; the loss of every step.

    Every network draws patches of the same size, ``schedule.patch``; one of valid convolutions is
    given what it takes away besides.

    Parameters
    ----------
    network : nn.Module
        With a ``margin``: by how many pixels a side its output is smaller than its input.
    clean : (slices, 1, height, width) Tensor
    noise : float
        Standard deviation of the white noise.
    around : int
        Pixels that are drawn on each side of a patch. With the largest margin among several
        networks they all learn from the same patches under the same noise.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.rate)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.steps)
    place = next(network.parameters()).device
    losses = []
    for _ in tqdm(range(schedule.steps), label, mininterval=2):
        target = torch.cat(
            [_patch(clean, schedule.patch + 2 * around, generator) for _ in range(schedule.batch)]
        )
        given = target + noise * torch.randn(target.shape, generator=generator)
        output = network(F.pad(given, (network.margin - around,) * 4).to(place))
        loss = F.mse_loss(output, F.pad(target, (-around,) * 4).to(place))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        losses.append(loss.item())
    return losses


def _patch(clean: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A random patch ``(1, 1, size, size)``, turned and mirrored at random."""
    high = (len(clean), clean.shape[2] - size + 1, clean.shape[3] - size + 1, 4, 2)
    one, top, left, turn, mirror = (int(torch.randint(h, (1,), generator=generator)) for h in high)
    patch = clean[one : one + 1, :, top : top + size, left : left + size].rot90(turn, (2, 3))
    return patch.flip(3) if mirror else patch


def gradient_map(network: nn.Module, images: Tensor, size: int) -> np.ndarray:
    """Mean magnitude of the gradient of a middle output pixel with respect to the input.

    Luo et al. (2016) call its extent the effective receptive field.

    Parameters
    ----------
    network : nn.Module
    images : (count, 1, height, width) Tensor
        Their middle ``size`` x ``size`` pixels are used.
    size : int
        Odd; at least the receptive field.

    Returns
    -------
    (size, size) ndarray
    """
    top, left = ((n - size) // 2 for n in images.shape[-2:])
    place = next(network.parameters()).device
    given = images[..., top : top + size, left : left + size].to(place, copy=True)
    given.requires_grad_()
    output = network(given)
    output[..., output.shape[-2] // 2, output.shape[-1] // 2].sum().backward()
    return given.grad.abs().mean(dim=(0, 1)).cpu().numpy()


def half_width(magnitude: np.ndarray, share: float = 0.95) -> int:
    """Least ``r`` such that the middle ``2 r + 1`` pixels hold a share of the whole."""
    middle, total = magnitude.shape[0] // 2, magnitude.sum()
    for r in range(middle):
        box = slice(middle - r, middle + r + 1)
        if magnitude[box, box].sum() >= share * total:
            return r
    return middle
