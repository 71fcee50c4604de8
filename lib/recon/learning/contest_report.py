"""What pages show of a contest of networks, whatever data it was held on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from recon.data.fastmri import read_volume, volume_shape
from recon.data.measurement import Sampling
from recon.data.samples import Slices, collate
from recon.learning.contest import Budget
from recon.learning.metrics import CONTRASTS, Method, draw_seed, reconstruct, scan_of
from recon.learning.training import Schedule
from recon.networks.channels import parameter_count
from recon.results.claims import Paper


def shortened(budget: Budget, share: float) -> Budget:
    """The same networks and rates over a share of the epochs."""

    def cut(schedule: Schedule) -> Schedule:
        lengths = ("epochs", "halve_every", "warmup_epochs")
        return replace(schedule, **{name: share * getattr(schedule, name) for name in lengths})

    return replace(budget, bands=cut(budget.bands), whole=cut(budget.whole))


def table_number(parameters: Mapping[str, Any]) -> str:
    """Number of the table of Chen 2022 that a contest under these parameters redoes."""
    if parameters.get("task") == "singlecoil":
        return "I"
    return "V" if "brain" in parameters["data"] else "II"


def network_sizes(
    networks: Mapping[str, nn.Module], histories: Mapping[str, Sequence[Mapping]]
) -> pd.DataFrame:
    """Size and training of each network, as text: one line a network.

    Parameters
    ----------
    networks, histories : mapping
        From `recon.learning.contest.train_alike`.
    """
    lines = {}
    for name, network in networks.items():
        history = histories[name]
        lines[name] = {
            "parameters": f"{parameter_count(network):,}",
            "steps": str(len(history)),
            "rate": f"{max(entry['rate'] for entry in history):g}",
            "training, s": f"{history[-1]['seconds']:.0f}",
            "last loss": f"{np.mean([entry['loss'] for entry in history[-20:]]):.3f}",
        }
    return pd.DataFrame(lines).T


def scan_table(files: Sequence[Path]) -> pd.DataFrame:
    """Contrast, number of slices and number of coils of each file, by its name without suffix."""
    lines = {}
    for path in files:
        volume = read_volume(path, slice(0, 1))
        slices, coils = volume_shape(path)[:2]
        contrast = CONTRASTS.get(volume.contrast, volume.contrast)
        lines[path.stem] = {"contrast": contrast, "slices": slices, "coils": coils}
    return pd.DataFrame.from_dict(lines, orient="index")


def all_pairs(order: Sequence[str], favourite: str) -> list[tuple[str, str]]:
    """The favourite against each other method, then each of these against zero-filled."""
    others = [name for name in order if name != favourite]
    pairs = [(favourite, other) for other in others if favourite in order]
    return pairs + [(name, "zero_filled") for name in others if name != "zero_filled"]


def claimed_pairs(paper: Paper, task: str, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of methods that a paper's claims compare, the one claimed to be better first.

    Parameters
    ----------
    paper : Paper
    task : str
        Of the experiment: ``multicoil`` or ``singlecoil``.
    methods : sequence of str
        Pairs with any other method are left out.
    """
    pairs = [
        (better, part.against)
        for claim in paper.claims
        if claim.rule != "untestable" and claim.experiment.task == task
        for part in claim.parts
        for better in part.methods
    ]
    return list(dict.fromkeys(pair for pair in pairs if {*pair} <= {*methods}))


def middle_slice(
    methods: Mapping[str, Method],
    files: Sequence[Path],
    name: str,
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    maps: bool = False,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The middle slice of a scan as each method reconstructs it, and its target.

    Parameters
    ----------
    methods : mapping
    files : sequence of Path
        Of which one is the scan's.
    name : str
        Of the scan, as in `recon.learning.metrics.evaluate_methods`: ``file1000000#0``.
    plan, virtual_coils, seed, device, maps
        As they were for `evaluate_methods`; the mask is then the same.

    Returns
    -------
    images : dict
        ``(height, width)`` float32 by method.
    target : np.ndarray
    """
    path = next(path for path in files if path.stem == scan_of(name)[0])
    own, known = draw_seed(seed, name), path if maps else None
    images, target, _ = reconstruct(
        dict(methods), read_volume(path), plan, virtual_coils, own, device, maps_of=known
    )
    middle = len(target) // 2
    return {method: image[middle] for method, image in images.items()}, target[middle]


@torch.inference_mode()
def empty_channels(
    methods: Mapping[str, Method],
    files: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    maps: bool = False,
) -> pd.DataFrame:
    """What methods draw into virtual coils that hold nothing.

    An array of fewer coils than ``virtual_coils`` fills the rest with zeros. Data consistency keeps
    the zeros that were measured; the others are the method's own.

    Returns
    -------
    pd.DataFrame
        Share of the output's energy in empty channels: a line for each file with such channels
        (``coils`` of its array in the index, after the file's name), a column for each method. NaN
        for methods that draw one image and no coils.
    """
    few = [path for path in files if volume_shape(path)[1] < virtual_coils]
    lines = {}
    for path in few:
        slices = Slices([path], plan, virtual_coils, seed, maps=maps)
        batch = collate([slices[i] for i in range(len(slices))]).to(torch.device(device))
        empty = (batch.kspace == 0).flatten(-2).all(-1)
        shares = {}
        for name, method in methods.items():
            energy = method(batch).abs().square().sum((-2, -1))
            coils_drawn = energy.shape == empty.shape
            shares[name] = float(energy[empty].sum() / energy.sum()) if coils_drawn else np.nan
        lines[path.stem, volume_shape(path)[1]] = shares
    table = pd.DataFrame(lines).T.reindex(columns=list(methods))
    table.index = pd.MultiIndex.from_tuples(list(lines), names=["scan", "coils"])
    return table
