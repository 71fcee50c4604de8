"""Train the networks of Chen 2022 alike, so that scores compare networks and nothing else.

All see as many pixels a step, and as many steps. Networks that look at a neighbourhood learn from
bands of rows, four a step; the U-Net, which normalises over the image, and KIKI-Net, whose k-space
changes its grid with the band, learn from whole slices, one a step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recon.data.measurement import Measurement, Sampling
from recon.data.samples import Slices
from recon.learning.losses import ReconstructionLoss
from recon.learning.training import Schedule, fit, pick_device, training_folder
from recon.networks.admm_net import ADMMNet
from recon.networks.complexmri import ComplexMRI
from recon.networks.deep_cascade import DeepCascade
from recon.networks.kikinet import KIKINet
from recon.networks.modl import MoDL
from recon.networks.pcrnn import pcrnn_b, pcrnn_s, pcrnn_xs
from recon.networks.unet import UNet
from recon.networks.variational import VariationalNetwork
from recon.networks.vsnet import VSNet

WITH_MAPS = ("vn", "vsnet", "modl", "admm_net")  # draw one image, and know the coils' maps
WHOLE = ("unet", "kikinet")  # learn from whole slices
NETWORKS = ("unet", "vn", "vsnet", "kikinet", "d5c5", "complexmri", "pcrnn")
LARGE = ("pcrnn_b",)  # 23 M parameters: hours on a processor, so only when asked for or on a GPU
OTHERS = ("modl", "admm_net")  # not in Chen 2022: exact data consistency, for coils of any kind
TRAINED_ON = ("profile", "data", "task", "accel", "center_fraction", "mask_type", "coils", "seed")


@dataclass(frozen=True)
class Budget:
    """Width and rate of each network, which PC-RNN, and the two ways to learn."""

    widths: Mapping[str, int]
    rates: Mapping[str, float]
    pcrnn: str
    bands: Schedule
    rows: int
    whole: Schedule


RATES = {"unet": 4e-3, "vn": 1.6e-2, "vsnet": 4e-3, "kikinet": 1e-3, "d5c5": 4e-3}
RATES |= {"complexmri": 4e-3, "pcrnn": 1e-3, "pcrnn_b": 1e-3, "modl": 2e-3, "admm_net": 2e-3}
SMALL = {"unet": 16, "vn": 16, "vsnet": 48, "kikinet": 16, "d5c5": 48, "complexmri": 16}
SMALL |= {"modl": 32, "admm_net": 32}
OURS = {"unet": 16, "vn": 48, "vsnet": 112, "kikinet": 48, "d5c5": 96, "complexmri": 48}
OURS |= {"modl": 64, "admm_net": 64}
THEIRS = {"unet": 12, "vn": 480, "vsnet": 108, "kikinet": 48, "d5c5": 96, "complexmri": 50}
THEIRS |= {"modl": 64, "admm_net": 64}
BANDS = {"batch_size": 4, "warmup_epochs": 0.2, "warmup_rate": 2e-4}
SLICES = {"batch_size": 1, "warmup_epochs": 0.05, "warmup_rate": 2e-4}
BUDGETS = {
    "quick": Budget(
        SMALL,
        RATES,
        "xs",
        Schedule(epochs=2.5, halve_every=1, **BANDS),
        32,
        Schedule(epochs=0.625, halve_every=0.25, **SLICES),
    ),
    "standard": Budget(
        OURS,
        RATES,
        "s",
        Schedule(epochs=0.75, halve_every=0.3, **BANDS),
        40,
        Schedule(epochs=0.1875, halve_every=0.075, **SLICES),
    ),
    "paper": Budget(
        THEIRS, dict.fromkeys((*NETWORKS, *LARGE, *OTHERS), 1e-4), "s", Schedule(), 0, Schedule()
    ),
}


def entrants(methods: str, profile: str) -> list[str]:
    """Networks that take part: those named, or all that the profile has the time for.

    Parameters
    ----------
    methods : str
        ``all``, or names of `NETWORKS` and `LARGE` joined by commas.
    profile : str
        ``paper`` has time for `LARGE` too.
    """
    if methods == "all":
        return [*NETWORKS, *(LARGE if profile == "paper" else ())]
    return [name for name in (*NETWORKS, *LARGE) if name in methods.split(",")]


def build(name: str, channels: int, budget: Budget) -> nn.Module:
    """A network of `NETWORKS`, `LARGE` or `OTHERS`, freshly made, at the budget's width.

    Parameters
    ----------
    name : str
    channels : int
        Coils, or virtual coils, of the data.
    budget : Budget
    """
    if name == "pcrnn":
        return {"xs": pcrnn_xs, "s": pcrnn_s}[budget.pcrnn](channels)
    if name == "pcrnn_b":
        return pcrnn_b(channels)
    width = budget.widths[name]
    made: dict[str, Callable[[], nn.Module]] = {
        "unet": lambda: UNet(channels, chans=width),
        "vn": lambda: VariationalNetwork(width),
        "vsnet": lambda: VSNet(width),
        "kikinet": lambda: KIKINet(channels, width),
        "d5c5": lambda: DeepCascade(channels, width),
        "complexmri": lambda: ComplexMRI(channels, width),
        "modl": lambda: MoDL(width, turns=5, gradients=6),
        "admm_net": lambda: ADMMNet(width),
    }
    return made[name]()


def train_alike(
    names: Sequence[str],
    files: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    budget: Budget,
    settings: Mapping[str, Any],
) -> tuple[dict[str, nn.Module], dict[str, list[dict]]]:
    """Train each network, or take it from the cache where an earlier run has trained it.

    Parameters
    ----------
    names : sequence of str
        Of `NETWORKS`, `LARGE` and `OTHERS`.
    files : sequence of Path
        fastMRI-format training files.
    plan : Sampling
    virtual_coils : int
        Coils after compression; 0 keeps them as they are.
    budget : Budget
    settings : mapping
        The chapter's parameters. Chapters that agree on those of `TRAINED_ON` share networks.

    Returns
    -------
    networks : dict
        In evaluation mode; PC-RNN under the name of its version, ``pcrnn_xs`` or ``pcrnn_s``.
    histories : dict
        What `recon.learning.training.fit` returns for each.
    """
    known = {key: settings[key] for key in (*TRAINED_ON, "device")}
    seed, device = known["seed"], known["device"]
    channels = Slices(files, plan, virtual_coils, seed).channels()
    networks, histories = {}, {}
    for name in names:
        torch.manual_seed(seed)
        network = build(name, channels, budget)
        rows, schedule = (0, budget.whole) if name in WHOLE else (budget.rows, budget.bands)
        schedule = replace(schedule, rate=budget.rates[name])
        slices = Slices(files, plan, virtual_coils, seed, rows, maps=name in WITH_MAPS)
        label = f"pcrnn_{budget.pcrnn}" if name == "pcrnn" else name
        loss = ReconstructionLoss()
        folder = training_folder(network, known, schedule, files, loss, rows)
        histories[label] = fit(network, slices, loss, schedule, folder, seed, device, label)
        networks[label] = network.to(pick_device(device)).eval()
    return networks, histories


def reconstruct_with(network: nn.Module, batch: Measurement) -> Tensor:
    """Apply a network to a batch, with the coils' maps if it takes them."""
    takes_maps = isinstance(network, (VariationalNetwork, VSNet, MoDL, ADMMNet))
    return network(batch.kspace, batch.mask, *([batch.sensitivities] if takes_maps else []))
