"""One training loop for every network of the book."""

import hashlib
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from recon.data.measurement import Measurement, seed_of
from recon.data.samples import Batches, Slices, collate
from recon.errors import InputError
from recon.learning.checkpoints import resumed
from recon.learning.optimisers import LookaheadAdam
from recon.paths import cache_dir
from recon.results.fingerprints import code_sha256, file_sha256


@dataclass(frozen=True)
class Schedule:
    """How long, and at which rate, a network learns.

    The paper's (section IV-B): 60 epochs of batches of 8; 1e-5 in the first epoch, then 1e-4,
    halved every 10 epochs. Lengths are in epochs and may be fractions; ``epochs`` times the
    slices over the batch size gives the steps.
    """

    epochs: float = 60
    batch_size: int = 8
    rate: float = 1e-4
    warmup_rate: float = 1e-5
    warmup_epochs: float = 1
    halve_every: float = 10
    clip_norm: float = 1.0

    def rate_at(self, epoch: float) -> float:
        """Learning rate at a (fractional) epoch."""
        if epoch < self.warmup_epochs:
            return self.warmup_rate
        return self.rate * 0.5 ** math.floor(epoch / self.halve_every)


def pick_device(device: str = "auto") -> torch.device:
    """The device by name; ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"device is {device!r}; use auto, cpu or cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device is {device!r}, but torch sees no GPU here; use auto or cpu")
    return chosen


def pick_precision(device: torch.device) -> str:
    """``bf16-mixed`` where the hardware multiplies bfloat16 natively, ``32-true`` elsewhere.

    Of CPUs those with matrix tiles (AMX; 4 to 5 times faster) or AVX512-BF16 (1.8 times) do; on
    others bfloat16 is emulated and 2 to 4 times *slower* than fp32.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        able = torch.cpu.get_capabilities()
        native = able.get("amx_tile", False) or able.get("avx512_bf16", False)
    return "bf16-mixed" if native else "32-true"


# What decides where a network is tested, not what it learns.
EVALUATION_ONLY = {"test_data", "test_root", "data_root", "compressed_sensing", "mask_draws"}


def training_folder(
    network: nn.Module,
    settings: Mapping[str, object],
    schedule: Any,
    files: Sequence[Path],
    loss: nn.Module | Callable | None = None,
    rows: int = 0,
) -> Path:
    """Where the checkpoints of one training lie, in the cache.

    The folder's name is a hash of everything that shapes the result. So a second run goes on from
    an interrupted one, and a changed line of code never meets old weights.

    Parameters
    ----------
    network : nn.Module
        Its structure counts, and the code of its module.
    settings : mapping
        The parameters that bear on training, and ``device``, of which only the precision counts.
    schedule : dataclass
        Length and rates.
    files : sequence of Path
        What it learns from: names and content (`recon.results.fingerprints.file_sha256`).
    loss : nn.Module or function, optional
        Its code and structure.
    rows : int
        Height of the bands that it learns from (`recon.data.samples.Slices`).
    """
    precision = pick_precision(pick_device(str(settings["device"])))
    ignored = {*EVALUATION_ONLY, "device"}
    relevant = {key: value for key, value in sorted(settings.items()) if key not in ignored}
    parts = [str(network), relevant, asdict(schedule), precision, rows]
    parts += [(path.name, file_sha256(path)) for path in files]
    codes = [Path(__file__), Path(inspect.getfile(type(network)))]
    if loss is not None:
        module = isinstance(loss, nn.Module)
        codes.append(Path(inspect.getfile(type(loss) if module else loss)))
        parts.append(str(loss) if module else loss.__qualname__)
    parts.append(code_sha256(*codes))
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return cache_dir() / "training" / f"{type(network).__name__.lower()}-{digest}"


def fit(
    network: nn.Module,
    slices: Slices,
    loss: Callable[[Tensor, Measurement], Tensor],
    schedule: Schedule,
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    label: str = "training",
    save_every: float = 30,
) -> list[dict]:
    """Train a network in place.

    Parameters
    ----------
    network : nn.Module
        Called as ``network(kspace, mask)``, with ``sensitivities`` as a third argument where the
        slices hold them.
    slices : Slices
        Training measurements; every epoch draws new masks.
    loss : callable
        ``loss(coil images, measurement)``, a scalar.
    schedule : Schedule
        Length, batch size and learning rates.
    folder : Path, optional
        Where checkpoints go. A run that was interrupted goes on from there and ends with the
        weights it would have had; a finished one is not repeated.
    seed : int
        Order of the slices, masks, and every other random stream.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
    label : str
        Text of the progress bar.
    save_every : float
        Seconds between checkpoints.

    Returns
    -------
    list of dict
        ``step``, ``epoch``, ``loss``, ``rate``, ``precision`` and ``seconds`` (training time so
        far) of each step.

    Raises
    ------
    InputError
        When there is nothing to train on, the loss or its gradient stops being finite (the last
        good checkpoint stays), or a checkpoint cannot be written.
    """
    chosen = pick_device(device)
    precision = pick_precision(chosen)
    fabric = Fabric(
        accelerator=chosen.type,
        devices=1 if "WORLD_SIZE" not in os.environ else "auto",
        precision=precision,
    )
    fabric.launch()
    torch.manual_seed(seed)
    # Moved before the optimiser is restored, so that its state goes to the same device.
    network.to(fabric.device, memory_format=torch.channels_last)
    optimiser = LookaheadAdam(network.parameters(), lr=schedule.rate)
    batches = Batches(slices, schedule.batch_size, seed)
    per_epoch = len(batches.epoch(0)) // fabric.world_size
    if per_epoch == 0:
        raise InputError(f"{label}: there is no slice to train on; check data and data_root")
    steps = max(1, round(schedule.epochs * per_epoch))
    first = fabric.global_rank == 0
    if not first:
        fabric.barrier()  # until the first process has the folder to itself
    saved = (save_every, first, steps, steps)
    with resumed(network, optimiser, folder, label, *saved) as record:
        if first:
            fabric.barrier()
        done, taken = len(record.history), fabric.world_size
        batches.start, batches.stop = done * taken, steps * taken
        # setup() wraps what it is given: the caller's network keeps its own forward.
        model, wrapped = fabric.setup(network, optimiser)
        workers = 4 if chosen.type == "cuda" else 0
        loader = DataLoader(slices, batch_sampler=batches, collate_fn=collate, num_workers=workers)
        network.train()
        bar = tqdm(total=steps, initial=done, desc=label, disable=not first, mininterval=2)
        with bar:
            for number, measurement in enumerate(loader):
                if number % taken != fabric.global_rank:
                    continue
                step = len(record.history)
                # A seed a step: resuming needs no saved generator.
                torch.manual_seed(seed_of(seed, "step", step, fabric.global_rank))
                rate = schedule.rate_at(step / per_epoch)
                for group in wrapped.param_groups:
                    group["lr"] = rate
                measurement = measurement.to(fabric.device)
                inputs = [measurement.kspace, measurement.mask]
                if measurement.sensitivities is not None:
                    inputs.append(measurement.sensitivities)
                value = loss(model(*inputs), measurement)
                wrapped.zero_grad()
                fabric.backward(value)
                norm = fabric.clip_gradients(
                    model, wrapped, max_norm=schedule.clip_norm, error_if_nonfinite=False
                )
                record.check(value, rate, norm)
                wrapped.step()
                entry = {"step": step + 1, "epoch": (step + 1) / per_epoch, "loss": value.item()}
                record.add({**entry, "rate": rate, "precision": precision})
                bar.update()
    network.eval()
    return record.history
