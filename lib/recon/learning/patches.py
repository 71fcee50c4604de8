"""Training on patches of one volume, with AdamW as Remedios et al. (2022) have it.

`recon.learning.training.fit` is for k-space, whose samples, masks and physics have no place here;
checkpoints and the names of their folders are the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from recon.data.measurement import seed_of
from recon.data.self_super_resolution import PatchPairs
from recon.learning.checkpoints import resumed
from recon.learning.edges import L1Sobel
from recon.learning.training import pick_device, training_folder
from recon.results.fingerprints import code_sha256

__all__ = ["PatchSchedule", "fit_patches", "patch_folder", "start_from_input"]


@dataclass(frozen=True)
class PatchSchedule:
    """How long, and at which rate, a network learns from patches.

    The paper's (section 3.3): 320,000 patches in batches of 32, that is 10,000 steps, at a rate of
    1e-4; 640 patches to validate. A short training takes larger steps, which shrink to nothing.

    Attributes
    ----------
    steps, batch : int
    rate : float
        Of AdamW.
    size : int
        Side of the patches that a network draws, pixels.
    decay : bool
        Whether the rate falls along half a cosine to zero; else it stays.
    validation : int
        Patches to validate on, ten times in a training.
    """

    steps: int = 10_000
    batch: int = 32
    rate: float = 1e-4
    size: int = 32
    decay: bool = False
    validation: int = 640

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, the first being 0."""
        return self.rate * (0.5 + 0.5 * math.cos(math.pi * step / self.steps) if self.decay else 1)


def start_from_input(network: nn.Module) -> nn.Module:
    """Set the last convolution to zero: a network that adds its input then starts by passing it on.

    Returns the network.
    """
    nn.init.zeros_(network.tail.weight)
    nn.init.zeros_(network.tail.bias)
    return network


def patch_folder(
    network: nn.Module,
    settings: Mapping[str, object],
    schedule: PatchSchedule,
    factor: int,
    path: Path,
) -> Path:
    """Where the checkpoints of one training lie; changed code never meets old weights.

    Parameters
    ----------
    network : nn.Module
    settings : mapping
        Of the chapter: ``data``, ``seed`` and ``device`` are taken, for no other bears on training.
    schedule : PatchSchedule
    factor : int
    path : Path
        The volume that the network learns from.
    """
    relevant = {name: settings[name] for name in ("data", "seed", "device")}
    relevant |= {"factor": factor, "code": code_sha256(Path(__file__))}
    return training_folder(network, relevant, schedule, [path])


def fit_patches(
    network: nn.Module,
    pairs: PatchPairs,
    schedule: PatchSchedule,
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    label: str = "training",
) -> list[dict]:
    """Train a network in place.

    Parameters
    ----------
    network : nn.Module
        With an attribute ``margin``: by how many pixels on each side its output is smaller.
    pairs : PatchPairs
    schedule : PatchSchedule
    folder : Path, optional
        Where the checkpoint goes; a training that is there already is not repeated, an interrupted
        one goes on to the weights that it would have had.
    seed : int
        Of every random stream: networks that are given the same meet the same patches.
    device, label : str

    Returns
    -------
    list of dict
        ``step``, ``loss``, ``rate``, ``seconds`` (training time so far) of each step, and
        ``validation`` of ten of them.

    Raises
    ------
    InputError
        When the loss or its gradient stops being finite; the last checkpoint stays.
    """
    chosen = pick_device(device)
    network.to(chosen, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.rate)
    loss = L1Sobel()

    def batch(count: int, stream: str, step: int, part: str):
        rng = np.random.default_rng(seed_of(seed, stream, step))
        drawn = pairs.draw(count, schedule.size, network.margin, rng, part)
        return (tensor.to(chosen, memory_format=torch.channels_last) for tensor in drawn)

    length = {"steps": schedule.steps, "most": schedule.steps}
    with resumed(network, optimiser, folder, label, save_every=60, **length) as record:
        for step in tqdm(range(len(record.history), schedule.steps), label, mininterval=2):
            # A generator a step: going on needs none that was saved.
            coarse, fine = batch(schedule.batch, "step", step, "train")
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate_at(step)
            value = loss(network(coarse), fine)
            optimiser.zero_grad()
            value.backward()
            record.check(value, schedule.rate)
            optimiser.step()
            entry = {"step": step + 1, "loss": value.item(), "rate": schedule.rate_at(step)}
            if (step + 1) % max(1, schedule.steps // 10) == 0:
                coarse, fine = batch(schedule.validation, "validation", 0, "validation")
                with torch.no_grad():
                    entry["validation"] = loss(network(coarse), fine).item()
            record.add(entry)
    network.eval()
    return record.history
