"""Where trainings are kept, and how one goes on after an interruption.

The three training loops of the book (`recon.learning.training`, `patches`, `translation`) share
the frame below: one process trains a network while others wait for it, a history with the seconds
that were spent, a stop before a step that would spoil the weights, a checkpoint now and then, and
one at the end or at Ctrl-C.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from recon.errors import InputError

__all__ = ["Record", "load_checkpoint", "resumed", "save_checkpoint"]


def save_checkpoint(
    folder: Path, network: nn.Module, optimiser: Optimizer, history: list[dict]
) -> None:
    """Write weights, optimiser state and history as one folder that appears whole or not at all.

    Raises
    ------
    InputError
        When it cannot be written; the checkpoint before it stays.
    """
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
    # A full disk is an OSError only where Python itself writes: safetensors and torch have others.
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(
            f"{folder}: the checkpoint could not be written "
            f"({getattr(error, 'strerror', None) or error}); free some space or set RECON_CACHE to "
            "another disk, then run again: training goes on from the last one"
        ) from error
    for old in folder.glob("step-*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, network: nn.Module, optimiser: Optimizer) -> list[dict]:
    """Restore the newest whole checkpoint; its history, empty if there is none.

    It may come from another device: tensors go to where the network's weights are.
    """
    found = sorted(p for p in folder.glob("step-*") if not p.name.endswith(".tmp"))
    if not found:
        return []
    network.load_state_dict(load_file(found[-1] / "weights.safetensors"))
    stored = torch.load(found[-1] / "optimiser.pt", map_location="cpu", weights_only=True)
    optimiser.load_state_dict(stored)
    return json.loads((found[-1] / "history.json").read_text())


@dataclass
class Record:
    """A training under way.

    Attributes
    ----------
    network : nn.Module
        All whose state a checkpoint holds.
    optimiser : Optimizer
    folder : Path or None
        Where checkpoints go; None keeps none.
    save_every : float
        Seconds between checkpoints.
    history : list of dict
        One entry a step.
    label : str
        The network's name in messages.
    """

    network: nn.Module
    optimiser: Optimizer
    folder: Path | None
    save_every: float
    history: list[dict]
    label: str

    def __post_init__(self) -> None:
        spent = self.history[-1]["seconds"] if self.history else 0
        self._start, self._saved = time.monotonic() - spent, time.monotonic()
        self._kept = len(self.history)  # steps that the newest checkpoint holds

    def check(self, loss: Tensor, rate: float, norm: Tensor | None = None) -> None:
        """To be asked before the optimiser's step, so that weights that are finite stay so.

        Parameters
        ----------
        loss : Tensor
            Of this step; its gradients are there already.
        rate : float
            Learning rate, for the message.
        norm : Tensor, optional
            Of the gradient, where it is known; else of the network's gradients.

        Raises
        ------
        InputError
            When the loss or the norm is not finite.
        """
        if norm is None:
            slopes = [w.grad for w in self.network.parameters() if w.grad is not None]
            norm = torch.nn.utils.get_total_norm(slopes)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise InputError(
                f"{self.label}: the training diverged at step {len(self.history)}: the loss is "
                f"{loss.item()}, the norm of its gradient {norm.item()}; lower the learning rate "
                f"({rate:g}) or check the data; the last good checkpoint is kept"
            )

    def add(self, entry: dict) -> None:
        """Append a step, with the ``seconds`` spent so far; keep a checkpoint if it is time."""
        self.history.append({**entry, "seconds": time.monotonic() - self._start})
        if time.monotonic() - self._saved > self.save_every:
            self.save()

    def save(self) -> None:
        """Keep a checkpoint, unless the newest one holds this step already."""
        if self.folder and len(self.history) > self._kept:
            save_checkpoint(self.folder, self.network, self.optimiser, self.history)
            self._saved, self._kept = time.monotonic(), len(self.history)


@contextmanager
def resumed(
    network: nn.Module,
    optimiser: Optimizer,
    folder: Path | None,
    label: str,
    save_every: float,
    writes: bool = True,
) -> Iterator[Record]:
    """A training that goes on from its newest checkpoint, with the folder to itself.

    Another process that trains the same network waits until this one ends, and finds it trained.
    On leaving, and at Ctrl-C, a checkpoint is kept; after any other error the last one stays.

    Parameters
    ----------
    network, optimiser
        Restored in place; the weights already where they shall be trained.
    folder : Path or None
    label : str
        The network's name in messages.
    save_every : float
        Seconds between checkpoints.
    writes : bool
        Whether this process is the one of its group that locks and writes.
    """
    with _alone(folder if writes else None, label):
        history = load_checkpoint(folder, network, optimiser) if folder else []
        kept = folder if writes else None
        record = Record(network, optimiser, kept, save_every, history, label)
        try:
            yield record
        except KeyboardInterrupt:
            record.save()
            raise
        record.save()


@contextmanager
def _alone(folder: Path | None, label: str) -> Iterator[None]:
    """Hold the lock of a folder; the system releases that of a process that dies."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"{label}: another process is training this network; waiting for it")
            lock.acquire()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or set "
            "RECON_CACHE to another disk"
        ) from error
    try:
        yield
    finally:
        lock.release()
