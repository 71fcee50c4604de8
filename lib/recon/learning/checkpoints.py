"""Where trainings are kept, and how one goes on after an interruption.

The three training loops of the book (`recon.learning.training`, `patches`, `translation`) share
the frame below: one process trains a network while others wait for it, a history with the seconds
that were spent, a stop before a step that would spoil the weights, a checkpoint now and then, and
one at the end or at Ctrl-C.
"""

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import inf
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from recon.data.cache import Damaged, alone, read_folder, set_aside, write_folder
from recon.errors import InputError
from recon.learning.threads import free_threads

__all__ = ["Record", "load_checkpoint", "newest", "resumed", "save_checkpoint"]

FILES = ("weights.safetensors", "optimiser.pt", "history.json")
# What comes of decoding a file that is something else.
DECODING = (AttributeError, KeyError, RuntimeError, SafetensorError, TypeError, UnpicklingError)
DECODING += (EOFError, ValueError)

T = TypeVar("T")


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
    state = io.BytesIO()
    torch.save(optimiser.state_dict(), state)
    weights = save({k: v.contiguous() for k, v in network.state_dict().items()})
    files = dict(zip(FILES, (weights, state.getvalue(), json.dumps(history).encode()), strict=True))
    try:
        write_folder(final, files)
    except OSError as error:
        raise InputError(
            f"{folder}: the checkpoint could not be written ({error.strerror or error}); free some "
            "space or set RECON_CACHE to another disk, then run again: training goes on from the "
            "last one"
        ) from error
    for old in _found(folder):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path, network: nn.Module, optimiser: Optimizer, most: float = inf
) -> list[dict]:
    """Restore the newest sound checkpoint; its history, empty if there is none.

    It may come from another device: tensors go to where the network's weights are. A damaged one,
    or one of more than ``most`` steps, is set aside.

    Raises
    ------
    InputError
        When it cannot be read, or set aside.
    """
    return _sound(folder, lambda path: _restore(path, network, optimiser, most)) or []


def newest(folder: Path) -> int:
    """Steps of the newest checkpoint whose files are what was written; others are set aside."""
    return _sound(folder, lambda path: read_folder(path, FILES) and _step(path)) or 0


def _sound(folder: Path, read: Callable[[Path], T]) -> T | None:
    """What is read of the newest checkpoint of which that can be done."""
    for path in reversed(_found(folder)):
        try:
            return read(path)
        except Damaged as why:
            set_aside(path, str(why))
    return None


def _found(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the newest last."""
    try:
        return sorted(p for p in folder.glob("step-*") if p.name[5:].isdigit())
    except PermissionError:
        raise InputError(f"{folder} is not readable: change its permissions.") from None


def _step(path: Path) -> int:
    return int(path.name[5:])


def _restore(path: Path, network: nn.Module, optimiser: Optimizer, most: float) -> list[dict]:
    """Load a checkpoint after it was checked, so that a damaged one changes nothing."""
    files = read_folder(path, FILES)
    try:
        weights, history = load(files[FILES[0]]), json.loads(files[FILES[2]])
        state = torch.load(io.BytesIO(files[FILES[1]]), map_location="cpu", weights_only=True)
        numbers = [tensor for entry in state["state"].values() for tensor in entry.values()]
        count = len(history)
    except DECODING as error:
        raise Damaged(" ".join(str(error).split())) from None
    own = network.state_dict()
    kinds = [{k: (v.shape, v.dtype) for k, v in named.items()} for named in (own, weights)]
    if kinds[0] != kinds[1]:
        raise Damaged("the weights are those of another network")
    if not all(torch.isfinite(torch.as_tensor(v)).all() for v in (*weights.values(), *numbers)):
        raise Damaged("the weights or the optimiser's state are not finite")
    if not count == _step(path) <= most:
        raise Damaged(
            f"the history has {count} steps, the training {min(most, int(path.name[5:])):g}"
        )
    before = deepcopy(optimiser.state_dict())
    try:
        optimiser.load_state_dict(state)
    except DECODING as error:
        optimiser.load_state_dict(before)
        raise Damaged(" ".join(str(error).split())) from None
    network.load_state_dict(weights)
    return history


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
    look : callable, optional
        Called at every step: chooses the threads anew (`recon.learning.threads`).
    """

    network: nn.Module
    optimiser: Optimizer
    folder: Path | None
    save_every: float
    history: list[dict]
    label: str
    look: Callable[[], None] | None = None

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
        if self.look:
            self.look()
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
    steps: float = 1,
    most: float = inf,
) -> Iterator[Record]:
    """A training that goes on from its newest checkpoint, with the folder to itself.

    Another process that trains the same network waits until this one ends, and finds it trained.
    On leaving, and at Ctrl-C, a checkpoint is kept; after any other error the last one stays.
    One that is finished is only read: that needs no lock, and no right to write.

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
    steps : float
        A checkpoint of so many is finished.
    most : float
        One of more is none of this training.
    """
    found, history = _found(folder) if folder else [], []
    kept = folder if writes else None
    with ExitStack() as stack:
        if found and _step(found[-1]) >= steps:
            history = load_checkpoint(folder, network, optimiser, most)
        look = None
        if len(history) < steps:
            if kept:
                waiting = f"{label}: another process is training this network; waiting for it"
                stack.enter_context(alone(kept, waiting))
            history = load_checkpoint(folder, network, optimiser, most) if folder else []
            look = stack.enter_context(free_threads())
        record = Record(network, optimiser, kept, save_every, history, label, look)
        try:
            yield record
        except KeyboardInterrupt:
            record.save()
            raise
        record.save()
