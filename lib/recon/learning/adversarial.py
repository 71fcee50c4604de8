"""What a pair of generators is trained by: the losses, the pool of generated images, the schedule.

Manakov et al. (2019), equations 1 to 4, and the published code for what they leave open.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recon.errors import InputError
from recon.networks.cyclegan import DOMAINS, FAKE, HDCycleGAN

__all__ = ["Pool", "TranslationSchedule", "copying", "losses"]


@dataclass(frozen=True)
class TranslationSchedule:
    """How a translation is learnt; the defaults are the paper's, as far as it or its code says.

    Attributes
    ----------
    steps : int
        The paper: 245 epochs of about 20,700 images a domain; `batch` images of each in a step.
    batch : int
    rate : float
        Of Adam, its other settings being the usual ones; it does not fall.
    crop : int or (int, int)
        Side of the random crops, or height and width, pixels. Instance normalisation takes away how
        bright and how varied a crop is, so crops should resemble whole images: of retinas, by their
        full height. An image that is smaller by less than one step of the
        generator's grid is mirrored at its borders: 512 makes 512 x 512 of 496 x 512.
    pool : int
        Images a domain in the pool from which alone the discriminator sees generated images.
    cycle : float
        Weight of the cycle's loss.
    pretrain : int
        Steps before these in which the generators alone learn to return their input, of either
        domain (mean absolute difference). Section 4 of the paper suggests it for the future; the
        published training has none. Without, many short trainings end in negatives: two generators
        that both invert the grey scale are consistent.
    optimiser : {"joint", "split"}
        "joint" steps everything by the sum of all losses, as equation 1 is written: the
        discriminator too is then trained to call a generated image real. "split" lets the
        generators' loss reach the generators alone, as is usual.
    double_softmax : bool
        Whether probabilities, not scores, go into the cross-entropy, which takes the softmax once
        more: so later versions of the published code. It confines every term of three classes to
        0.551 to 1.551.
    """

    steps: int = 1_268_000
    batch: int = 4
    rate: float = 5e-4
    crop: int | tuple[int, int] = 512
    pool: int = 32
    cycle: float = 10.0
    pretrain: int = 0
    optimiser: str = "joint"
    double_softmax: bool = False

    def __post_init__(self) -> None:
        if self.optimiser not in ("joint", "split"):
            raise InputError(f"optimiser is {self.optimiser!r}; use 'joint' or 'split'")
        if min(self.steps, self.batch, *self.shape, self.pool, self.pretrain + 1) < 1:
            raise InputError(
                "steps, batch, crop and pool have to be at least 1, and pretrain at least 0"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crops."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else tuple(self.crop)


class Pool(nn.Module):
    """Generated images of the past; buffers, so that a checkpoint holds them.

    The published code fills the pool with uniform noise at first; here it starts empty, and only
    what has been generated is drawn.

    Parameters
    ----------
    size : int
        Images that it holds.
    shape : (int, int)
        Their height and width.
    """

    def __init__(self, size: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, 1, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def exchange(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Put images in, in random places once it is full, and draw as many, with replacement.

        ``images`` and the result: ``(batch, 1, height, width)``, the latter without gradients.
        """
        for image in images.detach():
            filled, size = int(self.filled), len(self.images)
            self.images[filled if filled < size else rng.integers(size)] = image
            self.filled.fill_(min(filled + 1, size))
        return self.images[rng.integers(int(self.filled), size=len(images))]


def copying(model: HDCycleGAN, real: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The loss of pretraining: both generators are to return images of both domains.

    Parameters and results as of `losses`; the part is ``copy``.
    """
    images = torch.cat([real[domain] for domain in DOMAINS])
    value = sum(
        (network(images) - images).abs().mean() for network in (model.to_high, model.to_low)
    )
    return value, {"copy": value.item()}


def losses(
    model: HDCycleGAN,
    real: Mapping[str, Tensor],
    pools: Mapping[str, Pool],
    schedule: TranslationSchedule,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Equation 1 for a batch: the sum that one backward pass goes through, and its parts.

    The sum over classes in equations 2 and 3 is a cross-entropy; losses are means over the batch
    and, in equation 4, over pixels, as in the published code. Of two separate discriminators each
    has the same losses with two classes.

    Parameters
    ----------
    model : HDCycleGAN
    real : mapping
        Images ``(batch, 1, height, width)`` of "high" and of "low" noise, unpaired.
    pools : mapping
        A `Pool` for generated images of each domain; what is generated here goes in.
    schedule, rng
        Weights and regime; draws from the pools.

    Returns
    -------
    (Tensor, dict)
        The loss, a scalar; and ``generator``, ``discriminator``, ``cycle`` (equations 2 to 4,
        unweighted) with the mean probabilities that a fresh generated image is taken for a real
        one of its domain (``fake_as_real``) and for generated (``fake_as_fake``), and a real one
        for what it is (``real_as_real``).
    """
    made = {"high": model.to_high(real["low"]), "low": model.to_low(real["high"])}
    back = {"high": model.to_high(made["low"]), "low": model.to_low(made["high"])}
    parts = {"generator": 0.0, "discriminator": 0.0, "cycle": 0.0}
    chances = {"fake_as_real": 0.0, "fake_as_fake": 0.0, "real_as_real": 0.0}

    def entropy(scores: Tensor, kind: int) -> Tensor:
        target = torch.full((len(scores),), kind, device=scores.device)
        return cross_entropy(scores.softmax(1) if schedule.double_softmax else scores, target)

    for domain in DOMAINS:
        kind = model.judge(domain)[1]
        fresh = model.logits(made[domain], domain, frozen=schedule.optimiser == "split")
        parts["generator"] += entropy(fresh, kind)
        drawn = pools[domain].exchange(made[domain], rng)
        old, true = model.logits(torch.cat([drawn, real[domain]]), domain).chunk(2)
        parts["discriminator"] += entropy(old, FAKE) + entropy(true, kind)
        parts["cycle"] += (back[domain] - real[domain]).abs().mean()
        with torch.no_grad():
            chance = fresh.softmax(1).mean(0)
            chances["fake_as_real"] += chance[kind].item() / 2
            chances["fake_as_fake"] += chance[FAKE].item() / 2
            chances["real_as_real"] += true.softmax(1)[:, kind].mean().item() / 2
    total = parts["generator"] + parts["discriminator"] + schedule.cycle * parts["cycle"]
    return total, {name: value.item() for name, value in parts.items()} | chances
