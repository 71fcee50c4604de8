"""Can the domains be told apart by their noise, by a discriminator or by one number?"""

from collections.abc import Mapping

import numpy as np
import torch

from recon.learning.pretraining import calibrated, classify_domains
from recon.networks.cyclegan import DOMAINS, HDCycleGAN

__all__ = ["classification", "grain"]


def grain(image: np.ndarray) -> float:
    """How grainy a B-scan ``(H, W)`` is: one number that grows with its speckle.

    The median, over the pixels above the mean, of the absolute difference to the mean of the four
    neighbours, over grey value.
    """
    middle = image[1:-1, 1:-1]
    around = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]
    bright = middle > middle.mean()
    return float(np.median(np.abs(middle - around / 4)[bright] / middle[bright]))


@torch.no_grad()
def _accuracy(model: HDCycleGAN, images: tuple[list, list]) -> float:
    """Share of images that a shared discriminator gives to their own domain, mean of both."""
    model.eval()
    device = next(model.parameters()).device
    shares = []
    for place, domain in enumerate(images):
        own, other = (model.judge(d)[1] for d in (DOMAINS[place], DOMAINS[1 - place]))
        hits = []
        for image in domain:
            scores = model.logits(torch.from_numpy(image)[None, None].to(device), "high")[0]
            hits.append(float(scores[own] > scores[other]))
        shares.append(np.mean(hits))
    return float(np.mean(shares))


def _parts(images: list[np.ndarray], shape: tuple[int, int]) -> list[np.ndarray]:
    """The corner of each image that is as large as the crops of the training, over its maximum."""
    return [image[: shape[0], : shape[1]] / image.max() for image in images]


def classification(
    sizes: Mapping[str, object],
    images: tuple[list, list],
    unseen: tuple[list, list],
    shape: tuple[int, int],
    steps: int,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, float]:
    """How well real images of the domains can be told apart, on images that were not trained on.

    All see the same: of every image a part of the size of the crops.

    Parameters
    ----------
    sizes : mapping
        Of a model with a shared discriminator.
    images, unseen : (list, list)
        Of high and of low noise, ``(H, W)``: to learn from, to score on.
    shape : (int, int)
        Of the crops.
    steps, seed, device
        Of both trainings.

    Returns
    -------
    dict
        Accuracy of one threshold on `grain`, of a discriminator with instance normalisation, and
        with domain normalisation, trained alike.
    """
    values = [np.array([grain(part) for part in _parts(domain, shape)]) for domain in images]
    cuts = np.unique(np.concatenate(values))
    right = [np.mean([(values[0] > c).mean(), (values[1] <= c).mean()]) for c in cuts]
    cut = cuts[int(np.argmax(right))]
    unseen = tuple(_parts(domain, shape) for domain in unseen)
    seen = [[grain(part) > cut for part in domain] for domain in unseen]
    found = {"one threshold": float((np.mean(seen[0]) + 1 - np.mean(seen[1])) / 2)}
    for name, domain in (("instance normalisation", False), ("domain normalisation", True)):
        torch.manual_seed(seed)
        model = HDCycleGAN(**sizes)
        if domain:
            calibrated(model, *images, shape, seed)
        classify_domains(model, *images, shape, steps, seed=seed, device=device)
        found[f"discriminator, {name}"] = _accuracy(model, unseen)
    return found
