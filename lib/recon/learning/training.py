"""One training loop for every network of the book."""

import hashlib
import inspect
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from recon.data.measurement import Measurement, seed_of
from recon.data.samples import Batches, Slices, collate
from recon.errors import InputError
from recon.learning.optimisers import LookaheadAdam
from recon.paths import cache_dir
from recon.results.staleness import code_sha256


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

    On a CPU without matrix tiles (AMX) bfloat16 is emulated and 2 to 4 times *slower* than fp32.
    """
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"


def training_folder(
    network: nn.Module,
    settings: Mapping[str, object],
    schedule: Schedule,
    files: Sequence[Path],
) -> Path:
    """Where the checkpoints of one training lie, in the cache.

    The folder's name is a hash of everything that shapes the result: the parameters that bear on
    training, the schedule, the files (names and sizes) and this library's code. So a second run
    goes on from an interrupted one, and a changed line of code never meets old weights.
    """
    evaluation_only = {"test_data", "test_root", "data_root", "compressed_sensing", "mask_draws"}
    relevant = {k: v for k, v in sorted(settings.items()) if k not in {*evaluation_only, "device"}}
    name = type(network).__name__.lower()
    parts = [
        str(network),
        relevant,
        asdict(schedule),
        pick_precision(pick_device(str(settings["device"]))),
    ]
    parts += [(path.name, path.stat().st_size) for path in files]
    parts.append(code_sha256(Path(__file__), Path(inspect.getfile(type(network)))))
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return cache_dir() / "training" / f"{name}-{digest}"


def save_checkpoint(folder: Path, network: nn.Module, optimiser, history: list[dict]) -> None:
    """Write weights, optimiser state and history as one folder that appears whole or not at all."""
    step = history[-1]["step"] if history else 0
    final = folder / f"step-{step:07d}"
    temporary = folder / f"{final.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        weights = {k: v.contiguous() for k, v in network.state_dict().items()}
        save_file(weights, temporary / "weights.safetensors")
        torch.save(optimiser.state_dict(), temporary / "optimiser.pt")
        (temporary / "history.json").write_text(json.dumps(history))
        if final.exists():
            shutil.rmtree(final)
        temporary.replace(final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(
            f"{folder}: the checkpoint could not be written ({error.strerror or error}); free some "
            "space or set RECON_CACHE to another disk, then run again: training goes on from the "
            "last one"
        ) from error
    for old in folder.glob("step-*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, network: nn.Module, optimiser) -> list[dict]:
    """Restore the newest whole checkpoint; its history, empty if there is none."""
    found = sorted(p for p in folder.glob("step-*") if not p.name.endswith(".tmp"))
    if not found:
        return []
    network.load_state_dict(load_file(found[-1] / "weights.safetensors"))
    optimiser.load_state_dict(torch.load(found[-1] / "optimiser.pt", weights_only=True))
    return json.loads((found[-1] / "history.json").read_text())


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
        ``step``, ``epoch``, ``loss``, ``rate`` and ``seconds`` (training time so far) of each step.

    Raises
    ------
    InputError
        When there is nothing to train on, the loss stops being finite (the last good checkpoint
        stays), or a checkpoint cannot be written.
    """
    chosen = pick_device(device)
    fabric = Fabric(
        accelerator=chosen.type,
        devices=1 if "WORLD_SIZE" not in os.environ else "auto",
        precision=pick_precision(chosen),
    )
    fabric.launch()
    torch.manual_seed(seed)
    network.to(memory_format=torch.channels_last)
    optimiser = LookaheadAdam(network.parameters(), lr=schedule.rate)
    history = load_checkpoint(folder, network, optimiser) if folder else []
    batches = Batches(slices, schedule.batch_size, seed)
    per_epoch = len(batches.epoch(0)) // fabric.world_size
    if per_epoch == 0:
        raise InputError(f"{label}: there is no slice to train on; check data and data_root")
    steps = max(1, round(schedule.epochs * per_epoch))
    batches.start, batches.stop = len(history) * fabric.world_size, steps * fabric.world_size
    # setup() wraps what it is given: the caller's network keeps its own forward.
    model, optimiser = fabric.setup(network, optimiser)
    workers = 4 if chosen.type == "cuda" else 0
    loader = DataLoader(slices, batch_sampler=batches, collate_fn=collate, num_workers=workers)
    network.train()
    start = time.monotonic() - (history[-1]["seconds"] if history else 0)
    saved = time.monotonic()
    bar = tqdm(
        total=steps, initial=len(history), desc=label, disable=fabric.global_rank > 0, mininterval=2
    )

    def checkpoint() -> None:
        if folder and fabric.global_rank == 0:
            save_checkpoint(folder, network, optimiser.optimizer, history)

    try:
        for number, measurement in enumerate(loader):
            if number % fabric.world_size != fabric.global_rank:
                continue
            step = len(history)
            # A seed a step: resuming needs no saved generator.
            torch.manual_seed(seed_of(seed, "step", step, fabric.global_rank))
            rate = schedule.rate_at(step / per_epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            measurement = measurement.to(fabric.device)
            inputs = [measurement.kspace, measurement.mask]
            if measurement.sensitivities is not None:
                inputs.append(measurement.sensitivities)
            value = loss(model(*inputs), measurement)
            if not torch.isfinite(value):
                raise InputError(
                    f"{label}: the loss is {value.item()} at step {step}; lower the learning rate "
                    f"({rate:g}) or check the data; the last good checkpoint is kept"
                )
            optimiser.zero_grad()
            fabric.backward(value)
            fabric.clip_gradients(model, optimiser, max_norm=schedule.clip_norm)
            optimiser.step()
            history.append(
                {
                    "step": step + 1,
                    "epoch": (step + 1) / per_epoch,
                    "loss": value.item(),
                    "rate": rate,
                    "seconds": time.monotonic() - start,
                }
            )
            bar.update()
            if time.monotonic() - saved > save_every:
                checkpoint()
                saved = time.monotonic()
    except KeyboardInterrupt:
        checkpoint()
        raise
    finally:
        bar.close()
    checkpoint()
    network.eval()
    return history
