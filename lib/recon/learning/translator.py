"""A translator from its first weights to those that are kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

from recon.data.cache import seal, sealed, set_aside
from recon.learning.adversarial import TranslationSchedule
from recon.learning.checkpoints import newest
from recon.learning.pretraining import beside, calibrated, classify_domains
from recon.learning.training import pick_device
from recon.learning.translation import fit_translation, translation_folder
from recon.networks.cyclegan import HDCycleGAN

__all__ = ["train_translator"]


def train_translator(
    sizes: Mapping[str, object],
    high: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    schedule: TranslationSchedule,
    settings: Mapping[str, object],
    files: Sequence[Path],
    classify: int = 0,
    domain: bool = False,
    check: Callable[[HDCycleGAN], float] | None = None,
    checks: int = 5,
    label: str = "training",
) -> tuple[HDCycleGAN, list[dict], dict[int, float]]:
    """Build a translator and train it, or take it from the cache.

    Parameters
    ----------
    sizes : mapping
        What `recon.networks.cyclegan.HDCycleGAN` takes.
    high, low : sequence of np.ndarray
        Training images ``(H, W)``.
    schedule : TranslationSchedule
    settings : mapping
        Of the chapter: ``data``, ``seed`` and ``device``.
    files : sequence of Path
        The training volumes.
    classify : int
        Steps of `recon.learning.pretraining.classify_domains` before all else.
    domain : bool
        Whether to normalise over the domains instead of over each image; generators with skips then
        start by returning their input.
    check : callable, optional
        ``check(model)``, higher is better, on data that are neither trained nor tested on: the
        weights with the highest value are kept. A GAN does not improve steadily (section 4 of the
        paper), and its public code takes the 132nd checkpoint. Without it the last weights stay.
    checks : int
        How many checkpoints are looked at, evenly over the steps after copying.
    label : str

    Returns
    -------
    (HDCycleGAN, list of dict, dict)
        In evaluation mode, on the device; its history; and the value of each check by its step.
    """
    seed, device = int(settings["seed"]), str(settings["device"])
    torch.manual_seed(seed)
    model = HDCycleGAN(**sizes)
    if domain:
        calibrated(model, high, low, schedule.shape, seed)
    folder = translation_folder(model, settings, schedule, files, seed)
    folder = beside(folder, domain, classify, checks if check else 0)
    count = min(checks, schedule.steps) if check else 1
    stops = [round(schedule.steps * part / count) for part in range(1, count + 1)]
    place, values, best = folder / "best", {}, b""
    content = sealed(place) if check else None
    if content is not None:  # values, and the weights of the best
        line, _, best = content.partition(b"\n")
        values = {int(step): value for step, value in json.loads(line).items()}
    begun = newest(folder)
    if check and any(s not in values and schedule.pretrain + s < begun for s in stops):
        set_aside(folder, "it has gone on from weights that were not looked at")
        begun, values = 0, {}
    if classify and not begun:  # else there are weights that came after it
        classify_domains(model, high, low, schedule.shape, classify, seed=seed, device=device)
    history: list[dict] = []
    for stop in stops:
        plan = replace(schedule, steps=stop)
        history = fit_translation(model, high, low, plan, folder, seed, device, label)
        if check and stop not in values:
            model.to(pick_device(device)).eval()
            values[stop] = check(model)
            if values[stop] >= max(values.values()):
                best = save(
                    {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
                )
            seal(place, json.dumps(values).encode() + b"\n" + best)
    if best:
        model.load_state_dict(load(best))
    return model.to(pick_device(device)).eval(), history, values
